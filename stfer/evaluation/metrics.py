"""How good a set of predictions is: the paper's accuracy (section VI-A, eq. 11) and what it leaves out.

Every figure is computed on the pooled predictions of all folds. A fold of one subject can lack classes, so an
average of per-fold macro scores would not be defined (Forman & Scholz 2010, "Apples-to-apples in
cross-validation studies", SIGKDD Explorations 12(1)).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn import metrics

CONFIDENCE = 0.95


def summarise(
    labels: ArrayLike,
    predicted: ArrayLike,
    subjects: Sequence[str] | NDArray[np.str_],
    num_classes: int,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Any]:
    """The figures of one vote over pooled predictions, ready for JSON.

    Args:
        labels: int [n], true class of each sequence, in 0 ... num_classes - 1.
        predicted: int [n], predicted class of each sequence.
        subjects: [n], who is seen in each sequence.
        num_classes: how many classes there are; a class may be absent from `labels`.
        seed: of the bootstrap's random numbers.
        resamples: how many times the bootstrap draws subjects.

    Returns:
        `accuracy`: share of sequences that are right (eq. 11). `accuracy_interval`: its 95 % interval
        [low, high], or None with a single subject, see `accuracy_interval`. `subject_mean_accuracy`: mean over
        subjects of each one's accuracy. `unweighted_average_recall`: mean recall over the classes
        that `labels` holds. `macro_f1`: mean F1 over the classes that are in `labels` or
        `predicted`. `chance`: accuracy of always naming the commonest class of `labels` (1 / num_classes where all
        are equally common). `confusion_matrix`: lists of int [num_classes, num_classes], rows are the true class.

    Raises:
        ValueError: if the arrays are empty, of unequal length, or hold a class that does not exist.
    """
    labels, predicted, subjects = _checked(labels, predicted, subjects, num_classes)
    right, count = per_subject(labels == predicted, subjects)
    interval = accuracy_interval(right, count, seed=seed, resamples=resamples)
    return {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "accuracy_interval": interval,
        "subject_mean_accuracy": float(np.mean(right / count)),
        "unweighted_average_recall": float(
            metrics.recall_score(labels, predicted, labels=np.unique(labels), average="macro")
        ),
        "macro_f1": float(metrics.f1_score(labels, predicted, average="macro", zero_division=0)),
        "chance": float(np.bincount(labels).max() / len(labels)),
        "confusion_matrix": metrics.confusion_matrix(
            labels, predicted, labels=np.arange(num_classes)
        ).tolist(),
    }


def per_subject(
    right: ArrayLike, subjects: Sequence[str] | NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum something over each subject's sequences.

    Args:
        right: bool or float [n], such as "this sequence is classified rightly".
        subjects: [n], who is seen in each sequence.

    Returns:
        Two float64 [number of subjects], subjects in sorted order: the sum of `right`, and how many sequences.
    """
    _, index = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    return np.bincount(index, weights=np.asarray(right, dtype=float)), np.bincount(index).astype(
        float
    )


def accuracy_interval(
    right: ArrayLike, count: ArrayLike, seed: int = 0, resamples: int = 2000
) -> list[float] | None:
    """The 95 % percentile interval of the pooled accuracy, by a bootstrap that resamples subjects.

    Sequences of one person are not independent, so the subject is what is drawn (a cluster bootstrap: Field &
    Welsh 2007, "Bootstrapping clustered data", J. R. Statist. Soc. B 69(3); percentile interval: Efron &
    Tibshirani 1993, "An Introduction to the Bootstrap", ch. 13). It covers who happens to be in the data,
    not the randomness of training.

    Args:
        right: float [subjects], right sequences of each subject (or, for a difference of two models, the
            difference of their right sequences).
        count: float [subjects], sequences of each subject.
        seed: of the random numbers.
        resamples: how many times the subjects are drawn.

    Returns:
        [low, high], or None with fewer than two subjects, where no spread over subjects can be known.
    """
    right, count = np.asarray(right, dtype=float), np.asarray(count, dtype=float)
    if len(right) < 2:
        return None
    result = stats.bootstrap(
        (right, count),
        lambda right, count, axis: right.sum(axis=axis) / count.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=resamples,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return [float(result.confidence_interval.low), float(result.confidence_interval.high)]


def _checked(
    labels: ArrayLike,
    predicted: ArrayLike,
    subjects: Sequence[str] | NDArray[np.str_],
    num_classes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    labels, predicted = np.asarray(labels), np.asarray(predicted)
    if not 0 < len(labels) == len(predicted) == len(subjects):
        raise ValueError(
            f"labels, predicted and subjects must be equally long and not empty, not {len(labels)}, "
            f"{len(predicted)} and {len(subjects)} long"
        )
    for name, classes in (("labels", labels), ("predicted", predicted)):
        if not np.issubdtype(classes.dtype, np.integer):
            raise ValueError(f"{name} must be class numbers (int), not {classes.dtype}")
        if classes.min() < 0 or classes.max() >= num_classes:
            raise ValueError(
                f"{name} must lie in 0 ... {num_classes - 1}, but run from {classes.min()} to {classes.max()}"
            )
    return labels, predicted, np.asarray(subjects, dtype=str)
