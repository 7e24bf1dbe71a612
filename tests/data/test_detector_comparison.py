"""Detectors side by side on drawn frames: how many differ, what each drops, the worst, and the files."""

import csv

import cv2
import numpy as np
import pytest

from stfer.data.detector_comparison import compare_detectors
from stfer.data.faces import Face, register_detector
from stfer.data.sequence import FrameSource, Sequence


@register_detector("left_half")
def left_half(frame, near=None, fine=False):
    """A box at the left edge, none where the first pixel is black."""
    del near, fine
    return [] if frame[0, 0].max() < 5 else [Face(0, 0, 40, 40)]


@register_detector("as_marked")
def as_marked(frame, near=None, fine=False):
    """The same box, but moved right by ten times the first pixel's value less 100."""
    del near, fine
    return [Face(max(0, 10 * (int(frame[0, 0].max()) - 100)), 0, 40, 40)]


@pytest.fixture
def sequences(tmp_path):
    """One of four frames that agree, agree, are 20 pixels apart, lack a face for the first; one that agrees."""

    def write(name, marks):
        sources = []
        for number, mark in enumerate(marks):
            path = tmp_path / f"{name}-{number}.png"
            cv2.imwrite(str(path), np.full((60, 80), mark, np.uint8))
            sources.append(FrameSource(str(path)))
        return Sequence(name, name[:2], "fear", tuple(sources))

    return [write("S1_odd", (100, 100, 102, 0)), write("S2_even", (100, 100))]


def test_frames_that_differ_and_what_each_drops(sequences, tmp_path):
    found = compare_detectors(sequences, ["left_half", "as_marked"])
    apart = found.boxes[0].apart("left_half", "as_marked")
    # Two boxes of 40 pixels, 20 apart: they share 20 of 60 columns.
    np.testing.assert_allclose(apart, [0, 0, 1 - 20 / 60, 1])
    text = found.text()
    assert "left_half: no face in 1 frames; drops 1 sequences: S1_odd" in text
    assert "as_marked: no face in 0 frames; drops 0 sequences" in text
    assert "differ on 2 of 6 frames (33.3%" in text
    assert "for left_half alone in 0, for as_marked alone in 1" in text
    assert [(b.sequence.id, frame) for _, b, frame in found.worst()][:2] == [("S1_odd", 3), ("S1_odd", 2)]  # fmt: skip
    paths = found.write(tmp_path / "out")
    with paths[0].open(newline="") as stream:
        odd, even = csv.DictReader(stream)
    assert odd["left_half and as_marked differ"] == "2"
    assert odd["left_half drops for"].startswith("no face in frame 4")
    assert even["left_half drops for"] == ""
    picture = cv2.imread(str(paths[1]))[..., ::-1]
    assert (picture == (0, 114, 178)).all(-1).any()
    assert (picture == (213, 94, 0)).all(-1).any()


def test_what_cannot_be_compared_is_named(sequences):
    with pytest.raises(ValueError, match="at least two"):
        compare_detectors(sequences, ["lbp", "lbp"])
    with pytest.raises(ValueError, match="detector must be one of"):
        compare_detectors(sequences, ["lbp", "nobodys"])
    with pytest.raises(ValueError, match="no sequence"):
        compare_detectors([], ["left_half", "as_marked"])


@pytest.mark.slow
def test_several_processes_find_the_same(sequences):
    names = ["left_half", "as_marked"]
    alone, together = (compare_detectors(sequences, names, workers) for workers in (1, 2))
    assert alone.table() == together.table()
