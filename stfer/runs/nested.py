"""A search inside every outer fold: the honest accuracy of the whole procedure, beside fixed settings.

For each fold of a protocol the settings are searched on its training subjects alone, the fold is trained with the
best, and its held-out subjects are tested; they have decided nothing (Varma & Simon 2006, "Bias in error estimation
when using cross-validation for model selection", BMC Bioinformatics 7:91). The same folds are trained with the base's
settings too.
"""

import contextlib
import urllib.parse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from stfer.data.folds import Fold, folds
from stfer.data.shards import Shards
from stfer.evaluation.paired import gain_of_predictions
from stfer.evaluation.records import vote_metrics
from stfer.evaluation.run_folder import RunFolder, SettingsDifferError
from stfer.runs import crossval
from stfer.runs import search as search_lib
from stfer.runs.inner_folds import Search
from stfer.runs.local import Launch
from stfer.runs.plan import Plan, canonical, check_lengths, validated
from stfer.runs.search import Trial
from stfer.runs.search_results import BEST, best_settings, write_trials
from stfer.storage.files import read_json, write_json
from stfer.storage.identity import differences
from stfer.training import settings_file
from stfer.training.config import TrainConfig
from stfer.training.fit import Stopped

RECORD, RESULT, SEARCH = "nested_search.json", "nested.json", "search"
OnFold = Callable[[Fold, Search], AbstractContextManager[Callable[[Sequence[Trial]], None]]]


@dataclass(frozen=True)
class Nested:
    """A nested search.

    Attributes:
        template: The search that is made anew in every outer fold, on the whole set; its folder holds all.
        protocol: How the outer folds are cut.
        trials: Of each search.
        minutes: No trial of a search begins after so many; None for no limit.
        launch: How the outer folds are trained.
        arguments: Where the set came from, for the record.
    """

    template: Search
    protocol: str
    trials: int
    minutes: float | None = None
    launch: Launch | None = None
    arguments: dict[str, Any] | None = None

    @property
    def shards(self) -> Shards:
        """The whole set."""
        return self.template.shards

    def outer(self) -> list[Fold]:
        """The outer folds."""
        return folds(self.protocol, self.shards.subjects)

    def plan_of_base(self) -> Plan:
        """All outer folds with the base's settings."""
        return self.plan(self.template.base, self.outer(), self.template.folder / "fixed")

    def inside(self, fold: Fold) -> Search:
        """The search on a fold's training subjects."""
        return replace(self.template.among(fold.train), folder=self.place(fold) / SEARCH)

    def place(self, fold: Fold) -> Path:
        """A fold's folder."""
        quoted = urllib.parse.quote(fold.held_out, safe=" ")
        return self.template.folder / "outer" / f"held_out={quoted}"

    def plan(self, config: TrainConfig, parts: Sequence[Fold], folder: Path) -> Plan:
        """Outer folds with some settings."""
        config = canonical(config)
        found = validated(list(parts), self.shards.subjects, config)
        modules, arguments = self.template.modules, self.arguments or {}
        where = RunFolder(folder / f"seed={config.seed}")
        plan = Plan(config, self.protocol, self.shards, found, where, modules, arguments)
        check_lengths(plan)
        return plan


def run(
    nested: Nested,
    names: Sequence[str],
    should_stop: Callable[[], bool] = lambda: False,
    on_fold: OnFold = lambda fold, search: contextlib.nullcontext(lambda trials: None),
) -> dict[str, Any]:
    """Search, train and test every named outer fold, from where it stands, and compare with the base's settings.

    Args:
        nested: What to run.
        names: Outer folds.
        should_stop: Asked between steps; True saves and leaves.
        on_fold: Told of each fold's search; the context that it returns is around it, and yields what is told of its
            trials.

    Returns:
        What `nested.json` holds: `folds` with what each chose, both ways' `votes`, and for each vote the `gain`, as
        `stfer.evaluation.paired.Gain` has it.

    Raises:
        Stopped: `should_stop` said so.
        SettingsDifferError: The folder holds another nested search; names each field.
        RuntimeError: A training's loss was not finite.
    """
    _begin(nested)
    parts = [fold for fold in nested.outer() if fold.held_out in names]
    seeds = nested.template.seeds
    rows: list[dict[str, Any]] = []
    chosen: list[list] = [[] for _ in seeds]
    for fold in parts:
        config, row = _chosen(nested, fold, should_stop, on_fold)
        for number, seed in enumerate(seeds):
            plan = nested.plan(config.replace(seed=seed), [fold], nested.place(fold) / "chosen")
            chosen[number] += _trained(plan, [fold.held_out], nested.launch, should_stop)
        rows.append({"fold": fold.held_out, **row})
    fixed = []
    for seed in seeds:
        config = nested.template.base.replace(seed=seed)
        plan = nested.plan(config, parts, nested.template.folder / "fixed")
        fixed.append(_trained(plan, names, nested.launch, should_stop))
    result = {
        "folds": rows,
        "folds_total": len(nested.outer()),
        "seeds": list(seeds),
        "votes": {
            "searched": [vote_metrics(found, nested.shards.classes) for found in chosen],
            "fixed": [vote_metrics(found, nested.shards.classes) for found in fixed],
        },
        "gain": {
            vote: asdict(gain_of_predictions(chosen, fixed, vote)) for vote in ("summed", "maximum")
        },
    }
    write_json(nested.template.folder / RESULT, result)
    return result


def _chosen(
    nested: Nested, fold: Fold, should_stop: Callable[[], bool], on_fold: OnFold
) -> tuple[TrainConfig, dict[str, Any]]:
    """The best settings of a fold's search, and what the result says of them.

    Once a training with them has begun, no further trial is made: another best would be another run.
    """
    if any(nested.place(fold).glob("chosen/seed=*/config.json")):
        file = nested.place(fold) / SEARCH / BEST
        best = read_json(file)
        row = {"chosen": best["chosen"], "inner_accuracy": best["accuracy"]}
        return settings_file.read(file).config, row
    search = nested.inside(fold)
    with on_fold(fold, search) as told:
        trials = search_lib.run(search, nested.trials, nested.minutes, should_stop, told)
    if should_stop():
        raise Stopped
    write_trials(search, trials)
    found = search_lib.best(trials)
    row = {"chosen": found.values, "inner_accuracy": found.value}
    return best_settings(search, trials), row


def _begin(nested: Nested) -> None:
    """Keep what is searched, or check that the folder is this search's."""
    folder = nested.template.folder
    folder.mkdir(parents=True, exist_ok=True)
    record = nested.template.record() | {"protocol": nested.protocol, "trials": nested.trials}
    if not (folder / RECORD).exists():
        write_json(folder / RECORD, record)
    elif lines := differences(read_json(folder / RECORD), record):
        raise SettingsDifferError(
            f"{folder} holds another nested search ({'; '.join(lines)}); give the same flags to go on with it, or "
            "another --out"
        )


def _trained(
    plan: Plan, names: Sequence[str], launch: Launch | None, should_stop: Callable[[], bool]
) -> list:
    """The predictions of folds, trained where they are missing."""
    outcome = crossval.run(plan, names, launch, should_stop)
    if outcome.stopped:
        raise Stopped
    if outcome.failures:
        raise RuntimeError("; ".join(outcome.failures))
    return [p for name in names for p in plan.folder.read_fold(name).predictions]
