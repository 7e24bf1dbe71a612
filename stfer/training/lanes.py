"""The folds that train side by side: where each stands, what is kept of it, and when it is over."""

import dataclasses
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stfer.data.folds import Fold
from stfer.training import batches
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.early_stopping import BestWeights
from stfer.training.engine import Call, Engine
from stfer.training.step import Totals, TrainState

_log = logging.getLogger(__name__)

OnEpoch = Callable[[Fold, "Progress"], None]


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
        history: One dict an epoch with the keys of `HISTORY_COLUMNS`, and `validation_loss` and `validation_accuracy`
            where the fold has validation subjects; epochs count from 1.
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


class Lanes:
    """Folds side by side on an engine, from where their checkpoints stand.

    Args:
        engine: The compiled functions.
        folds: At most one fold a lane of the engine.
        checkpoints: Their checkpoints.
        starts: What each fold's fresh state becomes before it trains; None leaves it.

    Attributes:
        state: The train state of all lanes.
        progress: Where each fold stands.
        over: Whether each fold has ended, by its epochs or its patience.
        resumed: Names of the folds that go on from a checkpoint.

    Raises:
        CheckpointError: A checkpoint belongs to other settings.
    """

    def __init__(
        self,
        engine: Engine,
        folds: Sequence[Fold],
        checkpoints: Sequence[FoldCheckpoints],
        starts: Sequence[Callable[[TrainState], TrainState]] | None = None,
    ):
        self.engine, self.folds = engine, folds
        self._checkpoints = checkpoints
        self._best = [BestWeights(saved, engine.config.patience) for saved in checkpoints]
        self.state, self.progress, self.resumed = _begin(engine, folds, checkpoints, starts)
        self.over = [self._is_over(lane) for lane in range(len(folds))]

    def _is_over(self, lane: int) -> bool:
        where = self.progress[lane]
        is_last = where.epoch >= self.engine.config.epochs
        return is_last or self._best[lane].is_over(where.history)

    def save(self, without: Collection[str] = ()) -> list[str]:
        """Save the states of all folds but those named; returns the folds whose states were not saved."""
        unsaved = list(without)
        for lane, (fold, saved) in enumerate(zip(self.folds, self._checkpoints, strict=True)):
            if fold.held_out in without:
                continue
            where = self.progress[lane]
            if saved.save(self.engine.lane(self.state, lane), dataclasses.asdict(where)):
                self._best[lane].prune(where.history)
            else:
                unsaved.append(fold.held_out)
                _log.warning(
                    "fold %s: a number in its state is not finite; the state saved before is kept",
                    fold.held_out,
                )
        return unsaved

    def absorb(
        self,
        stop: int,
        calls: Sequence[Call],
        results: Sequence[Sequence[Totals]],
        seconds: float,
        on_epoch: OnEpoch,
    ) -> None:
        """Count the results of one call into the folds that it trained.

        Args:
            stop: The step of the epoch that the call ended before.
            calls: Its arguments, one a lane.
            results: Its totals, one a lane.
            seconds: What it took; the trained folds share it.
            on_epoch: Told of each fold that ended an epoch.

        Raises:
            NonFiniteLossError: Of the first fold whose loss is not finite; the other folds are saved.
        """
        trained = [
            lane
            for lane, where in enumerate(self.progress)
            if not self.over[lane] and where.step < stop
        ]
        failed: list[NonFiniteLossError] = []
        for lane in trained:
            fold, where, best = self.folds[lane], self.progress[lane], self._best[lane]
            where.seconds += seconds / len(trained)
            try:
                if not _absorb(self.engine, fold, where, stop, calls[lane], *results[lane]):
                    continue
                best.keep(where.history, lambda lane=lane: self.engine.lane(self.state, lane))  # type: ignore[misc]
                on_epoch(fold, where)
                self.over[lane] = self._is_over(lane)
            except NonFiniteLossError as error:
                failed.append(error)
        if failed:
            self.save(without=[error.fold for error in failed])
            raise failed[0]

    def fitted(self) -> list[Fitted]:
        """The folds as they are now, each with the weights of the epoch that counts."""
        return [
            Fitted(
                fold,
                best.used(self.engine.lane(self.state, lane), where.history),
                where,
                best.epoch(where.history),
            )
            for lane, (fold, where, best) in enumerate(
                zip(self.folds, self.progress, self._best, strict=True)
            )
        ]


def _begin(
    engine: Engine,
    folds: Sequence[Fold],
    checkpoints: Sequence[FoldCheckpoints],
    starts: Sequence[Callable[[TrainState], TrainState]] | None,
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
