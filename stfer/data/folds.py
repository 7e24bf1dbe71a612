"""Which subjects are held out together: leave one subject out (paper section VI-A) and the literature's ten folds.

The literature's ten folds order the subjects by ascending id and put every tenth into one fold: for CK+
described in words (Liu et al. 2014, "Learning expressionlets on spatio-temporal manifold for dynamic facial
expression recognition", CVPR, and work after it), for Oulu-CASIA in code, `subjects[i::10]`. It is one rule.
Splitters follow scikit-learn's contract, so they also serve `cross_val_score`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator, LeaveOneGroupOut

PROTOCOLS = {
    "loso": "leave one subject out",
    "kfold": "10 subject-disjoint folds, ids ascending, every tenth",
}
FOLDS = 10


@dataclass(frozen=True)
class Fold:
    """One training and one test set that share no subject.

    Attributes:
        held_out: the fold's name: the subject (LOSO), or "fold-00" to "fold-09".
        subjects: the held-out subjects, ascending.
        train: int64, indices of the training sequences.
        test: int64, indices of the held-out sequences.
    """

    held_out: str
    subjects: tuple[str, ...]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    validation: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


class SubjectKFold(BaseCrossValidator):
    """Subject-disjoint folds as the literature cuts them: subjects by ascending id, every n-th into one fold.

    Unlike scikit-learn's `GroupKFold` it does not balance the folds by size: the cut must be the published one.
    """

    def __init__(self, n_splits: int = FOLDS) -> None:
        if n_splits < 2:
            raise ValueError(f"n_splits must be at least 2, not {n_splits}")
        self.n_splits = n_splits

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """The number of folds."""
        return self.n_splits

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (train, test) indices, fold by fold.

        Args:
            X: anything of length n.
            y: not used.
            groups: [n], the subject of each sequence.

        Raises:
            ValueError: if `groups` is missing or names fewer subjects than there are folds.
        """
        if groups is None:
            raise ValueError("groups must hold the subject of each sequence")
        return super().split(X, y, groups)

    def _iter_test_masks(
        self, X: Any = None, y: Any = None, groups: Any = None
    ) -> Iterator[NDArray[np.bool_]]:
        subjects = ascending(groups)
        if len(subjects) < self.n_splits:
            raise ValueError(
                f"{self.n_splits} subject-disjoint folds need at least {self.n_splits} subjects, "
                f"but there are {len(subjects)}"
            )
        for i in range(self.n_splits):
            yield np.isin(np.asarray(groups, dtype=str), subjects[i :: self.n_splits])


def folds(protocol: str, subjects: Sequence[str] | ArrayLike) -> list[Fold]:
    """The folds of a protocol, in the order of their names.

    Args:
        protocol: "loso" or "kfold", see `PROTOCOLS`.
        subjects: str [n], the subject of each usable sequence. A person must have one name over all conditions.

    Raises:
        ValueError: if the protocol is unknown, or there are too few subjects for it.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    subjects = np.asarray(subjects, dtype=str)
    if len(np.unique(subjects)) < 2:
        raise ValueError("holding out a subject needs at least two subjects")
    splitter = LeaveOneGroupOut() if protocol == "loso" else SubjectKFold()
    found = []
    for number, (train, test) in enumerate(splitter.split(subjects, groups=subjects)):
        held_out = ascending(subjects[test])
        name = held_out[0] if protocol == "loso" else f"fold-{number:02d}"
        found.append(Fold(name, tuple(held_out), train, test))
    return found


def ascending(subjects: Sequence[str] | ArrayLike) -> list[str]:
    """The distinct subject ids, ascending by their numbers where they have any: S2 before S10."""

    def key(subject: str) -> list[tuple[bool, int, str]]:
        parts = re.split(r"(\d+)", subject)
        return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]

    return sorted({str(subject) for subject in np.asarray(subjects, dtype=str)}, key=key)


def check_protocol(name):
    if name not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, not {name!r}")
