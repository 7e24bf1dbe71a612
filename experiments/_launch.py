"""Where the folds of a run are trained: on this machine's devices, as one shard of many, or on Ray.

--parallel=folds             one fold a device
--parallel=batch             each batch split over the devices
--fold_index=3 --num_shards=8    this process takes every eighth fold (a SLURM array job)
--merge                      no training: pool what the shards have finished
--launcher=ray               folds as tasks of a Ray cluster (experiments/_ray.py)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from absl import flags

from experiments import _app, _settings

if TYPE_CHECKING:
    import tqdm

    from experiments._crossval import CrossValidation
    from stfer.data.folds import Fold
    from stfer.training.engine import Engine
    from stfer.training.fit import Fitted, Progress

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of a command that trains folds."""
    flags.DEFINE_enum(
        "parallel",
        "auto",
        ["auto", "folds", "batch", "none"],
        "With several devices: one fold a device, or each batch split over them (auto: folds).",
    )
    flags.DEFINE_integer(
        "num_shards",
        1,
        "Processes that share the folds (array jobs on one file system).",
        lower_bound=1,
    )
    flags.DEFINE_integer("fold_index", None, "Which of them this is, from 0.", lower_bound=0)
    flags.DEFINE_bool("merge", False, "Train nothing; pool what the shards have finished.")
    flags.DEFINE_enum("launcher", "local", ["local", "ray"], "Train here, or on a Ray cluster.")
    flags.DEFINE_string(
        "ray_address", "auto", "The cluster: auto, HOST:PORT, or local for one on this machine."
    )
    flags.DEFINE_float(
        "ray_cpus", None, "Cores a fold (default: up to 4, with a GPU 1).", lower_bound=0
    )
    flags.DEFINE_float(
        "ray_gpus", None, "GPUs a fold (default: 1 where there are any).", lower_bound=0
    )
    flags.DEFINE_integer("ray_retries", 3, "Tries after a lost node or worker.", lower_bound=0)
    flags.DEFINE_bool(
        "ray_shared_workdir",
        False,
        "The nodes see --workdir too: states are saved there, and a retried fold goes on from them.",
    )


def sharded() -> bool:
    """Whether this process is one of several that share the run.

    Raises:
        UserError: The flags do not fit together.
    """
    if FLAGS.num_shards > 1 and FLAGS.fold_index is None and not FLAGS.merge:
        raise _app.UserError("--num_shards needs --fold_index, from 0 to num_shards - 1")
    if FLAGS.fold_index is None:
        return False
    if FLAGS.merge:
        raise _app.UserError("--merge comes after the shards: give it without --fold_index")
    if FLAGS.launcher == "ray":
        raise _app.UserError("--launcher=ray shares the folds out itself: leave --fold_index out")
    if FLAGS.fold_index >= FLAGS.num_shards:
        raise _app.UserError(
            f"--fold_index={FLAGS.fold_index} must be below --num_shards={FLAGS.num_shards}"
        )
    return True


def shard(names: list[str]) -> list[str]:
    """The folds of this process: every `num_shards`-th, from `fold_index`."""
    return names[FLAGS.fold_index :: FLAGS.num_shards] if sharded() else names


def train_folds(
    plan: CrossValidation, pending: list[str], should_stop: Callable[[], bool]
) -> list[str]:
    """Train and test the pending folds on this machine; a failed one does not stop the others.

    Args:
        plan: The cross-validation.
        pending: Names of folds that are not finished.
        should_stop: Asked between steps.

    Returns:
        A sentence for each fold whose loss was not finite.

    Raises:
        Stopped: `should_stop` said so, and the states are saved.
    """
    import tqdm

    from experiments import _crossval
    from stfer.training import parallel

    how = parallel.resolve(FLAGS.parallel, many_folds=True)
    engine = _crossval.build_engine(plan, _settings.resident(), how)
    folds = {fold.held_out: fold for fold in plan.folds}
    failures: list[str] = []
    total = len(pending) * plan.config.epochs
    with tqdm.tqdm(total=total, unit="epoch", mininterval=0.5, dynamic_ncols=True) as bar:
        done = len(plan.folds) - len(pending)
        report = _Report(bar, engine, plan.config.epochs, done, len(plan.folds))
        for start in range(0, len(pending), engine.lanes):
            with contextlib.ExitStack() as held:
                names = _held_here(plan, pending[start : start + engine.lanes], held)
                group = [folds[name] for name in names]
                failures += _train_group(plan, engine, group, should_stop, report)
            report.end(pending[start : start + engine.lanes])
    return failures


def _held_here(plan: CrossValidation, names: list[str], held: contextlib.ExitStack) -> list[str]:
    """Those of the folds that no other shard is training or has finished meanwhile, locked."""
    from stfer.storage.locks import LockedError

    if not sharded():
        return names
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
    plan: CrossValidation,
    engine: Engine,
    group: list[Fold],
    should_stop: Callable[[], bool],
    report: _Report,
) -> list[str]:
    """Train folds side by side and keep each; those that a failing one held up go on without it."""
    from experiments import _crossval
    from stfer.training.fit import NonFiniteLossError, fit

    def stop_or_gone() -> bool:
        plan.folder.check()
        return should_stop()

    failures = []
    while group:
        saved = [_crossval.checkpoints(plan, fold) for fold in group]
        fitted: list[Fitted] = []
        try:
            fitted = fit(
                engine, group, saved, stop_or_gone, report.epoch, FLAGS.checkpoint_seconds, report.resume
            )  # fmt: skip
        except NonFiniteLossError as error:
            failures.append(failure(plan, error))
            group = [fold for fold in group if fold.held_out != error.fold]
            continue
        for one in fitted:
            try:
                _crossval.conclude(plan, engine, one)
            except NonFiniteLossError as error:
                failures.append(failure(plan, error))
        break
    return failures


def failure(plan: CrossValidation, error) -> str:
    """One sentence on a `NonFiniteLossError`, with the batch's sequences by name."""
    return f"{error}; the batch was {', '.join(plan.shards.ids[row] for row in error.rows)}"


class _Report:
    """Shows on a progress bar where the folds under way stand."""

    def __init__(self, bar: tqdm.tqdm, engine: Engine, epochs: int, done: int, total: int):
        self._bar = bar
        self._engine = engine
        self._said_first = False
        self._epochs = epochs
        self._done = done
        self._total = total
        self._reached: dict[str, int] = {}

    def epoch(self, fold: Fold, progress: Progress) -> None:
        """A fold has ended an epoch."""
        if not self._said_first:
            self._said_first = True
            seconds = self._engine.first_call_seconds
            self._bar.write(f"the first training call took {seconds:.1f} s, compilation included")
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

    def end(self, names: list[str]) -> None:
        """These folds are over, in whatever way."""
        self._done += len(names)
        for name in names:
            self._reach(name, self._epochs)

    def _reach(self, name: str, epoch: int) -> None:
        self._reached[name] = epoch
        self._bar.update(sum(self._reached.values()) - self._bar.n)
