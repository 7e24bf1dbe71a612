"""Train folds from scratch to the last epoch, resumably.

No early stopping and no choice of the best epoch: the weights are those of the last one (choosing on
the held-out subject is the field's commonest leak). A fold's result depends on settings, data and the
fold's name only, so a stopped training that goes on from its checkpoint ends in the same bits.
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
from stfer.evaluation.records import HISTORY_COLUMNS
from stfer.training import batches
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.engine import Call, Engine
from stfer.training.step import Totals, TrainState, counted_statistics

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
        history: One dict an epoch with the keys of `HISTORY_COLUMNS`; epochs count from 1.
        seconds: Time spent on training, over all sittings; folds side by side share it equally, so that the
            sum over folds is the time that they took.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Fitted:
    """A fold after its last epoch.

    Attributes:
        fold: The split.
        state: Its train state.
        progress: Its history and training seconds.
    """

    fold: Fold
    state: TrainState
    progress: Progress


def fit(
    engine: Engine,
    folds: list[Fold],
    checkpoints: list[FoldCheckpoints],
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: Callable[[Fold, Progress], None] = lambda fold, progress: None,
    checkpoint_seconds: float = 120.0,
    on_resume: Callable[[Fold, Progress], None] = lambda fold, progress: None,
    on_save: Callable[[], None] = lambda: None,
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
        on_save: Told after the states of all folds have been saved.

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
    # Resume order: 1. a fresh state from the fold's key (also the template of what is restored);
    # 2. the newest good checkpoint of the fold over it; 3. its history and its place in the epoch.
    state = engine.init([batches.init_key(engine.config.seed, fold.held_out) for fold in folds])
    lanes = [engine.lane(state, lane) for lane in range(len(folds))]
    restored = [saved.restore(lane) for saved, lane in zip(checkpoints, lanes, strict=True)]
    progress = [Progress(**found[1]) if found else Progress() for found in restored]
    if any(restored):
        lanes = [found[0] if found else lane for found, lane in zip(restored, lanes, strict=True)]
        state = engine.join(lanes)
        for fold, found, where in zip(folds, restored, progress, strict=True):
            if found:
                on_resume(fold, where)
        if should_stop():
            raise Stopped
    del lanes, restored

    def save(state: TrainState, without: Collection[str] = ()) -> list[str]:
        unsaved = list(without)
        for lane, (fold, saved, where) in enumerate(zip(folds, checkpoints, progress, strict=True)):
            if fold.held_out not in without and not saved.save(
                engine.lane(state, lane), dataclasses.asdict(where)
            ):
                unsaved.append(fold.held_out)
                _log.warning(
                    "fold %s: a number in its state is not finite; the state saved before is kept",
                    fold.held_out,
                )
        if not unsaved:
            on_save()
        return unsaved

    last_save = last_call = time.monotonic()
    for stop, calls, staged in _staged(engine, folds, progress):
        state, results = engine.train(state, staged)
        now = time.monotonic()
        if engine.first_call_seconds is None:
            engine.first_call_seconds = now - last_call
        failed: list[NonFiniteLossError] = []
        trained = [w.epoch < engine.config.epochs and w.step < stop for w in progress]
        share = (now - last_call) / max(1, sum(trained))
        lanes = zip(folds, progress, calls, results, trained, strict=True)
        for fold, where, call, result, was_trained in lanes:
            if was_trained:
                where.seconds += share
                try:
                    if _absorb(engine, fold, where, stop, call, *result):
                        on_epoch(fold, where)
                except NonFiniteLossError as error:
                    failed.append(error)
        if failed:
            save(state, without=[error.fold for error in failed])
            raise failed[0]
        if should_stop():
            raise Stopped(save(state))
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
        Fitted(fold, engine.lane(state, lane), where)
        for lane, (fold, where) in enumerate(zip(folds, progress, strict=True))
    ]


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
    plans = [batches.epoch_plan(fold, epochs, seed, shape) for fold in folds]
    held = [batches.heldout_plan(fold, shape) for fold in folds]
    carry = (state, engine.no_moments(state))
    for start in range(0, shape.steps, chunk):
        part = slice(start, min(start + chunk, shape.steps))
        calls = [
            _call(plan, held_out, part, last=False, done=0, training=True)
            for plan, held_out in zip(plans, held, strict=True)
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
) -> bool:
    """Count the results of a call up to step `stop` into a fold's progress; True when they ended an epoch."""
    bad = call.active & ~np.isfinite(totals.loss)
    if bad.any():
        first = int(np.argmax(bad))
        steps_an_epoch = -(-len(fold.train) // engine.config.batch_size)
        number = where.epoch * steps_an_epoch + stop - len(call.active) + first + 1
        raise NonFiniteLossError(
            f"fold {fold.held_out}: the loss of step {number} (epoch {where.epoch + 1}) is {totals.loss[first]} "
            f"at learning rate {engine.config.learning_rate}",
            fold.held_out,
            call.indices[first][call.mask[first] > 0],
        )
    sums = [float(np.sum(part, dtype=np.float64)) for part in totals]
    where.sums = [a + b for a, b in zip(where.sums, sums, strict=True)]
    where.step = stop
    if where.step < engine.shape.steps:
        return False
    loss, correct, count = where.sums
    held_loss, held_correct, held_count = (float(x) for x in heldout)
    row = (
        loss / count,
        correct / count,
        held_loss / held_count if held_count else float("nan"),
        held_correct / held_count if held_count else float("nan"),
    )
    where.epoch, where.step, where.sums = where.epoch + 1, 0, [0.0, 0.0, 0.0]
    where.history.append(dict(zip(HISTORY_COLUMNS, (where.epoch, *row), strict=True)))
    return True


def _calls(
    engine: Engine, folds: list[Fold], progress: list[Progress]
) -> Iterator[tuple[int, list[Call]]]:
    """Every call that is still to make, and the step of the epoch that it ends before.

    A lane's steps that are done already are inactive.
    """
    epochs, chunk, shape = engine.config.epochs, engine.steps_per_call, engine.shape
    places = [(where.epoch, where.step) for where in progress]
    rounds = max(epochs - epoch for epoch, _ in places)
    for turn in range(rounds):
        plans = [
            batches.epoch_plan(fold, epoch + turn, engine.config.seed, shape)
            for fold, (epoch, _) in zip(folds, places, strict=True)
        ]
        held = [batches.heldout_plan(fold, shape) for fold in folds]
        first = min(step for _, step in places) if turn == 0 else 0
        for start in range(first, shape.steps, chunk):
            part = slice(start, min(start + chunk, shape.steps))
            last = part.stop == shape.steps
            calls = [
                _call(plan, held_out, part, last, step if turn == 0 else 0, epoch + turn < epochs)
                for plan, held_out, (epoch, step) in zip(plans, held, places, strict=True)
            ]
            yield part.stop, calls


def _call(plan, held_out, part: slice, last: bool, done: int, training: bool) -> Call:
    indices, mask = (array[part] for array in plan)
    numbers = np.arange(part.start, part.stop)
    active = training & (numbers >= done) & mask.any(axis=1)
    rows, row_mask = held_out
    return Call(
        indices, mask, active, rows, row_mask if last and training else np.zeros_like(row_mask)
    )


def _staged(
    engine: Engine, folds: list[Fold], progress: list[Progress]
) -> Iterator[tuple[int, list[Call], Any]]:
    """Calls with their arguments on the device, the next one staged while the current one trains."""

    def stage(stop, calls):
        return stop, calls, engine.stage(calls)

    with concurrent.futures.ThreadPoolExecutor(1, "stage") as pool:
        ahead = None
        for stop, calls in _calls(engine, folds, progress):
            upcoming = pool.submit(stage, stop, calls)
            if ahead is not None:
                yield ahead.result()
            ahead = upcoming
        if ahead is not None:
            yield ahead.result()


def parameter_count(params: Any) -> int:
    """Trainable parameters of a model."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
