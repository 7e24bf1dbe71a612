"""Tables, JSON, timeline and drawing of results made by hand."""

import csv
import json

import cv2
import numpy as np
import pytest

from stfer.data.faces import Face
from stfer.data.video import Video
from stfer.inference import record
from stfer.inference.drawing import VideoWriter, annotate, panel_place, scale_for
from stfer.inference.sources import Frame
from stfer.inference.stream import FaceResult, FrameResult, Summaries
from stfer.inference.timeline import BINS, Curve, Timeline

CLASSES = ("anger", "fear", "happiness")
PIXELS = np.full((240, 320, 3), 100, np.uint8)


def face(track, values, clip=(0, 1)):
    box = Face(10.04, 20, 30, 40)
    return FaceResult(track, box, "classified", clip, np.array(values, np.float32))


RESULTS = [
    FrameResult(Frame(0, 0.0, PIXELS), (), "no face"),
    FrameResult(Frame(1, 0.04, None, "unreadable file: b.png is empty"), (), "unreadable"),
    FrameResult(
        Frame(2, 0.08, PIXELS),
        (face(1, [0.2, 0.3, 0.5], (0, 2)), FaceResult(2, None, "no face")),
        "classified",
    ),
    FrameResult(Frame(3, 0.12, PIXELS), (face(1, [0.6, 0.3, 0.1], (1, 3)),), "classified"),
]


def test_tables_and_json(tmp_path):
    summaries = Summaries(3)
    with record.Tables(tmp_path, CLASSES) as tables:
        for result in RESULTS:
            tables.add(result)
            summaries.add(result)
        found = record.summary(summaries, CLASSES)
        written = json.loads(tables.write_json({"format": 1}, found).read_text())
    assert (tmp_path / "frames.csv").read_text().splitlines() == [
        "frame,seconds,track,status,x,y,width,height,label,anger,fear,happiness",
        "0,0.000,,no face,,,,,,,,",
        "1,0.040,,unreadable file: b.png is empty,,,,,,,,",
        "2,0.080,1,classified,10.0,20.0,30.0,40.0,happiness,0.200000,0.300000,0.500000",
        "2,0.080,2,no face,,,,,,,,",
        "3,0.120,1,classified,10.0,20.0,30.0,40.0,anger,0.600000,0.300000,0.100000",
    ]
    assert (tmp_path / "clips.csv").read_text().splitlines() == [
        "track,first_frame,last_frame,frames,label,anger,fear,happiness",
        "1,0,2,0 2,happiness,0.200000,0.300000,0.500000",
        "1,1,3,1 3,anger,0.600000,0.300000,0.100000",
    ]
    assert written["format"] == 1
    (track,) = written["tracks"]
    assert (track["track"], track["frames"], track["clips"]) == (1, 2, 2)
    assert track["votes"]["summed"]["label"] == "anger"
    assert track["votes"]["summed"]["shares"] == {"anger": 0.4, "fear": 0.3, "happiness": 0.3}
    assert track["votes"]["maximum"]["shares"] == {"anger": 0.5, "fear": 0.0, "happiness": 0.5}
    assert track["last_clip"]["label"] == "anger"
    with open(tmp_path / "frames.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(written["frames"]) == len(rows)
    for entry, row in zip(written["frames"], rows, strict=True):
        assert entry["frame"] == int(row["frame"])
        assert (entry["track"] or "") == (int(row["track"]) if row["track"] else "")
        assert (entry["probabilities"] is None) == (row["anger"] == "")
    assert written["frames"][1] == {
        "frame": 1, "seconds": 0.04, "track": None, "status": "unreadable file: b.png is empty",
        "x": None, "y": None, "width": None, "height": None, "label": None, "probabilities": None,
    }  # fmt: skip
    assert written["frames"][2] == {
        "frame": 2, "seconds": 0.08, "track": 1, "status": "classified",
        "x": 10.0, "y": 20.0, "width": 30.0, "height": 40.0, "label": "happiness",
        "probabilities": {"anger": 0.2, "fear": 0.3, "happiness": 0.5},
    }  # fmt: skip
    assert written["clips"][1]["frames"] == [1, 3]
    assert written["clips"][1]["probabilities"]["anger"] == 0.6


def test_curve_merges_neighbours_when_it_is_full():
    curve = Curve(5, 1)
    for frame in range(5, 5 + 2 * BINS + 3):
        curve.add(frame, frame / 10, np.array([float(frame)]))
    seconds, means = curve.points()
    assert curve.frames_per_bin == 4
    assert curve.count == 2 * BINS + 3
    assert len(seconds) <= BINS
    # Each point is the mean of four frames; a frame's value is its number, and its time a tenth of it.
    np.testing.assert_allclose(means[:, 0], 10 * seconds)
    assert seconds[0] == pytest.approx(0.65)


def test_curve_stands_at_the_frames_own_times():
    """Frames that come slower and slower, and a stretch without any."""
    curve = Curve(0, 1)
    times = {0: 0.0, 1: 0.1, 2: 0.5, 6: 4.0}
    for frame, seconds in times.items():
        curve.add(frame, seconds, np.array([0.5]))
    seconds, means = curve.points()
    np.testing.assert_array_equal(seconds, [0.0, 0.1, 0.5, np.nan, 4.0])
    np.testing.assert_array_equal(np.isnan(means[:, 0]), [False] * 3 + [True, False])
    # With clips at every fourth frame only, three frames without one are no gap.
    np.testing.assert_array_equal(curve.points(stride=4)[0], list(times.values()))


@pytest.mark.slow
def test_timeline_keeps_the_longest_tracks_and_draws_them(tmp_path):
    timeline = Timeline(CLASSES)
    for number in range(200):
        track = 1 if number % 2 else number + 10
        shown = (face(track, [0.2, 0.3, 0.5]),)
        timeline.add(FrameResult(Frame(number, number / 25, PIXELS), shown, "classified"))
    assert 1 in timeline.curves
    assert len(timeline.curves) <= 64
    path = timeline.draw(tmp_path / "timeline.png", "a title of 笑 for $5 or $6")
    assert cv2.imread(str(path)).shape[1] == 1080
    Timeline(CLASSES).draw(tmp_path / "empty.png", "nothing")


def test_annotation_marks_the_face_and_leaves_the_source_alone():
    result = RESULTS[2]
    before = PIXELS.copy()
    drawn = annotate(result, CLASSES)
    np.testing.assert_array_equal(PIXELS, before)
    assert drawn.shape == PIXELS.shape
    changed = (drawn != PIXELS).any(axis=2)
    assert changed[20:60, 10:12].all(), "the box's left side"
    assert not changed[200:, :].any(), "far from the face nothing is drawn"
    # The most probable class's bar is the longest: count its coloured pixels row by row.
    bars = (drawn == np.array([86, 180, 233])).all(axis=2)[:, 60:]
    assert bars.sum() > 0
    assert annotate(RESULTS[0], CLASSES)[:40].max() > 100, "a frame without a face says so"


def test_a_panel_covers_no_other_face_and_no_other_panel():
    left, right = (100, 100, 180, 180), (330, 100, 410, 180)
    size, canvas = (130, 90), (500, 400)
    first = panel_place(size, left, [right], canvas, 1)
    assert first == (184, 100, 314, 190), "right of its face"
    second = panel_place(size, right, [left, first], canvas, 1)
    assert second == (330, 184, 460, 274), "neither side has room, below it there is"
    low = (330, 300, 410, 380)
    assert panel_place(size, low, [(60, 250, 320, 400)], canvas, 1) == (330, 186, 460, 276)
    alone = panel_place(size, (10, 10, 490, 390), [], canvas, 1)
    assert alone[0] >= 0
    assert alone[2] <= 500, "of a face that fills the picture it is in the picture"


def test_a_small_video_is_enlarged_until_text_fits():
    assert [scale_for(height) for height in (48, 120, 239, 240, 360, 1080)] == [5, 2, 2, 1, 1, 1]
    assert annotate(RESULTS[2], CLASSES, scale=2).shape == (480, 640, 3)


def test_video_is_written_whole(tmp_path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path) as video:
        for number, level in enumerate(range(0, 250, 25)):
            video.write(np.full((121, 161, 3), (level, 0, 0), np.uint8), number / 10)
        video.write(np.full((60, 60, 3), 255, np.uint8), 1.0)
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == 11
    assert frames[0].shape == (120, 160, 3)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert abs(int(frames[4][60, 80, 2]) - 100) < 12, "red stays red"
    assert frames[10][:, 30:130].mean() > 200
    assert frames[10][:, 145:].mean() < 40, "a frame of another shape keeps its shape"


def test_an_annotated_video_runs_as_fast_as_its_source(tmp_path):
    """Times of half a minute of a video that slows down, and two frames at one time."""
    times = [0.0, 0.04, 0.08, 0.08, 1.5, 30.0]
    with VideoWriter(tmp_path / "out.mp4") as video:
        for seconds in times:
            video.write(np.full((48, 64, 3), 90, np.uint8), seconds)
    with Video(str(tmp_path / "out.mp4")) as written:
        found = [frame.seconds for frame in written]
    np.testing.assert_allclose(found, times, atol=0.0015)


def test_a_video_that_cannot_be_written_is_one_sentence(tmp_path):
    with (
        pytest.raises(OSError, match=r"No such file or directory: .*x\.mp4"),
        VideoWriter(tmp_path / "no folder" / "x.mp4") as video,
    ):
        video.write(PIXELS, 0.0)
