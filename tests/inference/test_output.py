"""A whole prediction's notes: cut videos, frames on their side, more faces than are followed, names of every script."""

import json

import cv2
import numpy as np
import pytest

from drawn_faces import draw_face
from stfer.inference import output
from stfer.inference.sources import open_source
from stfer.inference.windows import window
from videos import write_video


def predict(model, path, out, **options):
    rotate = options.pop("rotate", 0)
    source = open_source(str(path), rotate=rotate)
    prediction = output.Prediction(model, source, window(model.rule), **options)
    outcome = output.predict_into(prediction, out, {"input": path}, progress=False)
    return outcome, output.outcome_text(prediction, outcome)


def face_frames(count, **options):
    drawn = draw_face(120, 160, **options)
    return [cv2.cvtColor(drawn, cv2.COLOR_GRAY2RGB)] * count


@pytest.mark.slow
def test_frames_on_their_side_are_noticed(tiny, tmp_path):
    model = tiny("single_frame")
    frames = [np.ascontiguousarray(np.rot90(frame)) for frame in face_frames(9)]
    path = write_video(tmp_path / "lying.mp4", frames, options={"qp": "4"})
    outcome, text = predict(model, path, tmp_path / "out")
    assert outcome.tracks == []
    assert "note: no face is upright, but turned there is one: try --rotate=90" in text
    outcome, text = predict(model, path, tmp_path / "turned", rotate=90)
    assert [track["frames"] for track in outcome.tracks] == [9]
    assert "note" not in text


@pytest.mark.slow
def test_more_faces_than_are_followed(tiny, tmp_path):
    both = cv2.cvtColor(np.hstack([draw_face(160, 160, 80, 80, 90)] * 2), cv2.COLOR_GRAY2RGB)
    path = write_video(tmp_path / "two.mp4", [both] * 6, options={"qp": "4"})
    model = tiny("single_frame")
    _, text = predict(model, path, tmp_path / "one", faces=1)
    assert (
        "up to 1 more faces were seen in one frame than the 1 that are followed; --faces=2" in text
    )
    _, text = predict(model, path, tmp_path / "both", faces=2)
    assert "more faces" not in text


@pytest.mark.slow
def test_what_is_peculiar_is_said_and_times_are_the_videos(tiny, tmp_path):
    times = [0, 0.04, 0.08, 1.0, 2.0, 2.04]
    path = write_video(tmp_path / "笑.mp4", face_frames(6), times=times, options={"qp": "4"})
    data = path.read_bytes()
    outcome, _ = predict(tiny("single_frame"), path, tmp_path / "out")
    assert outcome.notes == ()
    rows = json.loads((tmp_path / "out/predictions.json").read_text())["frames"]
    assert [row["seconds"] for row in rows] == pytest.approx(times, abs=0.002)
    assert sorted(p.name for p in outcome.paths)[0] == "annotated.mp4"
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(2 * data)
    outcome, text = predict(tiny("single_frame"), joined, tmp_path / "joined")
    assert outcome.frames == 12
    assert "note: the clock starts anew at frame 6, as in joined files" in text
