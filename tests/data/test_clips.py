"""Clip rules: the frames that they give, what they refuse; for the six' own see tests/models/test_registry.py."""

import dataclasses

import numpy as np
import pytest

from stfer.data.clips import (
    ClipRule,
    evaluation_clips,
    last_frames,
    sliding,
    spread,
    training_choices,
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


def test_sliding_pairs_are_as_far_apart_as_the_papers_and_end_in_the_apex_part():
    rule = dataclasses.replace(spread(2), pairs="sliding", apex=5)
    assert rule.votes
    # Of ends 13 to 17 in 18 frames, 13 has no frame 14 before it.
    assert evaluation_clips(rule, 18).tolist() == [[0, 14], [1, 15], [2, 16], [3, 17]]
    assert evaluation_clips(rule, 15).tolist() == [[0, 14]]
    assert training_clip(rule, 18).tolist() == [3, 17]


def test_all_pairs_are_every_start_and_end_far_enough_apart():
    rule = dataclasses.replace(spread(2), pairs="all", distance=12, apex=3)
    assert evaluation_clips(rule, 16).tolist() == [
        [0, 13], [1, 13],
        [0, 14], [1, 14], [2, 14],
        [0, 15], [1, 15], [2, 15], [3, 15],
    ]  # fmt: skip


def test_a_distance_beyond_the_papers_pair_leaves_that_pair():
    rule = dataclasses.replace(spread(2), pairs="all", distance=40, apex=1)
    assert evaluation_clips(rule, 16).tolist() == [[0, 15], [1, 15]]


@pytest.mark.parametrize("rule", [sliding(1), last_frames(5), spread(3)])
def test_only_pairs_vote_over_pairs(rule):
    with pytest.raises(ValueError, match="clips of two frames"):
        dataclasses.replace(rule, pairs="all")
    with pytest.raises(ValueError, match="last, sliding, all"):
        dataclasses.replace(spread(2), pairs="every")


@pytest.mark.parametrize(
    ("rule", "length", "choices"),
    [
        (sliding(1), 5, [[4], [2], [3]]),
        (last_frames(4), 6, [[2, 3, 4, 5], [0, 1, 2, 3], [1, 2, 3, 4]]),
        (last_frames(4), 5, [[1, 2, 3, 4], [0, 1, 2, 3]]),
        (ClipRule((-4, -1)), 6, [[2, 5], [0, 3], [0, 4], [1, 4], [0, 5], [1, 5]]),
    ],
)
def test_random_clips_are_drawn_from_the_apex_part_the_papers_own_first(rule, length, choices):
    drawn = dataclasses.replace(rule, random=True, distance=3, apex=3)
    assert training_choices(drawn, length).tolist() == choices
    assert training_choices(rule, length).tolist() == choices[:1]
    np.testing.assert_array_equal(evaluation_clips(drawn, length), evaluation_clips(rule, length))
