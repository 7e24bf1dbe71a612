"""The two votes against cases worked by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stfer.evaluation import voting

# Multiples of 1/1024: their sums are exact in any order.
CLIPS = st.tuples(st.integers(1, 12), st.integers(2, 8)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(0, 1024).map(lambda n: n / 1024))
)


def test_the_votes_can_disagree():
    # Two clips lean to class 1 by a little, one is sure of class 0: sums 1.7 and 1.3.
    probabilities = [[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]
    assert voting.vote(probabilities) == {"summed": 0, "maximum": 1}
    shares = voting.shares(probabilities)
    np.testing.assert_allclose(shares["summed"], [1.7 / 3, 1.3 / 3])
    np.testing.assert_allclose(shares["maximum"], [1 / 3, 2 / 3])


def test_a_tie_of_votes_goes_to_the_larger_sum_among_the_tied():
    # Classes 0 and 2 have two votes each; class 1 has one vote but the largest sum of all.
    probabilities = [
        [0.50, 0.45, 0.05],
        [0.50, 0.45, 0.05],
        [0.01, 0.48, 0.51],
        [0.01, 0.48, 0.51],
        [0.00, 0.90, 0.10],
    ]
    # Sums by hand: 1.02, 2.76, 1.22.
    assert voting.vote(probabilities) == {"summed": 1, "maximum": 2}


def test_a_full_tie_goes_to_the_first_class():
    assert voting.vote([[0.5, 0.5], [0.5, 0.5]]) == {"summed": 0, "maximum": 0}


def test_one_clip_gives_equal_votes():
    assert voting.vote([[0.2, 0.3, 0.5]]) == {"summed": 2, "maximum": 2}
    shares = voting.shares([[0.2, 0.3, 0.5]])
    np.testing.assert_allclose(shares["summed"], [0.2, 0.3, 0.5])
    np.testing.assert_array_equal(shares["maximum"], [0, 0, 1])


def test_shares_agree_with_votes_and_sum_to_one():
    rng = np.random.default_rng(3)
    for _ in range(50):
        probabilities = rng.dirichlet(np.ones(6), size=rng.integers(1, 9)).astype(np.float32)
        shares = voting.shares(probabilities)
        winner = voting.vote(probabilities)
        assert set(winner) == set(shares) == set(voting.VOTES)
        for name in voting.VOTES:
            assert shares[name].sum() == pytest.approx(1)
            assert shares[name][winner[name]] == shares[name].max()


@pytest.mark.parametrize(
    "wrong", [[0.5, 0.5], np.zeros((0, 6)), np.zeros((2, 0)), [[np.nan, 1.0]], [[np.inf, 0.0]]]
)
def test_wrong_arrays_are_refused(wrong):
    with pytest.raises(ValueError, match="probabilities must be"):
        voting.vote(wrong)
    with pytest.raises(ValueError, match="probabilities must be"):
        voting.shares(wrong)


@given(CLIPS, st.randoms())
def test_the_order_of_clips_does_not_matter(clips, random):
    order = list(range(len(clips)))
    random.shuffle(order)
    assert voting.vote(clips[order]) == voting.vote(clips)
    for name, share in voting.shares(clips).items():
        np.testing.assert_array_equal(voting.shares(clips[order])[name], share)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_one_hot_clips_vote_as_they_are_counted(labels):
    clips = np.eye(6)[labels]
    # The commonest class; of several, the first.
    commonest = min(set(labels), key=lambda label: (-labels.count(label), label))
    assert voting.vote(clips) == {"summed": commonest, "maximum": commonest}
    shares = voting.shares(clips)
    expected = [labels.count(label) / len(labels) for label in range(6)]
    np.testing.assert_array_equal(shares["summed"], expected)
    np.testing.assert_array_equal(shares["maximum"], expected)


@given(CLIPS, st.data())
def test_clips_may_come_in_parts(clips, data):
    cuts = data.draw(st.lists(st.integers(1, len(clips)), max_size=4))
    tally = voting.Tally(clips.shape[1])
    for part in np.split(clips, sorted(cuts)):
        if len(part):
            tally.add(part)
    assert tally.winners() == voting.vote(clips)
    for name, share in voting.shares(clips).items():
        np.testing.assert_array_equal(tally.shares()[name], share)
