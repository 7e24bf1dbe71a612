"""Train folds to the last epoch, or to the best one of their validation subjects, resumably.

Without validation subjects the weights are those of the last epoch: choosing one on the held-out subject is the
field's commonest leak. A fold's result depends on settings, data and the fold's name only, so a stopped
training that goes on from its checkpoint ends in the same bits.
"""

import concurrent.futures
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from stfer.data.folds import Fold
from stfer.training import batches
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.engine import Call, Engine
from stfer.training.lanes import Fitted, Lanes, NonFiniteLossError, OnEpoch, Progress
from stfer.training.moments import counted_statistics
from stfer.training.step import FoldConstants, TrainState

__all__ = ["Fitted", "NonFiniteLossError", "Progress", "Stopped", "fit"]


class Stopped(Exception):
    """Training was asked to stop; the message says what has been saved.

    Args:
        unsaved: The folds whose states were not, as a number in them is not finite.
        kept: What is there to go on from, where it is not the state of every fold at this moment.
    """

    def __init__(self, unsaved: Sequence[str] = (), kept: str = ""):
        but = f", but for {', '.join(unsaved)}: a number in its state is not finite"
        super().__init__(f"stopped{f': {kept}' if kept else ' and saved'}{but if unsaved else ''}")
        self.unsaved = tuple(unsaved)


def fit(
    engine: Engine,
    folds: list[Fold],
    checkpoints: list[FoldCheckpoints],
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: OnEpoch = lambda fold, progress: None,
    checkpoint_seconds: float = 120.0,
    on_resume: OnEpoch = lambda fold, progress: None,
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
    lanes = Lanes(engine, folds, checkpoints, starts)
    for fold, where in zip(folds, lanes.progress, strict=True):
        if fold.held_out in lanes.resumed:
            on_resume(fold, where)
    if lanes.resumed and should_stop():
        raise Stopped
    last_save = last_call = time.monotonic()
    for stop, calls, staged in _staged(engine, folds, lanes.progress, lanes.over):
        lanes.state, results = engine.train(lanes.state, staged)
        now = time.monotonic()
        if engine.first_call_seconds is None:
            engine.first_call_seconds = now - last_call
        lanes.absorb(stop, calls, results, now - last_call, on_epoch)
        if should_stop():
            raise Stopped(lanes.save())
        if all(lanes.over):
            break
        if now - last_save > checkpoint_seconds:
            lanes.save()
            last_save = time.monotonic()
        last_call = time.monotonic()
    if engine.config.recompute_statistics and counted_statistics(lanes.state.batch_stats):
        _recompute_statistics(lanes, should_stop)
    return lanes.fitted()


def _recompute_statistics(lanes: Lanes, should_stop: Callable[[], bool]) -> None:
    """Give the lanes' states the batch statistics of one pass over the training clips under their weights.

    The weights are final: stopped in here, a training saves them, and comes here again.
    """
    began, engine, folds = time.monotonic(), lanes.engine, lanes.folds
    epochs, seed = engine.config.epochs, engine.config.seed
    chunk, shape = engine.steps_per_call, engine.shape
    draws = engine.examples.draws
    plans = [batches.epoch_plan(fold, epochs, seed, shape, draws) for fold in folds]
    watched = [batches.watched_plans(fold, shape) for fold in folds]
    carry = (lanes.state, engine.no_moments(lanes.state))
    for start in range(0, shape.steps, chunk):
        part = slice(start, min(start + chunk, shape.steps))
        calls = [
            _call(engine, fold, plan, rows, part, last=False, done=0, training=True)
            for fold, plan, rows in zip(folds, plans, watched, strict=True)
        ]
        carry = jax.block_until_ready(engine.add_moments(carry, engine.stage(calls)))
        lanes.state = carry[0]
        if should_stop():
            raise Stopped(lanes.save())
    lanes.state = engine.use_moments(carry)
    for where in lanes.progress:
        where.seconds += (time.monotonic() - began) / len(folds)


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

    def waited_for(future):
        began = time.monotonic()
        result = future.result()
        if engine.waited_seconds is None:
            engine.waited_seconds = 0.0
        else:
            engine.waited_seconds += time.monotonic() - began
        return result

    with concurrent.futures.ThreadPoolExecutor(1, "stage") as pool:
        ahead = None
        for stop, calls in _calls(engine, folds, progress, list(over)):
            upcoming = pool.submit(stage, stop, calls)
            if ahead is not None:
                yield waited_for(ahead)
            ahead = upcoming
        if ahead is not None:
            yield waited_for(ahead)
