"""Which subjects are held out together, and who of the others validates.

A protocol is leave one subject out (paper section VI-A), the literature's ten folds, or one that was registered.

The literature's ten folds order the subjects by ascending id and put every tenth into one fold: for CK+
described in words (Liu et al. 2014, "Learning expressionlets on spatio-temporal manifold for dynamic facial
expression recognition", CVPR, and work after it), for Oulu-CASIA in code, `subjects[i::10]`. It is one rule.
Splitters follow scikit-learn's contract, so they also serve `cross_val_score`.
"""

import dataclasses
import math
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator, LeaveOneGroupOut

from stfer.registries import Registry

FOLDS = 10


def _no_rows() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Fold:
    """A training, a validation and a test set of which no two share a subject.

    Attributes:
        held_out: the fold's name: the subject (LOSO), or "fold-00" to "fold-09".
        subjects: the held-out subjects, ascending.
        train: int64, indices of the training sequences.
        test: int64, indices of the held-out sequences.
        validation: int64, indices of sequences that choose among weights and settings; often none.
    """

    held_out: str
    subjects: tuple[str, ...]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    validation: NDArray[np.int64] = field(default_factory=_no_rows)


@dataclass(frozen=True)
class Protocol:
    """How the subjects of a set are held out.

    Attributes:
        name: what commands call it.
        splitter: makes a splitter by scikit-learn's contract; its `split` gets the subjects as groups.
        description: a few words for reports.
        by_subject: each fold holds out one subject and is named after it; otherwise folds are numbered.
    """

    name: str
    splitter: Callable[[], BaseCrossValidator]
    description: str
    by_subject: bool = False


PROTOCOLS: Registry[Protocol] = Registry("protocol")


def register_protocol(
    name: str, *, description: str, by_subject: bool = False
) -> Callable[[Callable[[], BaseCrossValidator]], Callable[[], BaseCrossValidator]]:
    """Register a splitter's class, or a function that makes one, as a protocol; use it as a decorator.

    Args:
        name: what commands call it; it becomes part of the results' path.
        description: as in `Protocol`.
        by_subject: as in `Protocol`.

    Raises:
        ValueError: another splitter has the name.

    Example:
        >>> from sklearn.model_selection import GroupKFold
        >>> @register_protocol("halves", description="two groups of subjects, of about equal size")
        ... def halves():
        ...     return GroupKFold(2)
        >>> [fold.subjects for fold in folds("halves", ["A", "B", "C", "A"])]
        [('A',), ('B', 'C')]
    """

    def add(splitter: Callable[[], BaseCrossValidator]) -> Callable[[], BaseCrossValidator]:
        PROTOCOLS.add(name, splitter, Protocol(name, splitter, description, by_subject))
        return splitter

    return add


def describe_protocol(protocol: str) -> str:
    """A protocol's description, or its name where it is not registered here."""
    return PROTOCOLS[protocol].description if protocol in PROTOCOLS else protocol


register_protocol("loso", description="leave one subject out", by_subject=True)(LeaveOneGroupOut)


@register_protocol("kfold", description="10 subject-disjoint folds, ids ascending, every tenth")
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
    """The folds of a protocol, in the order of its splitter.

    Args:
        protocol: a name in `PROTOCOLS`: "loso", "kfold", or one that was registered.
        subjects: str [n], the subject of each usable sequence. A person must have one name over all conditions.

    Raises:
        ValueError: if the protocol is unknown, there are too few subjects for it, or its splitter puts a subject on
            both sides or holds one out twice.
    """
    known = PROTOCOLS.find(protocol)
    subjects = np.asarray(subjects, dtype=str)
    if len(np.unique(subjects)) < 2:
        raise ValueError("holding out a subject needs at least two subjects")
    found = []
    held: dict[str, str] = {}
    splits = known.splitter().split(subjects, groups=subjects)
    for number, (train, test) in enumerate(splits):
        held_out = ascending(subjects[test])
        name = held_out[0] if known.by_subject and held_out else f"fold-{number:02d}"
        both = ascending(np.intersect1d(held_out, subjects[train]))
        if both or not held_out or not len(train):
            what = f"{both[0]} is in training and held out" if both else "a side is empty"
            raise ValueError(f"protocol {protocol}, {name}: {what}")
        if known.by_subject and len(held_out) > 1:
            raise ValueError(f"protocol {protocol}: {name} is not held out alone")
        for subject in held_out:
            if subject in held:
                raise ValueError(
                    f"protocol {protocol}: {subject} is held out in {held[subject]} and in {name}; "
                    "results pool each sequence once"
                )
            held[subject] = name
        rows = (np.asarray(side, np.int64) for side in (train, test))
        found.append(Fold(name, tuple(held_out), *rows))
    return found


def with_validation(
    fold: Fold, subjects: Sequence[str] | ArrayLike, who: float | Collection[str], seed: int = 0
) -> Fold:
    """A fold whose validation set is some of its training subjects, with all their sequences.

    Args:
        fold: without validation.
        subjects: str [n], the subject of each sequence of the set.
        who: the share of the training subjects, above 0 and below 1 (rounded, at least one), drawn from `seed` and the
            fold's name alone; or the subjects' names, of which those that the fold holds out are passed over.
        seed: of the draw.

    Returns:
        The fold, with rows moved from `train` to `validation`. Test rows stay what they are.

    Raises:
        ValueError: nobody is left to train on or to validate with, or a name is not in the set.

    Example:
        >>> subjects = ["A", "A", "B", "C"]
        >>> fold = with_validation(folds("loso", subjects)[1], subjects, ["A"])
        >>> fold.train, fold.validation, fold.test
        (array([3]), array([0, 1]), array([2]))
    """
    subjects = np.asarray(subjects, dtype=str)
    if len(fold.validation):
        raise ValueError(f"fold {fold.held_out} has a validation set already")
    trained = ascending(subjects[fold.train])
    if isinstance(who, str):
        raise ValueError(f"validation subjects are a list of names or a share, not {who!r}")
    if isinstance(who, Collection):
        unknown = [name for name in who if name not in subjects]
        if unknown:
            raise ValueError(
                f"no subject to validate with is named {', '.join(map(repr, unknown))}"
            )
        chosen = set(who) - set(fold.subjects)
    else:
        if not 0 < who < 1:
            raise ValueError(f"the share of validation subjects is {who}; use one between 0 and 1")
        random = np.random.default_rng([seed, zlib.crc32(fold.held_out.encode())])
        chosen = set(random.permutation(trained)[: max(1, math.floor(who * len(trained) + 0.5))])
    moved = np.isin(subjects[fold.train], list(chosen))
    if not moved.any() or moved.all():
        without = "train on" if moved.any() else "validate with"
        raise ValueError(
            f"fold {fold.held_out} has nobody left to {without}: of its {len(trained)} training subjects "
            f"{len(chosen & set(trained))} are to validate"
        )
    return dataclasses.replace(fold, train=fold.train[~moved], validation=fold.train[moved])


def ascending(subjects: Sequence[str] | ArrayLike) -> list[str]:
    """The distinct subject ids, ascending by their numbers where they have any: S2 before S10."""

    def key(subject: str) -> list[tuple[bool, int, str]]:
        parts = re.split(r"(\d+)", subject)
        return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]

    return sorted({str(subject) for subject in np.asarray(subjects, dtype=str)}, key=key)
