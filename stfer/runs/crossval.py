"""A whole cross-validation: what is missing is trained, tables are pooled, and the result comes back."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stfer.data.shards import Shards
from stfer.data.sources import Source
from stfer.errors import keep_traceback
from stfer.runs import folds as one_group
from stfer.runs.local import Launch, train_folds
from stfer.runs.plan import Plan, prepare, same_run
from stfer.training import config as config_lib
from stfer.training.fit import Stopped

Train = Callable[[Plan, Sequence[str], Launch, Callable[[], bool]], list[str]]


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        result: As `result.json` holds it; None for a share of an array job, whose tables are pooled later, and
            for a run that was stopped.
        failures: A sentence for each fold that failed.
        unfinished: Names of wanted folds that are not finished.
        stopped: What was saved, where it was asked to stop; else empty.
    """

    result: dict[str, Any] | None
    failures: Sequence[str]
    unfinished: Sequence[str]
    stopped: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether every wanted fold is finished."""
        return not (self.failures or self.unfinished)


DEMO_FOLDS = 8
"""Folds of the preset `demo` unless more are asked for: every person is trained on, so many are held out in turn."""


def select_folds(
    plan: Plan,
    subjects: Sequence[str] | None = None,
    most: int | None = None,
    searched: Collection[str] = (),
) -> list[str]:
    """Names of the folds that hold out the named subjects, in order, at most so many.

    Without either, the preset `demo` takes the first `DEMO_FOLDS`.

    Args:
        plan: The cross-validation.
        subjects: Names of folds; None for all.
        most: At most so many.
        searched: People on whom the settings were chosen: without `subjects`, only folds that hold out none of them,
            where there are any.

    Raises:
        ValueError: A subject is not in the set.
    """
    names = plan.fold_names
    if subjects is not None:
        unknown = [name for name in subjects if name not in names]
        if unknown:
            some = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
            raise ValueError(
                f"--subjects names {', '.join(unknown)}, not held out by {plan.protocol}: {some}"
            )
        names = [name for name in names if name in subjects]
    elif outside := [n for n in names if not set(searched) & set(plan.fold(n).subjects)]:
        names = outside
    if subjects is None and most is None and plan.config.preset == "demo":
        most = DEMO_FOLDS
    return names[:most]


def searched_note(plan: Plan, names: Sequence[str], searched: Collection[str]) -> str:
    """What to know of settings that were chosen on some of the set's people; empty where they were not."""
    if not searched:
        return ""
    seen = [name for name in names if set(searched) & set(plan.fold(name).subjects)]
    if not seen:
        return (
            f"the settings were chosen on {len(searched)} people of {plan.shards.name}; only the "
            f"{len(names)} folds of others are run (--subjects names folds)"
        )
    return (
        f"the settings were chosen on people whom {len(seen)} of these {len(names)} folds hold out, so their "
        "accuracy says too much; experiments.search --nested measures it honestly"
    )


def run(
    plan: Plan,
    names: Sequence[str],
    launch: Launch | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    train: Train = train_folds,
    on_plan: Callable[[Sequence[str], Sequence[str]], None] = lambda names, pending: None,
) -> Outcome:
    """Train and test the named folds that are not finished, and pool.

    Args:
        plan: What to run.
        names: Which of its folds.
        launch: How.
        should_stop: Asked between steps; True saves and leaves.
        train: What trains the pending folds.
        on_plan: Told the wanted and the pending folds before training.

    Raises:
        SettingsDifferError: The run's folder holds other settings, data or code.
        LockedError: Another process works on it.
    """
    launch = launch or Launch()
    shared = launch.share is not None
    names = launch.own(names)
    with plan.folder.lock(shared=shared):
        plan.folder.create(plan.record(), same_run)
        pending = [name for name in names if not plan.folder.is_finished(name)]
        on_plan(names, pending)
        failures: list[str] = []
        stopped = ""
        if pending:
            try:
                failures = train(plan, pending, launch, should_stop)
            except Stopped as stop:
                stopped = str(stop)
            except Exception as error:
                keep_traceback(error, plan.folder.path)
                raise
        left = [name for name in pending if not plan.folder.is_finished(name)]
        result = None if shared else one_group.pool(plan)
    return Outcome(result, failures, left, stopped)


def merge(plan: Plan, names: Sequence[str]) -> Outcome:
    """Pool what the shares of an array job have finished; nothing is trained.

    Raises:
        FileNotFoundError: There is no such run.
        SettingsDifferError: It has other settings.
    """
    if not (plan.folder.path / "config.json").is_file():
        raise FileNotFoundError(
            f"--merge found no run in {plan.folder.path}; give the shares' own flags"
        )
    with plan.folder.lock():
        plan.folder.create(plan.record(), same_run)
        result = one_group.pool(plan)
    return Outcome(result, [], [name for name in names if not plan.folder.is_finished(name)])


def _opened(data: str) -> tuple[Shards, dict[str, Any]]:
    source = Source(data)
    return source.load(), source.arguments()


def cross_validate(
    architecture: str,
    data: str | Path | Shards,
    workdir: str | Path = "runs",
    *,
    protocol: str = "loso",
    preset: str = "paper",
    subjects: Sequence[str] | None = None,
    max_folds: int | None = None,
    launch: Launch | None = None,
    modules: Sequence[str] = (),
    **settings: Any,
) -> dict[str, Any]:
    """Leave-one-subject-out of one architecture on shards; called again, it goes on where it was.

    Args:
        architecture: A registered name; see `stfer.models.register` for your own.
        data: A shard folder (several with commas between), or loaded shards.
        workdir: Folder for results.
        protocol: A name in `stfer.data.folds.PROTOCOLS`.
        preset: A name in `stfer.training.config.PRESETS`.
        subjects: Hold out only these.
        max_folds: At most so many folds.
        launch: How and where folds are trained.
        modules: Names of modules that registered what the settings name, for the record.
        **settings: Fields of `stfer.training.config.TrainConfig` that replace the preset's.

    Returns:
        The result, as `result.json` holds it: `votes["summed"]["accuracy"]` and the rest.

    Raises:
        ValueError: A setting, name or set is wrong; one sentence says what would be right.
        RuntimeError: A fold's loss was not finite; names the folds.

    Example:
        >>> from stfer.runs import cross_validate
        >>> settings = {"epochs": 1, "max_folds": 1}
        >>> result = cross_validate("pair_difference", shard_folder, workdir=runs, **settings)
        >>> result["folds_done"], sorted(result["votes"])
        (1, ['maximum', 'summed'])
    """
    if launch is not None and launch.share is not None:
        raise ValueError(
            "a share of an array job has no result of its own: use stfer.runs.run and merge"
        )
    shards, arguments = (data, {}) if isinstance(data, Shards) else _opened(str(data))
    config = config_lib.preset(preset, architecture, **settings)
    plan = prepare(config, protocol, shards, workdir, modules, arguments)
    outcome = run(plan, select_folds(plan, subjects, max_folds), launch)
    if outcome.failures:
        raise RuntimeError("; ".join(outcome.failures))
    assert outcome.result is not None  # Only shares and stopped runs have none.
    return outcome.result
