"""Hyper-parameters searched on training subjects alone: Optuna's trials, each a cross-validation within them.

Each trial trains the inner folds one after the other (`stfer.runs.inner_folds`) and its value is their mean accuracy;
Optuna's median rule ends those that fall behind (Akiba et al. 2019, "Optuna", KDD). Trials are kept in one SQLite
file, so a killed search loses the trial under way at most, and several processes that are given the same command work
on one study.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stfer.evaluation.run_folder import SettingsDifferError
from stfer.runs.inner_folds import Search, inner_accuracy
from stfer.runs.plan import canonical
from stfer.runs.search_space import check_names, chosen, distributions, start
from stfer.storage.files import read_json, write_json
from stfer.storage.identity import differences
from stfer.storage.locks import held, lock
from stfer.training.fit import NonFiniteLossError, Stopped

if TYPE_CHECKING:
    import optuna

RECORD = "search.json"
FORMAT = 1
_OWNER, _REASON, _SECONDS, _AGAIN = "owner", "reason", "seconds", "again"


class _Pruned(Exception):
    """The median rule ended a trial."""


@dataclass(frozen=True)
class Trial:
    """One trial as a reader sees it.

    Attributes:
        number: From 0.
        state: "complete", "pruned", "failed" (its loss was not finite, or its settings cannot go together),
            "lost" (its process was stopped) or "running".
        value: Mean accuracy of the inner folds, or None.
        values: The space's values.
        reported: The last step reported and the accuracy there, or None.
        seconds: How long it took, or None.
        reason: Why it failed.
    """

    number: int
    state: str
    value: float | None
    values: dict[str, Any]
    reported: tuple[int, float] | None
    seconds: float | None
    reason: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials that were asked for."""
        return self.state != "lost"


def check_optuna() -> None:
    """Raise where the package is missing.

    Raises:
        ImportError: With what to install.
    """
    try:
        import optuna
    except ImportError:
        raise ImportError("a search needs the package optuna: pip install '.[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def open_study(search: Search) -> optuna.Study:
    """The search's study, made where it is not there.

    Raises:
        SettingsDifferError: The folder holds another search; names each field.
        ValueError: The space names what is not there.
    """
    check_optuna()
    import optuna

    check_names(search.space, search.base)
    search.folder.mkdir(parents=True, exist_ok=True)
    record = search.record()
    with held(search.folder / ".lock", "this search", wait=True):
        file = search.folder / RECORD
        if file.exists():
            found = read_json(file)
            if lines := differences({k: v for k, v in found.items() if k != "format"}, record):
                raise SettingsDifferError(
                    f"{search.folder} holds another search ({'; '.join(lines)}); give the same flags to go on "
                    "with it, or another --out"
                )
        else:
            write_json(file, {"format": FORMAT, **record})
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{os.path.abspath(search.folder / 'study.db')}",
            engine_kwargs={"connect_args": {"timeout": 60}},
        )
        study = optuna.create_study(
            storage=storage,
            study_name="search",
            direction="maximize",
            # The first quarter of the first fold's epochs says little: Optuna judges from the step that is named here.
            pruner=optuna.pruners.MedianPruner(5, n_warmup_steps=search.base.epochs // 4 + 1),
            load_if_exists=True,
        )
        first = start(search.space, canonical(search.base))
        if first is not None and not study.get_trials(deepcopy=False):
            study.enqueue_trial(first)
    return study


def run(
    search: Search,
    trials: int,
    minutes: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Sequence[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Make trials until there are so many, beside other processes that do the same.

    Args:
        search: What is searched.
        trials: How many there are to be, over all processes and sittings.
        minutes: No trial begins after so many.
        should_stop: Asked between steps; True loses the trial under way and leaves.
        on_progress: Told of all trials before the first and after each.

    Returns:
        All trials.

    Raises:
        SettingsDifferError: See `open_study`.
    """
    study = open_study(search)
    until = float("inf") if minutes is None else time.monotonic() + 60 * minutes
    with _owner(search.folder) as owner:
        on_progress(read_trials(study))
        while not should_stop() and time.monotonic() < until:
            trial = _ask(search, study, trials, owner)
            if trial is None:
                break
            _try(search, study, trial, should_stop)
            on_progress(read_trials(study))
    return read_trials(study)


def best(trials: Sequence[Trial]) -> Trial:
    """The complete trial of the highest value, the first of several.

    Raises:
        ValueError: None is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        reasons = dict.fromkeys(trial.reason for trial in trials if trial.reason)
        why = f": {'; '.join(reasons)}" if reasons else ""
        raise ValueError(f"no trial of the search is complete{why}")
    return max(complete, key=lambda trial: (trial.value, -trial.number))


def read_trials(study: optuna.Study) -> list[Trial]:
    """The study's trials that have begun, by number."""
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "lost", "RUNNING": "running"}
    found = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name not in names:
            continue
        reason = trial.user_attrs.get(_REASON, "")
        steps = trial.intermediate_values
        found.append(
            Trial(
                trial.number,
                "failed" if reason else names[trial.state.name],
                trial.value if trial.state.name == "COMPLETE" else None,
                dict(trial.params),
                (max(steps), steps[max(steps)]) if steps else None,
                trial.user_attrs.get(_SECONDS),
                reason,
            )
        )
    return found


def _ask(search: Search, study: optuna.Study, trials: int, owner: str) -> optuna.Trial | None:
    """The next trial, or None when there are enough; a trial whose process is gone is lost and made up for.

    The sampler is seeded by the trial's number, so that a search that was stopped draws as one that was not.
    """
    import optuna
    from optuna.trial import TrialState

    with held(search.folder / ".lock", "this search", wait=True):
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _is_alive(search.folder / trial.user_attrs.get(_OWNER, "")):
                study.tell(trial.number, state=TrialState.FAIL)
                _repeat(study, trial.params, trial.user_attrs)
        counted = sum(trial.counts for trial in read_trials(study))
        if counted >= trials:
            return None
        seed = (search.base.seed * 1_000_003 + counted) % 2**32
        study.sampler = optuna.samplers.TPESampler(seed=seed)
        asked = study.ask(distributions(search.space))
        asked.set_user_attr(_OWNER, owner)
        return asked


def _repeat(study: optuna.Study, values: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Put a lost trial's values first in the queue, once: those that its process died of would stop every other."""
    if values and not attributes.get(_AGAIN):
        study.enqueue_trial(dict(values), user_attrs={_AGAIN: True})


def _try(
    search: Search, study: optuna.Study, trial: optuna.Trial, should_stop: Callable[[], bool]
) -> None:
    """Train one trial's inner folds and tell the study what came of it."""
    from optuna.trial import TrialState

    began = time.monotonic()
    state, value = TrialState.FAIL, None

    def report(step: int, accuracy: float) -> None:
        trial.report(accuracy, step)
        if trial.should_prune():
            raise _Pruned

    try:
        value = inner_accuracy(search, chosen(search.base, trial.params), report, should_stop)
        state = TrialState.COMPLETE
    except _Pruned:
        state = TrialState.PRUNED
    except (NonFiniteLossError, ValueError) as error:
        # The sampler must learn to keep away from there; a pruned trial tells it so.
        state = TrialState.PRUNED
        trial.set_user_attr(_REASON, " ".join(str(error).split()))
    except Stopped:
        _repeat(study, trial.params, trial.user_attrs)
    finally:
        trial.set_user_attr(_SECONDS, round(time.monotonic() - began, 3))
        study.tell(trial, value, state)


@contextlib.contextmanager
def _owner(folder: Path) -> Iterator[str]:
    """A locked file of this process's own, by whose lock others know that it lives; yields its name."""
    name = f".worker-{secrets.token_hex(4)}"
    with held(folder / name, "a trial"):
        try:
            yield name
        finally:
            (folder / name).unlink(missing_ok=True)


def _is_alive(file: Path) -> bool:
    """Whether the owner of a trial still works; a trial that was asked for a moment ago has none yet."""
    if not file.is_file():
        return False
    with file.open("a") as stream:
        try:
            lock(stream)
        except BlockingIOError:
            return True
    return False
