"""Train folds to the last epoch, or to the best one of their validation subjects, resumably.

Without validation subjects the weights are those of the last epoch: choosing one on the held-out subject is the
field's commonest leak. A fold's result depends on settings, data and the fold's name only, so a stopped
training that goes on from its checkpoint ends in the same bits.
"""

import concurrent.futures
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from stfer.data.folds import Fold
from stfer.training import batches
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.early_stopping import BestWeights
from stfer.training.engine import Call, Engine
from stfer.training.step import FoldConstants, Totals, TrainState, counted_statistics

VALIDATION_COLUMNS = ("validation_loss", "validation_accuracy")

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """Training was asked to stop; the message says what has been saved.

    Args:
        unsaved: The folds whose states were not, as a number in them is not finite.
    """

    def __init__(self, unsaved: Sequence[str] = ()):
        but = f", but for {', '.join(unsaved)}: a number in its state is not finite"
        super().__init__(f"stopped and saved{but if unsaved else ''}")
        self.unsaved = tuple(unsaved)


class NonFiniteLossError(ArithmeticError):
    """A loss that is not a finite number. `fold` names the fold, `rows` the batch's rows of the set."""

    def __init__(self, message: str, fold: str, rows: np.ndarray):
        super().__init__(message)
        self.fold = fold
        self.rows = rows


@dataclass
class Progress:
    """Where a fold's training stands; JSON-serialisable through `dataclasses.asdict`.

    Attributes:
        epoch: Epochs done.
        step: Steps done of the epoch under way.
        sums: Loss, correct answers and clips of the epoch under way.
        history: One dict an epoch with the keys of `HISTORY_COLUMNS`, and of `VALIDATION_COLUMNS` where the fold has
            validation subjects; epochs count from 1.
        seconds: Time spent on training, over all sittings; folds side by side share it equally, so that the
            sum over folds is the time that they took.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Fitted:
    """A fold after its last epoch.

    Attributes:
        fold: The split.
        state: Its train state, with the weights of the epoch that counts.
        progress: Its history and training seconds.
        best_epoch: The epoch that the validation subjects chose, or None: the last one's weights.
    """

    fold: Fold
    state: TrainState
    progress: Progress
    best_epoch: int | None = None


def fit(
    engine: Engine,
    folds: list[Fold],
    checkpoints: list[FoldCheckpoints],
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[Fold, Progress], None] = lambda fold, progress: None,
    checkpoint_seconds: float = 120.0,
    on_resume: Callable[[Fold, Progress], None] = lambda fold, progress: None,
    starts: list[Callable[[TrainState], TrainState]] | None = None,
) -> list[Fitted]:
    """Train folds side by side on the engine's lanes, from where their checkpoints stand.

    Args:
        engine: The compiled functions; at most `engine.lanes` folds train side by side.
        folds: At most one fold a lane.
        checkpoints: Their checkpoints.
        should_stop: Asked between calls; True saves every fold and raises `Stopped`.
        on_epoch: Told after each epoch of each fold.
        checkpoint_seconds: A state is saved when this long has passed since the last.
        on_resume: Told of each fold that goes on from a checkpoint; `should_stop` is asked after that.
        starts: What each fold's fresh state becomes before it trains; see `stfer.training.stages`.

    Raises:
        Stopped: `should_stop` said so.
        NonFiniteLossError: The loss of one of the folds is not finite. Its last good checkpoint stays;
            the others are saved, and go on from there in a call without it.
        CheckpointError: A checkpoint belongs to other settings.
    """
    if not 0 < len(folds) <= engine.lanes:
        raise ValueError(
            f"{len(folds)} folds for {engine.lanes} lanes; at most one a lane can train"
        )
    if engine.config.patience and not all(len(fold.validation) for fold in folds):
        raise ValueError("patience needs validation subjects in every fold (--validation=0.2)")
    state, progress, resumed = _begin(engine, folds, checkpoints, starts)
    best = [BestWeights(saved, engine.config.patience) for saved in checkpoints]
    for fold, where in zip(folds, progress, strict=True):
        if fold.held_out in resumed:
            on_resume(fold, where)
    if resumed and should_stop():
        raise Stopped

    def is_over(lane: int) -> bool:
        where = progress[lane]
        return where.epoch >= engine.config.epochs or best[lane].is_over(where.history)

    def save(state: TrainState, without: Collection[str] = ()) -> list[str]:
        unsaved = list(without)
        for lane, (fold, saved, where) in enumerate(zip(folds, checkpoints, progress, strict=True)):
            if fold.held_out in without:
                continue
            if saved.save(engine.lane(state, lane), dataclasses.asdict(where)):
                best[lane].prune(where.history)
            else:
                unsaved.append(fold.held_out)
                _log.warning(
                    "fold %s: a number in its state is not finite; the state saved before is kept",
                    fold.held_out,
                )
        return unsaved

    lanes = range(len(folds))
    over = [is_over(lane) for lane in lanes]
    last_save = last_call = time.monotonic()
    for stop, calls, staged in _staged(engine, folds, progress, over):
        state, results = engine.train(state, staged)
        now = time.monotonic()
        if engine.first_call_seconds is None:
            engine.first_call_seconds = now - last_call
        trained = [lane for lane in lanes if not over[lane] and progress[lane].step < stop]
        failed: list[NonFiniteLossError] = []
        for lane in trained:
            fold, where = folds[lane], progress[lane]
            where.seconds += (now - last_call) / len(trained)
            try:
                if _absorb(engine, fold, where, stop, calls[lane], *results[lane]):
                    best[lane].keep(where.history, lambda: engine.lane(state, lane))  # noqa: B023
                    on_epoch(fold, where)
                    over[lane] = is_over(lane)
            except NonFiniteLossError as error:
                failed.append(error)
        if failed:
            save(state, without=[error.fold for error in failed])
            raise failed[0]
        if should_stop():
            raise Stopped(save(state))
        if all(over):
            break
        if now - last_save > checkpoint_seconds:
            save(state)
            last_save = time.monotonic()
        last_call = time.monotonic()
    if engine.config.recompute_statistics and counted_statistics(state.batch_stats):
        began = time.monotonic()
        state = _recomputed(engine, folds, state, should_stop, save)
        for where in progress:
            where.seconds += (time.monotonic() - began) / len(folds)
    return [
        Fitted(
            fold,
            best[lane].used(engine.lane(state, lane), where.history),
            where,
            best[lane].epoch(where.history),
        )
        for lane, (fold, where) in enumerate(zip(folds, progress, strict=True))
    ]


def _begin(
    engine: Engine,
    folds: list[Fold],
    checkpoints: list[FoldCheckpoints],
    starts: list[Callable[[TrainState], TrainState]] | None,
) -> tuple[TrainState, list[Progress], set[str]]:
    """Where training starts: the state of all lanes, each fold's progress, and the folds that go on.

    Resume order: 1. a fresh state from the fold's key (also the template of what is restored); 2. what an
    earlier stage of the fold left, over it; 3. the newest good checkpoint over that; 4. its history and its
    place in the epoch.
    """
    state = engine.init([batches.init_key(engine.config.seed, fold.held_out) for fold in folds])
    lanes = [engine.lane(state, lane) for lane in range(len(folds))]
    restored = [saved.restore(lane) for saved, lane in zip(checkpoints, lanes, strict=True)]
    progress = [Progress(**found[1]) if found else Progress() for found in restored]
    if starts is not None:
        lanes = [start(lane) for start, lane in zip(starts, lanes, strict=True)]
    if starts is not None or any(restored):
        lanes = [found[0] if found else lane for found, lane in zip(restored, lanes, strict=True)]
        state = engine.join(lanes)
    resumed = {fold.held_out for fold, found in zip(folds, restored, strict=True) if found}
    return state, progress, resumed


def _recomputed(
    engine: Engine,
    folds: list[Fold],
    state: TrainState,
    should_stop: Callable[[], bool],
    save: Callable[[TrainState], list[str]],
) -> TrainState:
    """The state with batch statistics of one pass over the training clips under its weights.

    The weights are final: stopped in here, a training saves them, and comes here again.
    """
    epochs, seed = engine.config.epochs, engine.config.seed
    chunk, shape = engine.steps_per_call, engine.shape
    draws = engine.examples.draws
    plans = [batches.epoch_plan(fold, epochs, seed, shape, draws) for fold in folds]
    watched = [batches.watched_plans(fold, shape) for fold in folds]
    carry = (state, engine.no_moments(state))
    for start in range(0, shape.steps, chunk):
        part = slice(start, min(start + chunk, shape.steps))
        calls = [
            _call(engine, fold, plan, rows, part, last=False, done=0, training=True)
            for fold, plan, rows in zip(folds, plans, watched, strict=True)
        ]
        carry = jax.block_until_ready(engine.add_moments(carry, engine.stage(calls)))
        if should_stop():
            raise Stopped(save(carry[0]))
    return engine.use_moments(carry)


def _absorb(
    engine: Engine,
    fold: Fold,
    where: Progress,
    stop: int,
    call: Call,
    totals: Totals,
    heldout: Totals,
    validation: Totals | None = None,
) -> bool:
    """Count the results of a call up to step `stop` into a fold's progress; True when they ended an epoch."""
    bad = call.active & ~np.isfinite(totals.loss)
    if bad.any():
        first = int(np.argmax(bad))
        steps = int(call.fold.steps)
        number = where.epoch * steps + stop - len(call.active) + first + 1
        raise NonFiniteLossError(
            f"fold {fold.held_out}: the loss of step {number} (epoch {where.epoch + 1}) is {totals.loss[first]} "
            f"at learning rate {engine.config.learning_rate}",
            fold.held_out,
            engine.examples.sequences(call.indices[first][call.mask[first] > 0]),
        )
    sums = [float(np.sum(part, dtype=np.float64)) for part in totals]
    where.sums = [a + b for a, b in zip(where.sums, sums, strict=True)]
    where.step = stop
    if where.step < engine.shape.steps:
        return False
    loss, correct, count = where.sums
    row = {"epoch": where.epoch + 1, "train_loss": loss / count, "train_accuracy": correct / count}
    row |= _watched(engine, fold, "heldout", "held-out", fold.test, heldout)
    if validation is not None:
        row |= _watched(engine, fold, "validation", "validation", fold.validation, validation)
    where.epoch, where.step, where.sums = where.epoch + 1, 0, [0.0, 0.0, 0.0]
    where.history.append(row)
    return True


def _watched(
    engine: Engine, fold: Fold, prefix: str, what: str, rows: np.ndarray, totals: Totals
) -> dict[str, float]:
    """The history's loss and accuracy of rows that are not trained on; NaN where there are none."""
    loss, correct, count = (float(x) for x in totals)
    if not count:
        return {f"{prefix}_loss": float("nan"), f"{prefix}_accuracy": float("nan")}
    if not np.isfinite(loss):
        raise NonFiniteLossError(
            f"fold {fold.held_out}: the {what} loss is {loss} at learning rate {engine.config.learning_rate}",
            fold.held_out,
            rows,
        )
    return {f"{prefix}_loss": loss / count, f"{prefix}_accuracy": correct / count}


def _calls(
    engine: Engine, folds: list[Fold], progress: list[Progress], over: list[bool]
) -> Iterator[tuple[int, list[Call]]]:
    """Every call that is still to make, and the step of the epoch that it ends before.

    A lane's steps that are done already are inactive, as are all of one that was over at the start.
    """
    epochs, chunk, shape = engine.config.epochs, engine.steps_per_call, engine.shape
    places = [(epochs if o else w.epoch, w.step) for w, o in zip(progress, over, strict=True)]
    watched = [batches.watched_plans(fold, shape) for fold in folds]
    rounds = max(epochs - epoch for epoch, _ in places)
    for turn in range(rounds):
        plans = [
            batches.epoch_plan(fold, epoch + turn, engine.config.seed, shape, engine.examples.draws)
            for fold, (epoch, _) in zip(folds, places, strict=True)
        ]
        first = min(step for _, step in places) if turn == 0 else 0
        for start in range(first, shape.steps, chunk):
            part = slice(start, min(start + chunk, shape.steps))
            last = part.stop == shape.steps
            calls = [
                _call(
                    engine, fold, plan, rows, part, last,
                    done=step if turn == 0 else 0, training=epoch + turn < epochs,
                )
                for fold, plan, rows, (epoch, step) in zip(folds, plans, watched, places, strict=True)
            ]  # fmt: skip
            yield part.stop, calls


def _call(
    engine: Engine, fold: Fold, plan, watched, part: slice, last: bool, done: int, training: bool
) -> Call:
    indices, mask = (array[part] for array in plan)
    numbers = np.arange(part.start, part.stop)
    active = training & (numbers >= done) & mask.any(axis=1)
    constants = FoldConstants(
        np.uint32(batches.fold_code(fold.held_out)),
        np.int32(batches.steps_an_epoch(fold, engine.config.batch_size)),
    )
    if not (last and training):
        watched = tuple((rows, np.zeros_like(row_mask)) for rows, row_mask in watched)
    return Call(indices, mask, active, constants, watched)


def _staged(
    engine: Engine, folds: list[Fold], progress: list[Progress], over: list[bool]
) -> Iterator[tuple[int, list[Call], Any]]:
    """Calls with their arguments on the device, the next one staged while the current one trains."""

    def stage(stop, calls):
        return stop, calls, engine.stage(calls)

    with concurrent.futures.ThreadPoolExecutor(1, "stage") as pool:
        ahead = None
        for stop, calls in _calls(engine, folds, progress, list(over)):
            upcoming = pool.submit(stage, stop, calls)
            if ahead is not None:
                yield ahead.result()
            ahead = upcoming
        if ahead is not None:
            yield ahead.result()
