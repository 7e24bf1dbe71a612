"""The splits against their definitions: every sequence held out once, no subject on both sides."""

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import (
    BaseCrossValidator,
    GroupKFold,
    LeavePGroupsOut,
    cross_val_score,
)

from properties import examples
from stfer.data import folds as protocol

# 23 subjects with gappy ids and 1 to 4 sequences each, in an order of no meaning.
IDS = [f"S{number:03d}" for number in (*range(5, 40, 2), 501, 502, 895, 998, 999)]
SUBJECTS = np.random.default_rng(0).permutation(
    np.repeat(IDS, [1 + i % 4 for i in range(len(IDS))])
)


@pytest.fixture(autouse=True)
def _protocols_as_before(monkeypatch):
    for field in ("_entries", "_sources"):
        monkeypatch.setattr(protocol.PROTOCOLS, field, dict(getattr(protocol.PROTOCOLS, field)))


@pytest.mark.parametrize("name", ["loso", "kfold"])
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


def test_a_protocol_from_outside():
    @protocol.register_protocol("by_century", description="ids below and above 500")
    class ByCentury(BaseCrossValidator):
        def get_n_splits(self, X=None, y=None, groups=None):
            return 2

        def _iter_test_masks(self, X=None, y=None, groups=None):
            high = np.array([int(group[1:]) >= 500 for group in groups])
            yield from (high, ~high)

    first, second = protocol.folds("by_century", SUBJECTS)
    assert (first.held_out, second.held_out) == ("fold-00", "fold-01")
    assert first.subjects == ("S501", "S502", "S895", "S998", "S999")
    assert len(first.test) + len(second.test) == len(SUBJECTS)
    assert protocol.describe_protocol("by_century") == "ids below and above 500"
    assert protocol.describe_protocol("unheard") == "unheard"
    assert protocol.describe_protocol("loso") == "leave one subject out"


class Careless(BaseCrossValidator):
    """Forgets the groups: every second sequence is tested."""

    def get_n_splits(self, X=None, y=None, groups=None):
        return 1

    def _iter_test_masks(self, X=None, y=None, groups=None):
        yield np.arange(len(X)) % 2 == 0


@pytest.mark.parametrize(
    ("splitter", "sentence"),
    [
        (Careless, "x, fold-00: A is in training and held out"),
        (lambda: LeavePGroupsOut(2), "x: A is held out in fold-00 and in fold-01"),
        (lambda: LeavePGroupsOut(3), "training|groups"),
    ],
)
def test_a_protocol_that_leaks_or_repeats_is_refused(splitter, sentence):
    protocol.register_protocol("x", description="")(splitter)
    with pytest.raises(ValueError, match=sentence):
        protocol.folds("x", ["A", "A", "B", "C"])


def test_a_fold_of_several_subjects_is_not_named_after_one():
    protocol.register_protocol("x", description="", by_subject=True)(lambda: GroupKFold(2))
    with pytest.raises(ValueError, match="protocol x: B is not held out alone"):
        protocol.folds("x", ["A", "A", "A", "B", "C"])


def test_validation_subjects_by_name_and_by_share():
    subjects = ["A", "B", "B", "C", "D"]
    fold = protocol.folds("loso", subjects)[0]
    named = protocol.with_validation(fold, subjects, ["B", "A"])
    assert named.validation.tolist() == [1, 2]
    assert named.train.tolist() == [3, 4]
    assert named.test.tolist() == [0]
    assert (
        len(set(np.asarray(subjects)[protocol.with_validation(fold, subjects, 0.67).validation]))
        == 2
    )
    drawn = {
        tuple(protocol.with_validation(fold, subjects, 0.4, seed).validation) for seed in range(20)
    }
    assert drawn == {(1, 2), (3,), (4,)}


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        (["E"], "no subject to validate with is named 'E'"),
        (["A"], "fold A has nobody left to validate with"),
        ([], "nobody left to validate with"),
        (["B", "C"], "nobody left to train on: of its 2 training subjects 2"),
        (0.9, "nobody left to train on"),
        (0.0, "the share of validation subjects is 0.0"),
        (1, "the share of validation subjects is 1"),
        ("B", "a list of names or a share"),
    ],
)
def test_validation_that_cannot_be(who, sentence):
    fold = protocol.folds("loso", ["A", "B", "C"])[0]
    with pytest.raises(ValueError, match=sentence):
        protocol.with_validation(fold, ["A", "B", "C"], who)


def test_a_fold_validates_once():
    fold = protocol.with_validation(
        protocol.folds("loso", ["A", "B", "C"])[0], ["A", "B", "C"], 0.5
    )
    with pytest.raises(ValueError, match="a validation set already"):
        protocol.with_validation(fold, ["A", "B", "C"], 0.5)


names = st.text("ab01/ S", min_size=1, max_size=4)
sets = st.lists(names, min_size=2, max_size=60).filter(lambda subjects: len(set(subjects)) > 1)


@examples(60)
@given(subjects=sets, name=st.sampled_from(["loso", "kfold"]), data=st.data())
def test_any_set_of_subjects_is_cut_into_sides_that_share_nobody(subjects, name, data):
    people = np.asarray(subjects, dtype=str)
    if name == "kfold" and len(set(people)) < 10:
        with pytest.raises(ValueError, match="at least 10 subjects"):
            protocol.folds(name, subjects)
        return
    share = data.draw(st.floats(0.05, 0.95))
    seed = data.draw(st.integers(0, 2**32))
    held_out = []
    folds = protocol.folds(name, subjects)
    for fold in folds:
        held_out.extend(fold.test)
        if len(set(people[fold.train])) > 1:
            try:
                whole = protocol.with_validation(fold, subjects, share, seed)
            except ValueError as error:
                assert "nobody left to train on" in str(error)  # noqa: PT017
                whole = fold
            else:
                assert len(whole.validation)
                again = protocol.with_validation(fold, subjects, share, seed)
                np.testing.assert_array_equal(again.validation, whole.validation)
            np.testing.assert_array_equal(whole.test, fold.test)
            fold = whole
        rows = [side.tolist() for side in (fold.train, fold.validation, fold.test)]
        assert sorted(itertools.chain(*rows)) == list(range(len(subjects)))
        sides = [set(people[side]) for side in rows]
        assert all(side.dtype == np.int64 for side in (fold.train, fold.validation, fold.test))
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert sorted(held_out) == list(range(len(subjects)))
    assert len({fold.held_out for fold in folds}) == len(folds)


def test_the_docstrings_examples_run():
    results = doctest.testmod(protocol)
    assert results.failed == 0
    assert results.attempted > 4
