"""The reference that a track itself shows as calm."""

import numpy as np
import pytest

from stfer.data.clips import ClipRule
from stfer.inference.reference import KEPT, CalmHistory, neutral_class
from stfer.inference.windows import CLASSIFIED, GAP, WAITING, window

PAIR = window(ClipRule((-2, -1)), reference="auto")
CALM, SMILE = np.zeros(4, np.uint8), np.full(4, 200, np.uint8)


def play(frames):
    """The reference's number after each (item, calmness)."""
    history = CalmHistory(PAIR)
    found = []
    for number, (item, calm) in enumerate(frames):
        status, clip = history.add(number, item, calm)
        found.append(clip[0][0] if status == CLASSIFIED else status)
        if clip:
            assert clip[1] == (number, item) or clip[1][0] == number
    return found


def test_a_wrong_first_frame_is_left_as_soon_as_a_calmer_one_comes():
    assert play([(SMILE, 0.1), (SMILE, 0.1), (CALM, 0.9), (SMILE, 0.1)]) == [0, 0, 2, 2]


def test_an_expression_never_becomes_the_reference_of_a_calm_track():
    frames = [(CALM, 0.95)] * 10 + [(SMILE, 0.05)] * 60
    assert all(number < 10 for number in play(frames))


def test_a_single_odd_frame_among_calm_ones_is_not_taken():
    blink = np.full(4, 90, np.uint8)
    frames = [(CALM, 0.9)] * 6 + [(blink, 0.93)] + [(CALM, 0.9)] * 12
    assert play(frames)[-1] != 6


def test_frames_without_a_face_are_gaps_and_memory_is_bounded():
    history = CalmHistory(PAIR)
    assert history.add(0, None) == (WAITING, [])
    history.add(1, CALM, 0.5)
    assert history.add(2, None) == (GAP, [])
    for number in range(3, 400):
        history.add(number, CALM, 0.5 + number / 1000)
    assert len(history._candidates) <= KEPT


def test_what_it_needs_is_said():
    with pytest.raises(ValueError, match="train it with --neutral"):
        neutral_class(("anger", "fear"))
    with pytest.raises(ValueError, match="models of two frames"):
        window(ClipRule((-1,)), reference="auto")
