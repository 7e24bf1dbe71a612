"""The splits against their definitions: every sequence held out once, no subject on both sides."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_val_score

from stfer.data import folds as protocol

# 23 subjects with gappy ids and 1 to 4 sequences each, in an order of no meaning.
IDS = [f"S{number:03d}" for number in (*range(5, 40, 2), 501, 502, 895, 998, 999)]
SUBJECTS = np.random.default_rng(0).permutation(
    np.repeat(IDS, [1 + i % 4 for i in range(len(IDS))])
)


@pytest.mark.parametrize("name", protocol.PROTOCOLS)
def test_every_sequence_is_held_out_once_and_its_subject_never_trained_on(name):
    held_out = []
    for fold in protocol.folds(name, SUBJECTS):
        assert set(SUBJECTS[fold.test]) == set(fold.subjects)
        assert not set(SUBJECTS[fold.train]) & set(fold.subjects)
        assert sorted([*fold.train, *fold.test]) == list(range(len(SUBJECTS)))
        held_out.extend(fold.test)
    assert sorted(held_out) == list(range(len(SUBJECTS)))


def test_loso_has_a_fold_a_subject_named_after_it():
    folds = protocol.folds("loso", SUBJECTS)
    assert [fold.held_out for fold in folds] == IDS
    assert all(fold.subjects == (fold.held_out,) for fold in folds)


def test_ten_folds_are_every_tenth_subject_by_ascending_id():
    folds = protocol.folds("kfold", SUBJECTS)
    assert [fold.held_out for fold in folds] == [f"fold-{i:02d}" for i in range(10)]
    assert folds[0].subjects == ("S005", "S025", "S895")
    assert folds[9].subjects == ("S023", "S502")
    for i, fold in enumerate(folds):
        assert list(fold.subjects) == IDS[i::10]


def test_ids_ascend_by_number():
    assert protocol.ascending(["P10", "P2", "P2", "P1"]) == ["P1", "P2", "P10"]
    assert protocol.ascending(["b/S2", "a/S10", "a/S9"]) == ["a/S9", "a/S10", "b/S2"]


def test_scikit_learn_takes_the_splitter():
    x, y = np.zeros((len(SUBJECTS), 1)), np.arange(len(SUBJECTS)) % 2
    splitter = protocol.SubjectKFold()
    assert splitter.get_n_splits(x, y, SUBJECTS) == 10
    scores = cross_val_score(
        DummyClassifier(strategy="constant", constant=1), x, y, groups=SUBJECTS, cv=splitter
    )
    expected = [y[np.isin(SUBJECTS, IDS[i::10])].mean() for i in range(10)]
    np.testing.assert_allclose(scores, expected)


def test_what_cannot_be_split_is_refused():
    with pytest.raises(ValueError, match="protocol must be one of loso, kfold, not 'k-fold'"):
        protocol.folds("k-fold", SUBJECTS)
    with pytest.raises(ValueError, match="need at least 10 subjects, but there are 9"):
        protocol.folds("kfold", IDS[:9])
    with pytest.raises(ValueError, match="at least two subjects"):
        protocol.folds("loso", ["A", "A"])
    with pytest.raises(ValueError, match="groups must hold"):
        protocol.SubjectKFold().split(np.zeros(20))
    with pytest.raises(ValueError, match="n_splits"):
        protocol.SubjectKFold(1)
