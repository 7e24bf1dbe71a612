"""The frames of every architecture, written out by hand from the paper's section VI-B."""

import numpy as np
import pytest

from stfer.data import clips
from stfer.data.clips import ClipRule, evaluation_clips, register_rule, rule_for, training_clip

FRAMES = {
    "single_frame": 1, "early_fusion": 10, "late_fusion": 2, "slow_fusion": 10, "conv3d": 5, "rnn": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("single_frame", [19]),
        ("early_fusion", [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
        ("late_fusion", [5, 19]),
        ("slow_fusion", [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
        ("conv3d", [15, 16, 17, 18, 19]),
        ("rnn", [15, 16, 17, 18, 19]),
    ],
)
def test_training_clips_of_twenty_frames(name, training):
    assert training_clip(rule_for(name, FRAMES[name]), 20).tolist() == training


@pytest.mark.parametrize("name", ["early_fusion", "late_fusion", "slow_fusion", "rnn"])
def test_one_evaluation_clip_the_same_as_in_training(name):
    rule = rule_for(name, FRAMES[name])
    assert not rule.votes
    np.testing.assert_array_equal(evaluation_clips(rule, 20), training_clip(rule, 20)[None, :])


def test_single_frame_votes_over_every_frame():
    rule = rule_for("single_frame", 1)
    assert rule.votes
    assert evaluation_clips(rule, 4).tolist() == [[0], [1], [2], [3]]


def test_conv3d_votes_over_every_block_of_five():
    clips_ = evaluation_clips(rule_for("conv3d", 5), 7)
    assert clips_.tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]


@pytest.mark.parametrize(
    ("name", "length"), [("late_fusion", 14), ("early_fusion", 9), ("conv3d", 4)]
)
def test_too_short_a_sequence_is_named(name, length):
    rule = rule_for(name, FRAMES[name])
    for clips_of in (training_clip, evaluation_clips):
        with pytest.raises(
            ValueError, match=f"sequence S005_001 has {length} frames.*{length + 1}"
        ):
            clips_of(rule, length, "S005_001")
        clips_of(rule, length + 1, "S005_001")


def test_late_fusion_with_more_towers_spans_the_same_frames():
    assert rule_for("late_fusion", 3).offsets == (-15, -8, -1)


def test_unknown_architectures_see_their_last_frames():
    assert rule_for("somebody_elses", 3) == ClipRule((-3, -2, -1))


def test_registered_rules(monkeypatch):
    monkeypatch.setattr(clips, "_RULES", dict(clips._RULES))
    register_rule("pair", ClipRule((-5, -1)))
    assert training_clip(rule_for("pair", 2), 8).tolist() == [3, 7]
    with pytest.raises(ValueError, match="already"):
        register_rule("pair", ClipRule((-5, -1)))
    with pytest.raises(ValueError, match="already"):
        register_rule("conv3d", ClipRule((-1,)))
    with pytest.raises(ValueError, match="gives 2 frames, the model takes 3"):
        rule_for("pair", 3)


@pytest.mark.parametrize("offsets", [(), (0,), (-1, 2)])
def test_impossible_rules(offsets):
    with pytest.raises(ValueError, match="negative"):
        ClipRule(offsets)


def test_only_consecutive_frames_slide():
    with pytest.raises(ValueError, match="slide"):
        ClipRule((-3, -1), slide=True)
