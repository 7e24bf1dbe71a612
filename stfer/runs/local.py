"""Folds trained on this machine's devices, alone or as one share of an array job, with a progress bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import tqdm

from stfer.data.folds import Fold
from stfer.runs import folds as one_group
from stfer.runs.folds import Engines
from stfer.runs.plan import Plan
from stfer.storage.locks import LockedError
from stfer.training import parallel as parallel_lib
from stfer.training.fit import NonFiniteLossError, Progress


@dataclass(frozen=True)
class Launch:
    """How and where folds are trained; none of it changes a result.

    Attributes:
        parallel: With several devices: "folds", "batch", "none", or "auto" for what fits.
        resident: Keep the set on the device; None decides by the memory there is.
        checkpoint_seconds: A state is saved this often.
        shares: How many processes share the folds (array jobs on one file system).
        share: Which of them this is, from 0; None where it is alone.
        folds_per_device: How many folds train side by side on each device.
    """

    parallel: str = "auto"
    resident: bool | None = None
    checkpoint_seconds: float = 120.0
    shares: int = 1
    share: int | None = None
    folds_per_device: int = 1

    def __post_init__(self):
        """Refuse a share that is not one of the shares, and what does not train folds side by side.

        Raises:
            ValueError: Says how the two go together.
        """
        if self.folds_per_device < 1:
            raise ValueError(f"--folds_per_device={self.folds_per_device} must be at least 1")
        parallel_lib.resolve(self.parallel, True, 1, self.folds_per_device)
        if self.share is not None and not 0 <= self.share < self.shares:
            raise ValueError(f"--share={self.share} must be below --shares={self.shares}")

    def own(self, names: Sequence[str]) -> list[str]:
        """The folds of this process: every `shares`-th, from `share`."""
        return list(names) if self.share is None else list(names[self.share :: self.shares])


def train_folds(
    plan: Plan, pending: Sequence[str], launch: Launch, should_stop: Callable[[], bool]
) -> list[str]:
    """Train and test the pending folds on this machine; a failed one does not stop the others.

    Args:
        plan: The cross-validation.
        pending: Names of folds that are not finished.
        launch: How.
        should_stop: Asked between steps.

    Returns:
        A sentence for each fold whose loss was not finite.

    Raises:
        Stopped: `should_stop` said so, and the states are saved.
    """
    # As many as the protocol has, not as are pending: a run that goes on keeps its program, and so its bits.
    beside = min(launch.folds_per_device, -(-len(plan.folds) // jax.device_count()))
    how = parallel_lib.resolve(launch.parallel, many_folds=True, folds_per_device=beside)
    engines = Engines(plan, how, launch.resident, beside)
    failures: list[str] = []
    epochs = sum(stage.config(plan.config).epochs for stage in plan.stages)
    with tqdm.tqdm(
        total=len(pending) * epochs, unit="epoch", mininterval=0.5, dynamic_ncols=True
    ) as bar:
        done = len(plan.folds) - len(pending)
        report = _Report(bar, engines, epochs, done, len(plan.folds))
        for start in range(0, len(pending), engines.lanes):
            names = pending[start : start + engines.lanes]
            with contextlib.ExitStack() as held:
                mine = _held_here(plan, names, launch, held)
                group = [plan.fold(name) for name in mine]
                failures += _train_group(engines, group, launch, should_stop, report)
            report.end(names)
    return failures


def _held_here(
    plan: Plan, names: Sequence[str], launch: Launch, held: contextlib.ExitStack
) -> list[str]:
    """Those of the folds that no other share is training or has finished meanwhile, locked."""
    if launch.share is None:
        return list(names)
    mine = []
    for name in names:
        try:
            held.enter_context(plan.folder.lock_fold(name))
        except LockedError as error:
            print(f"skipped: {error}", flush=True)
        else:
            if not plan.folder.is_finished(name):
                mine.append(name)
    return mine


def _train_group(
    engines: Engines,
    group: list[Fold],
    launch: Launch,
    should_stop: Callable[[], bool],
    report: _Report,
) -> list[str]:
    """Train folds side by side and keep each; those that a failing one held up go on without it."""
    plan = engines.plan

    def stop_or_gone() -> bool:
        plan.folder.check()
        return should_stop()

    failures = []
    while group:
        try:
            fitted = one_group.train(
                engines, group, stop_or_gone, report.epoch, launch.checkpoint_seconds, report.resume
            )
        except NonFiniteLossError as error:
            failures.append(one_group.failure(plan, error))
            group = [fold for fold in group if fold.held_out != error.fold]
            continue
        for one in fitted:
            try:
                one_group.conclude(plan, engines.last, one)
            except NonFiniteLossError as error:
                failures.append(one_group.failure(plan, error))
        break
    return failures


class _Report:
    """Shows on a progress bar where the folds under way stand."""

    def __init__(self, bar: tqdm.tqdm, engines: Engines, epochs: int, done: int, total: int):
        self._bar = bar
        self._engines = engines
        self._said_first = False
        self._epochs = epochs
        self._done = done
        self._total = total
        self._reached: dict[str, int] = {}

    def epoch(self, fold: Fold, progress: Progress) -> None:
        """A fold has ended an epoch."""
        seconds = self._engines[self._engines.plan.stages[0]].first_call_seconds
        if not self._said_first and seconds is not None:
            self._said_first = True
            note = f"the first training call took {seconds:.1f} s, compilation included"
            self._bar.write(note, file=sys.stderr)  # beside the bar
        loss = progress.history[-1]["train_loss"]
        self._bar.set_description_str(
            f"{self._done} of {self._total} folds (held out {fold.held_out})", refresh=False
        )
        self._bar.set_postfix_str(
            f"epoch {progress.epoch}/{self._epochs}, loss {loss:.3f}", refresh=False
        )
        self._reach(fold.held_out, progress.epoch)

    def resume(self, fold: Fold, progress: Progress) -> None:
        """A fold goes on from a checkpoint."""
        self._reach(fold.held_out, progress.epoch)

    def end(self, names: Sequence[str]) -> None:
        """These folds are over, in whatever way."""
        self._done += len(names)
        for name in names:
            self._reach(name, self._epochs)

    def _reach(self, name: str, epoch: int) -> None:
        self._reached[name] = epoch
        self._bar.update(sum(self._reached.values()) - self._bar.n)
