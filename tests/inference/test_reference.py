"""The reference that a track itself shows as calm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfer.data.clips import ClipRule
from stfer.inference.reference import APART, KEPT, CalmTrack, neutral_class
from stfer.inference.windows import CLASSIFIED, GAP, SKIPPED, WAITING, window

CALM, SMILE = np.full(4, 1, np.uint8), np.full(4, 200, np.uint8)
BLINK = np.full(4, 60, np.uint8)  # Calm as well: it is nobody's smile.


class Seer:
    """Classes (smile, neutral) of a pair: a smile is seen wherever the reference does not smile as much."""

    def __init__(self):
        self.pairs = 0

    def classify(self, pairs):
        self.pairs += len(pairs)
        smiles = [float(frame[0] > 100 and reference[0] <= 100) for reference, frame in pairs]
        return np.array([[0.95 * s + 0.02, 0.98 - 0.95 * s] for s in smiles], np.float32)


def play(items, start=0):
    """The reference's number of each frame, or why there is none; and whether the frame is called neutral."""
    answers = CalmTrack(Seer(), 1).classify(list(enumerate(items, start)))
    return [a.frames[0] if a.status == CLASSIFIED else a.status for a in answers], [
        None if a.probabilities is None else bool(a.probabilities[1] > 0.5) for a in answers
    ]


def test_a_wrong_first_frame_is_left_as_soon_as_a_calm_one_comes():
    references, neutral = play([SMILE, SMILE, CALM, SMILE, CALM, SMILE])
    assert references == [WAITING, 0, 0, 2, 2, 2]
    assert neutral == [None, True, True, False, True, False]


def test_an_expression_never_becomes_the_reference_of_a_calm_track():
    references, neutral = play([CALM] * 10 + [SMILE] * 200)
    assert references == [WAITING] + [0] * 209
    assert neutral == [None] + [True] * 9 + [False] * 200


def test_a_single_odd_frame_among_calm_ones_does_not_stay():
    items = [BLINK] + [CALM] * (3 * APART)
    references, _ = play(items)
    assert references[1] == 0
    assert references[-1] in (APART, 2 * APART)


def test_what_is_calm_is_followed_as_it_changes_and_memory_is_bounded():
    track = CalmTrack(Seer(), 1)
    track.classify(enumerate([CALM] * (20 * APART)))
    assert len(track._candidates) == KEPT
    assert track.reference >= (19 - KEPT) * APART


def test_frames_without_a_face_are_gaps_and_a_stride_skips_answers():
    assert play([None, CALM, None, CALM])[0] == [WAITING, WAITING, GAP, 1]
    answers = CalmTrack(Seer(), 1, stride=2).classify(list(enumerate([SMILE, CALM, SMILE, SMILE])))
    assert [a.status for a in answers] == [WAITING, SKIPPED, CLASSIFIED, SKIPPED]
    assert answers[2].frames == (1, 2)


@given(
    st.lists(st.sampled_from([None, "calm", "smile", "blink"]), max_size=60),
    st.lists(st.integers(1, 20), max_size=20),
)
def test_answers_do_not_depend_on_how_frames_are_cut_into_calls(kinds, cuts):
    items = [{"calm": CALM, "smile": SMILE, "blink": BLINK}.get(kind) for kind in kinds]
    whole = CalmTrack(Seer(), 1).classify(list(enumerate(items)))
    track, parts, start = CalmTrack(Seer(), 1), [], 0
    for cut in [*cuts, len(items)]:
        parts += track.classify(list(enumerate(items))[start : start + cut])
        start += cut
    assert [(a.status, a.frames) for a in parts] == [(a.status, a.frames) for a in whole]


def test_frames_are_compared_in_few_batches():
    seer = Seer()
    CalmTrack(seer, 1).classify(list(enumerate([CALM] * 10 + [SMILE] * 4)))
    assert seer.pairs == 2 * 14


def test_what_it_needs_is_said():
    with pytest.raises(ValueError, match="train it with --neutral"):
        neutral_class(("anger", "fear"))
    with pytest.raises(ValueError, match="models of two frames"):
        window(ClipRule((-1,)), reference="auto")
