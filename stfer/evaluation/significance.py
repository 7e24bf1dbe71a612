"""Whether a difference between models on the same sequences is real.

- exact McNemar test on the sequences that only one of two models gets right (McNemar 1947, Psychometrika 12(2);
  recommended for classifiers by Dietterich 1998, Neural Computation 10(7)). It takes sequences for independent, which
  those of one person are not, so its p-values tend to be too small.
- permutation test over subjects: under the null hypothesis the two models' names can be swapped for every subject
  (Good 2005, "Permutation, Parametric and Bootstrap Tests of Hypotheses", ch. 3; Ojala & Garriga 2010, JMLR 11).
  It is the one that the report's sentences rest on.
- interval of the difference: bootstrap over subjects (Field & Welsh 2007), as `metrics.accuracy_interval`.
- Holm's step-down correction for the number of pairs (Holm 1979, Scand. J. Statist. 6(2)).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from stfer.evaluation.metrics import accuracy_interval, per_subject

ALPHA = 0.05
SWAPS = 9999  # How many swaps the permutation test draws where it cannot go through all of them.
METHODS = {
    "difference": "difference of pooled accuracies on the same sequences, 95 % percentile interval of a bootstrap "
    "that resamples subjects (Field & Welsh 2007)",
    "permutation": "two-sided permutation test that swaps the two architectures subject by subject (Good 2005)",
    "mcnemar": "exact McNemar test on sequences (McNemar 1947; Dietterich 1998); it takes sequences for independent",
    "holm": "p-values corrected for the number of pairs after Holm (1979)",
}


@dataclass(frozen=True)
class Pair:
    """What is known of the difference between two models.

    Attributes:
        better: the name of the one with the higher accuracy (the first given, if equal).
        worse: the other's name.
        sequences: how many sequences both were tested on.
        subjects: of how many subjects.
        difference: accuracy of `better` minus that of `worse`, at least 0.
        interval: the difference's 95 % interval, or None with a single subject.
        permutation: p-value of the permutation test over subjects, corrected, or None with a single subject.
        mcnemar: p-value of the exact McNemar test, corrected.
        only_better: sequences that only `better` gets right, in the predictions of McNemar's test.
        only_worse: sequences that only `worse` gets right.
        permutation_raw: `permutation` before the correction.
        mcnemar_raw: `mcnemar` before the correction.
    """

    better: str
    worse: str
    sequences: int
    subjects: int
    difference: float
    interval: list[float] | None
    permutation: float | None
    mcnemar: float
    only_better: int
    only_worse: int
    permutation_raw: float | None
    mcnemar_raw: float

    @property
    def holds(self) -> bool:
        """Whether the corrected permutation test finds the difference at the 5 % level."""
        return self.permutation is not None and self.permutation < ALPHA


def mcnemar_exact(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p-value of the exact McNemar test.

    Args:
        first: bool [n], whether the first model gets each sequence right.
        second: bool [n], the same of the second model.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    table = [
        [np.sum(first & second), np.sum(first & ~second)],
        [np.sum(~first & second), np.sum(~first & ~second)],
    ]
    return float(min(1.0, mcnemar(table, exact=True).pvalue))


def permutation_over_subjects(
    first: ArrayLike,
    second: ArrayLike,
    subjects: Sequence[str] | NDArray[np.str_],
    seed: int = 0,
    resamples: int = SWAPS,
) -> float | None:
    """Two-sided p-value of the permutation test that swaps the models subject by subject.

    Exact where all swaps number at most `resamples` (13 subjects at 9999), else sampled.

    Args:
        first: bool or float [n], how right the first model is on each sequence; with several seeds, their mean.
        second: the same of the second model.
        subjects: [n], who is seen in each sequence.
        seed: of the random numbers.
        resamples: how many swaps are drawn at most.

    Returns:
        The p-value, or None with fewer than two subjects.
    """
    right_first, _ = per_subject(first, subjects)
    right_second, _ = per_subject(second, subjects)
    if len(right_first) < 2:
        return None
    # Counts, so that two swaps that give the same difference are a tie and not apart by rounding.
    result = stats.permutation_test(
        (right_first, right_second),
        lambda a, b, axis: np.round(a.sum(axis=axis) - b.sum(axis=axis), 9),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def smallest_corrected_p(subjects: int, pairs: int) -> float:
    """The smallest p-value that the permutation test can give after Holm's correction over so many pairs.

    Of all 2^n swaps of n subjects only two, none and all, are as extreme as a gain on every subject. With few subjects
    no difference, however large, can be found at the 5 % level; a report must say so.
    """
    return min(1.0, pairs * max(2 / 2**subjects, 2 / (SWAPS + 1)))


def difference_interval(
    first: ArrayLike,
    second: ArrayLike,
    subjects: Sequence[str] | NDArray[np.str_],
    seed: int = 0,
    resamples: int = 2000,
) -> list[float] | None:
    """The 95 % interval of the difference of two pooled accuracies, by a bootstrap over subjects.

    Args:
        first: bool or float [n], as in `permutation_over_subjects`.
        second: the same of the second model.
        subjects: [n], who is seen in each sequence.
        seed: of the random numbers.
        resamples: how many times the subjects are drawn.

    Returns:
        [low, high] of first minus second, or None with fewer than two subjects.
    """
    gain = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    right, count = per_subject(gain, subjects)
    return accuracy_interval(right, count, seed=seed, resamples=resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the order given."""
    if not len(p_values):
        return []
    return multipletests(p_values, alpha=ALPHA, method="holm")[1].tolist()


def compare_pairs(
    right: Mapping[str, ArrayLike],
    subjects: Mapping[str, Sequence[str]],
    tested: Mapping[str, Sequence[str]],
    single: Mapping[str, ArrayLike] | None = None,
    seed: int = 0,
) -> list[Pair]:
    """Compare every two models on the sequences that both were tested on.

    Args:
        right: model name to bool or float [n], how right it is on each of its sequences.
        subjects: model name to [n], who is seen in each.
        tested: model name to [n], the sequences' ids; what is compared is matched by them.
        single: model name to bool [n], the outcome of one training for McNemar's test, which needs yes or no;
            `right` if None.
        seed: of the random numbers.

    Returns:
        The pairs, in the order of `right`; those that share no sequence are left out. P-values are corrected
        over the pairs.

    Raises:
        ValueError: if a sequence is not of the same subject in both models' predictions.
    """
    pairs = []
    for first, second in itertools.combinations(right, 2):
        at_first, at_second = _matched(tested[first], tested[second])
        if not len(at_first):
            continue
        who = np.asarray(subjects[first], dtype=str)[at_first]
        if not np.array_equal(who, np.asarray(subjects[second], dtype=str)[at_second]):
            raise ValueError(f"{first} and {second} name different subjects for the same sequence")
        one = single if single is not None else right
        pairs.append(
            _pair(
                (first, second),
                (
                    np.asarray(right[first], float)[at_first],
                    np.asarray(right[second], float)[at_second],
                ),
                (np.asarray(one[first], bool)[at_first], np.asarray(one[second], bool)[at_second]),
                who,
                seed,
            )
        )
    return _corrected(pairs)


def _pair(
    names: tuple[str, str],
    right: tuple[NDArray[np.float64], NDArray[np.float64]],
    single: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    subjects: NDArray[np.str_],
    seed: int,
) -> Pair:
    if right[1].mean() > right[0].mean():
        names, right, single = names[::-1], right[::-1], single[::-1]
    permutation = permutation_over_subjects(*right, subjects, seed=seed)
    raw = mcnemar_exact(*single)
    return Pair(
        better=names[0],
        worse=names[1],
        sequences=len(subjects),
        subjects=len(np.unique(subjects)),
        difference=float(right[0].mean() - right[1].mean()),
        interval=difference_interval(*right, subjects, seed=seed),
        permutation=permutation,
        mcnemar=raw,
        only_better=int(np.sum(single[0] & ~single[1])),
        only_worse=int(np.sum(single[1] & ~single[0])),
        permutation_raw=permutation,
        mcnemar_raw=raw,
    )


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """With Holm's correction over the pairs, for each of the two tests by itself."""
    exact = holm([pair.mcnemar_raw for pair in pairs])
    pairs = [replace(pair, mcnemar=p) for pair, p in zip(pairs, exact, strict=True)]
    known = [i for i, pair in enumerate(pairs) if pair.permutation_raw is not None]
    swapped = holm([p for pair in pairs if (p := pair.permutation_raw) is not None])
    for i, p in zip(known, swapped, strict=True):
        pairs[i] = replace(pairs[i], permutation=p)
    return pairs


def _matched(first: Sequence[str], second: Sequence[str]) -> tuple[NDArray, NDArray]:
    """Where in each list the ids lie that both hold: two int [m], in the order of the ids."""
    _, at_first, at_second = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return at_first, at_second
