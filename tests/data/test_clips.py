"""Clip rules: the frames that they give, what they refuse; for the six' own see tests/models/test_registry.py."""

import numpy as np
import pytest

from stfer.data.clips import (
    ClipRule,
    evaluation_clips,
    last_frames,
    sliding,
    spread,
    training_clip,
)


@pytest.mark.parametrize("rule", [last_frames(10), spread(2)])
def test_one_evaluation_clip_the_same_as_in_training(rule):
    assert not rule.votes
    np.testing.assert_array_equal(evaluation_clips(rule, 20), training_clip(rule, 20)[None, :])


def test_one_sliding_frame_votes_over_every_frame():
    rule = sliding(1)
    assert rule.votes
    assert evaluation_clips(rule, 4).tolist() == [[0], [1], [2], [3]]


def test_five_sliding_frames_vote_over_every_block():
    clips_ = evaluation_clips(sliding(5), 7)
    assert clips_.tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]


@pytest.mark.parametrize(
    ("rule", "length"), [(spread(2), 14), (last_frames(10), 9), (sliding(5), 4)]
)
def test_too_short_a_sequence_is_named(rule, length):
    for clips_of in (training_clip, evaluation_clips):
        with pytest.raises(
            ValueError, match=f"sequence S005_001 has {length} frames.*{length + 1}"
        ):
            clips_of(rule, length, "S005_001")
        clips_of(rule, length + 1, "S005_001")


def test_spread_frames_lie_at_even_distances():
    assert spread(2).offsets == (-15, -1)
    assert spread(3).offsets == (-15, -8, -1)


@pytest.mark.parametrize("offsets", [(), (0,), (-1, 2)])
def test_impossible_rules(offsets):
    with pytest.raises(ValueError, match="negative"):
        ClipRule(offsets)


def test_only_consecutive_frames_slide():
    with pytest.raises(ValueError, match="slide"):
        ClipRule((-3, -1), slide=True)
