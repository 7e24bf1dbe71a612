"""The figures of one architecture in a comparison, over all its seeds, and what its runs say of each sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stfer.evaluation.metrics import accuracy_interval, per_subject
from stfer.evaluation.significance import Pair, compare_pairs
from stfer.reporting.comparisons import Comparison, counted
from stfer.reporting.runs import Run, display_name


@dataclass(frozen=True)
class Score:
    """One architecture's figures by one vote; means over the seeds where there are several.

    Attributes:
        accuracy, interval, subject_mean, recall, macro_f1: as `stfer.evaluation.metrics.summarise` names them.
        deviation: standard deviation of the accuracy over seeds (n - 1), None with one seed.
        lowest, highest: the accuracy's range over seeds.
        chance: accuracy of always naming the commonest class of the same sequences.
        seeds: how many the figures stand on, see `stfer.reporting.comparisons.counted`.
        folds: such as "12 of 12".
        complete: whether that is every fold.
        sequences: how many were tested.
        seconds: training seconds a fold, mean over seeds, or None.
        parameters: trainable parameters, or None if the runs do not say.
    """

    accuracy: float
    interval: list[float] | None
    subject_mean: float
    recall: float
    macro_f1: float
    chance: float
    deviation: float | None
    lowest: float
    highest: float
    seeds: int
    folds: str
    complete: bool
    sequences: int
    seconds: float | None
    parameters: int | None


def score(runs: Sequence[Run], vote: str) -> Score:
    """The figures of the runs of one architecture, which differ in their seed alone."""
    runs = counted(runs)
    votes = [run.result["votes"][vote] for run in runs]
    accuracies = np.array([figures["accuracy"] for figures in votes])
    interval = votes[0]["accuracy_interval"]
    if len(runs) > 1:
        table = outcomes(runs, vote)
        interval = accuracy_interval(*per_subject(table["right"], table["subject"].tolist()))
    seconds: list[Any] = [run.result.get("seconds_per_subject") for run in runs]

    def mean(name: str) -> float:
        return float(np.mean([figures[name] for figures in votes]))

    return Score(
        accuracy=float(accuracies.mean()),
        interval=interval,
        subject_mean=mean("subject_mean_accuracy"),
        recall=mean("unweighted_average_recall"),
        macro_f1=mean("macro_f1"),
        chance=votes[0]["chance"],
        deviation=float(accuracies.std(ddof=1)) if len(runs) > 1 else None,
        lowest=float(accuracies.min()),
        highest=float(accuracies.max()),
        seeds=len(runs),
        folds=runs[0].folds,
        complete=runs[0].complete,
        sequences=runs[0].result["sequences"],
        seconds=None if None in seconds else float(np.mean(seconds)),
        parameters=runs[0].result.get("parameters"),
    )


def outcomes(runs: Sequence[Run], vote: str) -> pd.DataFrame:
    """How often the seeds of one architecture get each sequence right.

    Args:
        runs: of one architecture.
        vote: "summed" or "maximum".

    Returns:
        Indexed by the ids of the sequences that were tested: `subject`, `label`, `right` (share of the seeds that
        are `counted`, float) and `first` (bool: whether the first of them is right).

    Raises:
        ValueError: if two runs name different sequences, or different labels or subjects for one.
    """
    runs = counted(runs)
    tables = [run.of_vote(vote).sort_index() for run in runs]
    about = tables[0][["subject", "label"]]
    for run, table in zip(runs, tables, strict=True):
        if not about.equals(table[["subject", "label"]]):
            raise ValueError(
                f"{run.folder} and {runs[0].folder} name different sequences, subjects or labels"
            )
    right = np.mean([table["right"].to_numpy(dtype=float) for table in tables], axis=0)
    return about.assign(right=right, first=tables[0]["right"].to_numpy(dtype=bool))


def compare(comparison: Comparison, vote: str) -> list[Pair]:
    """Every two architectures of a comparison on the sequences that both were tested on."""
    tables = {
        display_name(architecture): outcomes(runs, vote)
        for architecture, runs in comparison.by_architecture.items()
    }
    return compare_pairs(
        {name: table["right"].to_numpy() for name, table in tables.items()},
        {name: table["subject"].tolist() for name, table in tables.items()},
        {name: table.index.tolist() for name, table in tables.items()},
        single={name: table["first"].to_numpy() for name, table in tables.items()},
    )
