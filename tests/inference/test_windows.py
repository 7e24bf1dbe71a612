"""Which frames of a video make a clip, against places written down by hand."""

import pytest

from stfer.data.clips import ClipRule, last_frames, sliding
from stfer.inference.windows import CLASSIFIED, GAP, SKIPPED, WAITING, History, window

LATE = ClipRule((-15, -1))


def play(window_, frames, missing=(), start=100):
    """The status and the clip's frame numbers at each frame."""
    history = History(window_)
    out = []
    for frame in range(start, start + frames):
        status, places = history.add(frame, None if frame in missing else f"item {frame}")
        assert all(item == f"item {number}" for number, item in places)
        out.append((status, [number for number, _ in places]))
    return out


def test_late_fusion_looks_fourteen_frames_back():
    found = play(window(LATE), 17)
    assert found[:14] == [(WAITING, [])] * 14
    assert found[14:] == [
        (CLASSIFIED, [100, 114]),
        (CLASSIFIED, [101, 115]),
        (CLASSIFIED, [102, 116]),
    ]


def test_pair_distance_and_stride():
    found = play(window(LATE, stride=3, pair_distance=2), 9)
    assert [places for _, places in found] == [
        [],
        [],
        [100, 102],
        [],
        [],
        [103, 105],
        [],
        [],
        [106, 108],
    ]
    assert found[3][0] == SKIPPED


def test_first_frame_as_reference():
    found = play(window(LATE, reference="first"), 4)
    assert found[0] == (WAITING, [])
    assert [places for _, places in found[1:]] == [[100, 101], [100, 102], [100, 103]]


@pytest.mark.parametrize(
    ("rule", "frames"), [(sliding(1), 1), (sliding(5), 5), (last_frames(10), 10)]
)
def test_consecutive_frames(rule, frames):
    found = play(window(rule), frames + 1)
    assert found[frames - 1 :] == [
        (CLASSIFIED, list(range(100, 100 + frames))),
        (CLASSIFIED, list(range(101, 101 + frames))),
    ]
    assert all(status == WAITING for status, _ in found[: frames - 1])


def test_a_frame_without_a_face_is_a_gap_in_every_clip_that_needs_it():
    found = play(window(LATE, pair_distance=2), 7, missing={103})
    assert [status for status, _ in found[2:]] == [CLASSIFIED, GAP, CLASSIFIED, GAP, CLASSIFIED]
    consecutive = play(window(sliding(5)), 12, missing={105})
    assert [number for number, (status, _) in enumerate(consecutive) if status == GAP] == [
        5,
        6,
        7,
        8,
        9,
    ]


def test_history_holds_no_more_than_a_clip_reaches_back():
    history = History(window(LATE))
    for frame in range(1000):
        history.add(frame, frame)
    assert len(history._recent) == 15


def test_settings_that_make_no_sense():
    consecutive = sliding(5)
    with pytest.raises(ValueError, match="5 consecutive frames"):
        window(consecutive, pair_distance=3)
    with pytest.raises(ValueError, match="two distant frames"):
        window(consecutive, reference="first")
    with pytest.raises(ValueError, match="stride is 0"):
        window(LATE, stride=0)
    with pytest.raises(ValueError, match="at least 1"):
        window(LATE, pair_distance=0)
    with pytest.raises(ValueError, match="no pair distance"):
        window(LATE, pair_distance=5, reference="first")
