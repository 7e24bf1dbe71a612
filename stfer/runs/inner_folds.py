"""What a search looks at: the people that it may use, and the mean accuracy of folds within them.

A search knows a set of these people and no other: `stfer.data.shards.subset` of a fold's training sequences. The people
who are tested later are in no trial.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.folds import Fold, SubjectKFold, ascending
from stfer.data.shards import Shards
from stfer.data.shards.subset import subset
from stfer.evaluation.run_folder import RunFolder
from stfer.runs import folds as one_group
from stfer.runs.folds import Engines
from stfer.runs.plan import Plan, canonical, check_lengths, validated
from stfer.runs.search_space import Dimension
from stfer.training.config import TrainConfig, identity
from stfer.training.fit import Progress

STEPS_A_FOLD = 100_000  # Epoch e of inner fold f is reported as step f * STEPS_A_FOLD + e.


@dataclass(frozen=True)
class Search:
    """What is searched, on whom, and where it is kept.

    Attributes:
        base: The settings that the space's values are put into; its seed decides the draws.
        space: What may be chosen.
        shards: The people that may be used, and nobody else.
        folder: Where the study and its results are kept.
        inner_folds: Groups that the people are cut into; each is left out once in a trial.
        seeds: Each inner fold is trained once with each.
        vote: Whose accuracy counts, "summed" or "maximum".
        modules: Modules that registered what the settings name, for the record.
    """

    base: TrainConfig
    space: Sequence[Dimension]
    shards: Shards
    folder: Path
    inner_folds: int = 3
    seeds: Sequence[int] = (0,)
    vote: str = "summed"
    modules: Sequence[str] = ()

    def among(self, rows: Sequence[int] | np.ndarray) -> "Search":
        """The same search on some sequences of the set, by their numbers, as if there were no others."""
        return replace(self, shards=subset(self.shards, rows))

    def folds(self) -> list[Fold]:
        """The inner folds, by subjects.

        Raises:
            ValueError: There are fewer subjects than folds.
        """
        subjects = np.asarray(self.shards.subjects, dtype=str)
        splits = SubjectKFold(self.inner_folds).split(subjects, groups=subjects)
        return [
            Fold(f"inner-{n:02d}", tuple(ascending(subjects[test])), train, test)
            for n, (train, test) in enumerate(splits)
        ]

    def plan(self, config: TrainConfig, folder: Path) -> Plan:
        """The inner folds with some settings.

        Raises:
            ValueError: The settings name something unknown, or a sequence is shorter than a clip.
        """
        config = canonical(config)
        parts = validated(self.folds(), self.shards.subjects, config)
        plan = Plan(config, "inner", self.shards, parts, RunFolder(folder), self.modules)
        check_lengths(plan)
        return plan

    def record(self) -> dict[str, Any]:
        """What makes the search the same: settings, space, people and code."""
        plan = self.plan(self.base, self.folder)
        return {
            "settings": identity(plan.config.to_dict()),
            "space": [[d.name, d.kind, d.low, d.high, list(d.choices)] for d in self.space],
            "data": {"name": self.shards.name, "checksum": self.shards.checksum},
            "subjects": ascending(self.shards.subjects),
            "inner_folds": self.inner_folds,
            "seeds": list(self.seeds),
            "vote": self.vote,
            "code": plan.digests,
        }


def inner_accuracy(
    search: Search,
    config: TrainConfig,
    report: Callable[[int, float], None] = lambda step, accuracy: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> float:
    """Mean accuracy of the inner folds with some settings, each trained from scratch.

    Args:
        search: The folds.
        config: The settings.
        report: Told after each epoch of each fold: the step (see `STEPS_A_FOLD`), and the mean of this fold's accuracy
            on the training clips of the people left out and of the earlier folds'; may raise to end the trial.
        should_stop: See `run`.

    Raises:
        NonFiniteLossError, Stopped: See `stfer.training.fit`.
    """
    done: list[float] = []
    watched: list[float] = []
    with tempfile.TemporaryDirectory(prefix="stfer-trial-") as scratch:
        for seed in search.seeds:
            plan = search.plan(config.replace(seed=seed), Path(scratch) / f"seed={seed}")
            engines = Engines(plan)
            for fold in plan.folds:
                number = len(done)

                def on_epoch(fold: Fold, progress: Progress, number: int = number) -> None:
                    now = progress.history[-1]["heldout_accuracy"]
                    watched[number:] = [now]
                    report(number * STEPS_A_FOLD + progress.epoch, float(np.mean(watched)))

                (fitted,) = one_group.train(engines, [fold], should_stop, on_epoch, float("inf"))
                found = one_group.evaluate(plan, engines.last, fitted).predictions
                right = [p.predicted[search.vote] == p.label for p in found]
                done.append(float(np.mean(right)))
    return float(np.mean(done))
