"""The tests against their definitions, written out by brute force."""

import itertools
import math

import numpy as np
import pytest

from stfer.evaluation import significance


def make(n_subjects, per_subject, p_first, p_second, seed=0):
    rng = np.random.default_rng(seed)
    subjects = np.repeat([f"S{i:02d}" for i in range(n_subjects)], per_subject)
    return rng.random(len(subjects)) < p_first, rng.random(len(subjects)) < p_second, subjects


def test_mcnemar_is_the_sign_test_on_discordant_sequences():
    first = np.array([1, 1, 1, 1, 1, 1, 1, 0, 1, 0], bool)
    second = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 0], bool)
    # 7 against 1 of 8 discordant: 2 (C(8,0) + C(8,1)) / 2^8.
    assert significance.mcnemar_exact(first, second) == pytest.approx(2 * (1 + 8) / 256)
    assert significance.mcnemar_exact(first, first) == 1
    # 4 against 4: twice the lower half is more than one, so one.
    assert significance.mcnemar_exact([1, 0] * 4, [0, 1] * 4) == 1


def test_permutation_is_the_share_of_all_swaps_at_least_as_extreme():
    first, second, subjects = make(8, 5, 0.7, 0.4)
    gains = [
        int(first[subjects == s].sum()) - int(second[subjects == s].sum())
        for s in np.unique(subjects)
    ]
    sums = [
        sum(sign * gain for sign, gain in zip(signs, gains, strict=True))
        for signs in itertools.product((1, -1), repeat=8)
    ]
    expected = np.mean(np.abs(sums) >= abs(sum(gains)))
    assert significance.permutation_over_subjects(first, second, subjects) == pytest.approx(
        expected
    )


def test_a_gain_on_one_person_alone_is_no_evidence():
    """30 sequences of one subject flip: McNemar calls it certain, swapping subjects does not."""
    subjects = np.array(["A"] * 30 + ["B"] * 30 + ["C"] * 30)
    first, second = np.ones(90, bool), np.where(subjects == "A", False, True)
    assert significance.mcnemar_exact(first, second) < 1e-6
    assert significance.permutation_over_subjects(first, second, subjects) == 1


def test_interval_of_a_constant_gain_is_that_gain():
    subjects = np.repeat(["A", "B", "C"], 4)
    first, second = np.tile([1, 1, 1, 0], 3), np.tile([1, 0, 0, 0], 3)
    assert significance.difference_interval(first, second, subjects) == [0.5, 0.5]
    assert significance.difference_interval(second, first, subjects) == [-0.5, -0.5]


@pytest.mark.slow
def test_holm_by_hand():
    # Ascending .01 .02 .04 times 3, 2, 1, never falling: .03 .04 .04.
    assert significance.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert significance.holm([0.6, 0.7]) == [1, 1]
    assert significance.holm([]) == []


def test_pairs_are_matched_by_sequence_id_and_corrected():
    first, second, subjects = make(10, 6, 0.9, 0.3)
    ids = np.array([f"seq{i:02d}" for i in range(60)])
    shuffle = np.random.default_rng(1).permutation(60)[:48]  # The second model lacks 12 sequences.
    third = ~first
    pairs = significance.compare_pairs(
        {"one": second[shuffle], "two": first, "three": third},
        {"one": subjects[shuffle], "two": subjects, "three": subjects},
        {"one": ids[shuffle], "two": ids, "three": ids},
    )
    assert [{pair.better, pair.worse} for pair in pairs] == [
        {"one", "two"},
        {"one", "three"},
        {"two", "three"},
    ]
    assert [pair.sequences for pair in pairs] == [48, 48, 60]
    pair = pairs[0]
    assert (pair.better, pair.worse, pair.subjects) == ("two", "one", 10)
    gain = first[shuffle].mean() - second[shuffle].mean()
    assert pair.difference == pytest.approx(gain)
    assert pair.interval[0] < gain < pair.interval[1]
    assert pair.only_better == np.sum(first & ~second & np.isin(range(60), shuffle))
    for name in ("mcnemar", "permutation"):
        raw = [getattr(pair, f"{name}_raw") for pair in pairs]
        assert [getattr(pair, name) for pair in pairs] == pytest.approx(significance.holm(raw))
    assert pair.holds


@pytest.mark.parametrize("n", [3, 8, 20])
def test_smallest_p_is_that_of_a_gain_on_every_subject(n):
    subjects = [f"S{i}" for i in range(n)]
    p = significance.permutation_over_subjects(np.ones(n), np.zeros(n), subjects)
    assert p == pytest.approx(significance.smallest_corrected_p(n, 1))
    assert significance.smallest_corrected_p(8, 15) == pytest.approx(15 * 2 / 256)
    assert significance.smallest_corrected_p(2, 15) == 1


@pytest.mark.slow
def test_the_order_of_names_does_not_change_the_test():
    first, second, subjects = make(9, 4, 0.6, 0.5, seed=3)
    ids = np.arange(36).astype(str)

    def compare(one, two):
        shared = dict.fromkeys("ab", subjects), dict.fromkeys("ab", ids)
        return significance.compare_pairs({"a": one, "b": two}, *shared)[0]

    there, back = compare(first, second), compare(second, first)
    assert there.permutation == back.permutation
    assert there.difference == back.difference
    assert {there.better, back.better} == {"a", "b"}


def test_seeds_are_averaged_for_the_permutation_and_single_for_mcnemar():
    subjects = np.repeat([f"S{i}" for i in range(6)], 2)
    ids = np.arange(12).astype(str)
    pair = significance.compare_pairs(
        {"a": np.full(12, 0.75), "b": np.full(12, 0.5)},
        dict.fromkeys("ab", subjects),
        dict.fromkeys("ab", ids),
        single={"a": np.ones(12, bool), "b": np.arange(12) > 4},
    )[0]
    assert pair.difference == pytest.approx(0.25)
    assert pair.permutation == pytest.approx(2 / 2**6)
    assert pair.only_better == 5
    assert pair.mcnemar == pytest.approx(2 / 2**5)


def test_one_subject_gives_no_interval_and_no_permutation():
    pair = significance.compare_pairs(
        {"a": [1, 1], "b": [0, 1]}, dict.fromkeys("ab", ("S", "S")), dict.fromkeys("ab", ("1", "2"))
    )[0]
    assert pair.interval is None
    assert pair.permutation is None
    assert not pair.holds
    assert math.isclose(pair.difference, 0.5)


def test_nothing_shared_is_no_pair_and_wrong_subjects_are_refused():
    right = {"a": [1, 0], "b": [0, 1]}
    assert not significance.compare_pairs(
        right, dict.fromkeys("ab", ("S", "T")), {"a": ["1", "2"], "b": ["3", "4"]}
    )
    with pytest.raises(ValueError, match="different subjects for the same sequence"):
        significance.compare_pairs(
            right, {"a": ["S", "T"], "b": ["S", "U"]}, dict.fromkeys("ab", ("1", "2"))
        )
