"""Which frames of a video make a clip, against places written down by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties import examples
from stfer.data.clips import (
    ClipRule,
    evaluation_clips,
    last_frames,
    sliding,
    spread,
    training_clip,
)
from stfer.inference.windows import (
    CLASSIFIED,
    GAP,
    SKIPPED,
    WAITING,
    History,
    parse_distance,
    window,
)

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


offsets = st.lists(st.integers(-20, -1), min_size=1, max_size=6, unique=True).map(sorted)
rules = st.one_of(
    offsets.map(lambda places: ClipRule((*places[:-1], -1) if places[-1] != -1 else tuple(places))),
    st.integers(1, 12).map(last_frames),
    st.integers(1, 12).map(sliding),
    st.integers(2, 8).map(spread),
)


@examples(80)
@given(rule=rules, frames=st.integers(1, 45), stride=st.integers(1, 7))
def test_a_video_gives_the_clips_that_its_rule_gives_a_sequence(rule, frames, stride):
    """At every frame the clip is the training clip of the sequence that ends there; slid, they are all of a rule's."""
    found = play(window(rule), frames, start=0)
    for number, (status, places) in enumerate(found):
        length = number + 1
        if length < rule.shortest:
            assert (status, places) == (WAITING, [])
        else:
            assert status == CLASSIFIED
            np.testing.assert_array_equal(places, training_clip(rule, length))
    clips = [places for _, places in found if places]
    if rule.slide and frames >= rule.shortest:
        np.testing.assert_array_equal(clips, evaluation_clips(rule, frames))
    strided = [places for _, places in play(window(rule, stride), frames, start=0) if places]
    assert strided == clips[::stride]


def played(window_, times, missing=()):
    """The status and the clip's seconds at each time."""
    history = History(window_)
    out = []
    for number, seconds in enumerate(times):
        item = None if number in missing else seconds
        status, places = history.add(number, item, seconds)
        assert all(times[place] == item for place, item in places)
        out.append((status, [item for _, item in places]))
    return out


@pytest.mark.parametrize("rate", [12.5, 15, 25, 30, 50, 59.94, 240])
def test_clips_by_time_are_as_long_at_every_rate(rate):
    """A pair 14 frames apart at 25 a second is 0.56 s apart, within half a frame of the training."""
    times = [number / rate for number in range(int(2 * rate))]
    found = played(window(LATE, rate=25), times)
    first = next(n for n, (status, _) in enumerate(found) if status == CLASSIFIED)
    assert times[first] == pytest.approx(0.56, abs=1 / rate)
    assert all(status == CLASSIFIED for status, _ in found[first:])
    tolerance = max(0.02, 1 / rate)
    for now, (_, (then, last)) in list(zip(times, found, strict=True))[first:]:
        assert last == now
        assert now - then == pytest.approx(0.56, abs=tolerance + 1e-9)


def test_at_the_rate_of_the_training_time_and_count_are_one():
    for rule in (LATE, sliding(5), last_frames(10), sliding(1)):
        times = [
            number / 30 + 0.0004 * (number % 3) for number in range(40)
        ]  # a clock of milliseconds
        by_time = played(window(rule, stride=3, rate=30), times)
        counted = [(s, [times[n - 100] for n in p]) for s, p in play(window(rule, stride=3), 40)]
        assert by_time == counted


def test_a_video_that_stands_still_shows_its_last_frame():
    """No frame between 1 s and 4 s: half a second before 4 s the one of 1 s was shown."""
    times = [0, 0.25, 0.5, 0.75, 1.0, 4.0]
    found = played(window(LATE, pair_distance=0.5), times)
    assert found[-1] == (CLASSIFIED, [1.0, 4.0])
    assert found[4] == (CLASSIFIED, [0.5, 1.0])


def test_a_gap_in_time():
    times = [number / 50 for number in range(60)]
    found = played(window(LATE, rate=25), times, missing={10})
    assert found[38][0] == GAP
    assert [status for status, _ in found[39:]] == [CLASSIFIED] * 21


def test_a_clock_that_stands_still_needs_no_more_memory():
    history = History(window(LATE, rate=25))
    for number in range(10_000):
        history.add(number, "item", 0.0)
    assert len(history._recent) == 4096


def test_a_history_by_time_forgets():
    history = History(window(LATE, rate=25))
    for number in range(1_000):
        history.add(number, "item", number / 100)
    assert len(history._recent) < 62


def test_distances_as_people_write_them():
    assert parse_distance("14") == 14
    assert isinstance(parse_distance("14"), int)
    assert parse_distance("0.5s") == parse_distance(".5 s") == 0.5
    assert isinstance(parse_distance("2s"), float)
    for wrong in ("", "s", "-1", "half", "1e9s", "0.5m", "0,5s"):
        with pytest.raises(ValueError, match="no number of frames, and no time"):
            parse_distance(wrong)
    with pytest.raises(ValueError, match="must be more than 0 s"):
        window(LATE, pair_distance=0.0)


def test_a_window_says_how_it_goes():
    assert str(window(LATE)) == "frames -14, 0 from now"
    assert str(window(LATE, rate=25)) == "frames -0.56, 0 s from now, by time"
    assert str(window(LATE, pair_distance=0.5)) == "frames -0.5, 0 s from now, by time"
