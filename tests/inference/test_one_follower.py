"""One video in a notebook, in the command and in preprocessing: the same boxes, the same predictions."""

import cv2
import numpy as np
import pytest

from drawn_faces import draw_face
from stfer.data.faces import CropSettings
from stfer.data.preprocess import crop_sequence
from stfer.data.sequence import FrameSource, Sequence
from stfer.inference.sources import Frame
from stfer.inference.stream import predict_stream
from stfer.inference.windows import window


def jumping(before=12, gap=4, after=10):
    """uint8 [frames, 200, 320, 3]: a face that grows, is gone for some frames, and is elsewhere then."""
    empty = np.full((200, 320), 120, np.uint8)
    shown = [draw_face(200, 320, 80 + n, 100, 72 + n) for n in range(before)]
    shown += [empty] * gap
    shown += [draw_face(200, 320, 230 - n, 90, 70 + n) for n in range(after)]
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB) for frame in shown])


@pytest.mark.parametrize(
    "name",
    ["late_fusion", *(pytest.param(n, marks=pytest.mark.slow) for n in ("single_frame", "conv3d"))],
)
def test_a_face_that_jumps_in_a_gap(tiny, name):
    model, pixels = tiny(name), jumping()
    prediction = model.predict(pixels)
    stream = [Frame(number, number / 25, frame) for number, frame in enumerate(pixels)]
    results = list(predict_stream(model, stream, window(model.rule), chunk=7))
    assert {face.track for result in results for face in result.faces} == {1}
    boxes = [face.face for result in results for face in result.faces]
    assert boxes == list(prediction.faces)
    assert [box is None for box in boxes] == [False] * 12 + [True] * 4 + [False] * 10
    clips = {f.clip_frames: f.probabilities for r in results for f in r.faces if f.clip_frames}
    assert len(prediction.clip_frames) == {"single_frame": 22, "late_fusion": 1, "conv3d": 14}[name]
    assert name != "late_fusion" or prediction.clip_frames.tolist() == [[11, 25]]
    for clip, probabilities in zip(
        prediction.clip_frames.tolist(), prediction.clip_probabilities, strict=True
    ):
        np.testing.assert_allclose(probabilities, clips[tuple(clip)], rtol=1e-5, atol=1e-7)


def test_preprocessing_finds_the_same_boxes(tiny, tmp_path):
    model, pixels = tiny("late_fusion"), jumping()
    paths = [tmp_path / f"{number:03d}.png" for number in range(len(pixels))]
    for path, frame in zip(paths, pixels, strict=True):
        cv2.imwrite(str(path), frame)
    settings = CropSettings(size=128, missing_faces="interpolate")
    sequence = Sequence("s", "S1", "anger", tuple(FrameSource(str(path)) for path in paths))
    cropped = crop_sequence(sequence, settings)
    found = [tracked.face if tracked.how != "interpolated" else None for tracked in cropped.faces]
    assert found == list(model.predict(pixels).faces)


@pytest.mark.slow
def test_two_people_the_one_in_most_clips(tiny):
    """The face on the right is larger, but leaves early; the command numbers it 1, and the other 2."""
    left = [draw_face(200, 200, 90 + n, 100, 72) for n in range(20)]
    right = [draw_face(200, 200, 100, 100, 100 if n < 8 else 0) for n in range(20)]
    pixels = np.stack(
        [
            cv2.cvtColor(np.hstack(pair), cv2.COLOR_GRAY2RGB)
            for pair in zip(left, right, strict=True)
        ]
    )
    pixels[8:, :, 200:] = 120
    prediction = tiny("single_frame").predict(pixels)
    assert all(face is not None and face.x < 200 for face in prediction.faces)
    assert len(prediction.clip_frames) == 20
