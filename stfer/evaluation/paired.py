"""How much one way of doing it gives over another, on the same sequences of the same people.

The difference of pooled accuracies with the interval of a bootstrap over subjects, and the permutation test over
subjects: `stfer.evaluation.significance` has both and their sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stfer.evaluation.records import Prediction
from stfer.evaluation.significance import difference_interval, permutation_over_subjects


@dataclass(frozen=True)
class Gain:
    """One way against another.

    Attributes:
        accuracy: of the one.
        reference: accuracy of the other on the same sequences.
        difference: the first less the second.
        interval: its 95 % interval over subjects, or None with a single subject.
        p: of the permutation test over subjects, uncorrected, or None with a single subject.
        sequences: how many both were tested on.
        subjects: of how many people.
    """

    accuracy: float
    reference: float
    difference: float
    interval: list[float] | None
    p: float | None
    sequences: int
    subjects: int


def gain(first: ArrayLike, second: ArrayLike, subjects: Sequence[str]) -> Gain:
    """Compare two ways on the same sequences.

    Args:
        first: bool or float [n], how right the one is on each sequence; with several seeds, their mean.
        second: the same of the other.
        subjects: [n], who is seen in each.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    return Gain(
        float(one.mean()),
        float(other.mean()),
        float(one.mean() - other.mean()),
        difference_interval(one, other, subjects),
        permutation_over_subjects(one, other, subjects),
        len(one),
        len(set(subjects)),
    )


def gain_of_predictions(
    first: Sequence[Sequence[Prediction]], second: Sequence[Sequence[Prediction]], vote: str
) -> Gain:
    """`gain` of two ways' predictions, a list a seed each, on the sequences that all of them tested.

    Raises:
        ValueError: They share no sequence.
    """
    ours, theirs = _rightness(first, vote), _rightness(second, vote)
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        raise ValueError("the two were not tested on the same sequences")
    who = {p.sequence: p.subject for predictions in first for p in predictions}
    return gain([ours[s] for s in shared], [theirs[s] for s in shared], [who[s] for s in shared])


def _rightness(seeds: Sequence[Sequence[Prediction]], vote: str) -> Mapping[str, float]:
    """From sequence to the share of seeds that get it right; of sequences that every seed tested."""
    tables = [{p.sequence: p.predicted[vote] == p.label for p in found} for found in seeds]
    shared = set.intersection(*(set(table) for table in tables))
    return {name: float(np.mean([table[name] for table in tables])) for name in shared}
