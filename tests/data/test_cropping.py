"""What a sequence turns out to be: a cut video, frames on their side, faces already, one of several clips."""

import os
import signal

import cv2
import numpy as np
import pytest

from stfer.data import preprocess
from stfer.data.cropping import Crops, Work, crop_group, crop_sequence
from stfer.data.faces import CropSettings
from stfer.data.frames import VideoReader
from stfer.data.sequence import FrameSource, Sequence
from stfer.data.shards import load_shards
from videos import write_video

NONE = CropSettings("none", size=16)
LBP = CropSettings(size=32)


@pytest.fixture(scope="module")
def moving(face):
    """40 frames of a face that moves a pixel a frame, RGB."""
    return [cv2.cvtColor(face(100, 140, 45 + t, 50, 66), cv2.COLOR_GRAY2RGB) for t in range(40)]


def clip(path, start, end, name=None, **fields):
    sources = tuple(FrameSource(str(path), number) for number in range(start, end))
    return Sequence(name or f"{start}-{end}", "p", "fear", sources, **({"rate": 24.99} | fields))


def test_clips_of_one_video_are_read_in_one_pass(tmp_path, moving, monkeypatch):
    """Overlapping clips in any order: each has what it has alone, and no frame is decoded twice."""
    path = write_video(tmp_path / "a.mp4", moving, options={"qp": "4"})
    clips = [clip(path, *span) for span in ((20, 36), (0, 20), (5, 30), (22, 38))]
    alone = [crop_sequence(one, LBP) for one in clips]
    reads = []
    real = VideoReader.read

    def counted(self, path, number):
        reads.append(number)
        return real(self, path, number)

    monkeypatch.setattr(VideoReader, "read", counted)
    together = crop_group(clips, Work(LBP))
    assert reads == list(range(38))
    for one, same in zip(alone, together, strict=True):
        assert isinstance(one, Crops)
        np.testing.assert_array_equal(one.crops, same.crops)
        assert one.faces == same.faces


def test_a_clip_beyond_the_end_is_dropped_alone(tmp_path, moving):
    path = write_video(tmp_path / "a.mp4", moving)
    found = crop_group([clip(path, 0, 20), clip(path, 30, 45), clip(path, 25, 40)], Work(LBP))
    assert found[1] == "unreadable file: the video ends before frame 40"
    assert [len(found[0].crops), len(found[2].crops)] == [20, 15]


def test_a_video_that_lost_its_end_is_dropped(tmp_path, moving):
    """Its last frame is not the apex; what is there can be asked for by its end."""
    options = {"g": "5", "qp": "10"}
    path = write_video(
        tmp_path / "a.mp4", moving, options=options, container={"movflags": "faststart"}
    )
    path.write_bytes(path.read_bytes()[: round(0.7 * path.stat().st_size)])
    reason = crop_sequence(clip(path, 0, 40, open_end=True), LBP)
    left = int(reason.split()[2])
    assert reason == f"cut short: {left} of 40 frames; give its end to take what is there"
    assert 15 < left < 40
    assert len(crop_sequence(clip(path, 0, 16), LBP).crops) == 16


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_on_their_side_are_noticed(tmp_path, png, moving, degrees):
    """No face upright, but turned: the flag is named, and with it there are faces."""
    paths = [tmp_path / f"{n}.png" for n in range(16)]
    for path, frame in zip(paths, moving, strict=False):
        png(path, np.rot90(frame[..., 0], degrees // 90))
    lying = Sequence("a", "p", "fear", tuple(FrameSource(str(path)) for path in paths))
    reason = crop_sequence(lying, LBP)
    assert reason.endswith(f"turned by a quarter or two there is one: try --rotate={degrees}")
    [found] = crop_group([lying], Work(LBP, rotate=degrees))
    assert len(found.crops) == 16


def test_frames_that_are_faces_already(tmp_path, png, face):
    """Faces that fill their frames are found, but the crops' borders are made up; others are not found at all."""
    for n in range(16):
        png(tmp_path / f"tight/{n}.png", face(100, 100, 50, 50, 84))
        png(tmp_path / f"tiny/{n}.png", np.full((48, 48), 100, np.uint8))

    def of(name):
        sources = tuple(FrameSource(str(tmp_path / name / f"{n}.png")) for n in range(16))
        return crop_sequence(Sequence(name, "p", "fear", sources), LBP)

    assert [note.startswith("faces fill the frames") for note in of("tight").notes] == [True]
    assert "--detector=none" in of("tight").notes[0]
    assert of("tiny").endswith("faces already are taken as they are by --detector=none")


def test_ordinary_frames_have_no_notes(tmp_path, moving):
    path = write_video(tmp_path / "a.mp4", moving, options={"qp": "4"})
    assert crop_sequence(clip(path, 0, 40, open_end=True), LBP).notes == []


def deadly(items, work):
    """As `crop_group`, but one sequence is the death of its worker."""
    if any(sequence.id == "deadly" for sequence in items):
        os.kill(os.getpid(), signal.SIGSEGV)
    return crop_group(items, work)


@pytest.mark.slow
def test_a_decoder_that_crashes_costs_its_sequence_alone(tmp_path, moving, monkeypatch):
    path = write_video(tmp_path / "a.mp4", moving)
    monkeypatch.setattr(preprocess, "crop_group", deadly)
    given = [clip(path, 0, 15, "one"), clip(path, 5, 20, "deadly"), clip(path, 10, 25, "two")]
    result = preprocess.preprocess(given, tmp_path / "out", NONE, name="t", population="t")
    assert load_shards(result.folder).ids == ("one", "two")
    assert [(d.sequence, d.reason) for d in result.dropped] == [
        ("deadly", "crashed: its worker process died of SIGSEGV, 2 times")
    ]


@pytest.mark.slow
def test_further_columns_stand_in_the_table(tmp_path, moving):
    path = write_video(tmp_path / "a.mp4", moving)
    given = [
        clip(path, 0, 15, "one", more={"age": "31", "frames": "x"}),
        clip(path, 0, 15, "two", more={"camera": "left, upper"}),
    ]
    result = preprocess.preprocess(given, tmp_path / "out", NONE, name="t", population="t")
    shards = load_shards(result.folder)
    assert shards.more == (
        {"age": "31", "frames_": "x", "camera": ""},
        {"age": "", "frames_": "", "camera": "left, upper"},
    )
    assert shards.frame_rate == 25


def test_notes_come_with_the_result(tmp_path, png):
    for n in range(15):
        png(tmp_path / f"f/{n}.png", np.full((20, 20), 3000, np.uint16))
    sources = tuple(FrameSource(str(tmp_path / f"f/{n}.png")) for n in range(15))
    given = [Sequence("s", "p", "fear", sources)]
    result = preprocess.preprocess(given, tmp_path / "out", NONE, name="t", population="t")
    assert result.notes == [("s", "16-bit pictures: 4095 is taken for white")]
    assert int(load_shards(result.folder).frames(0)[0, 0, 0, 0]) == round(3000 / 4095 * 255)
