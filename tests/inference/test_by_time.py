"""The same movement filmed at 25 and at 50 frames a second is the same to a model that knows its frame rate."""

import dataclasses

import numpy as np
import pytest
from trained_models import SIZE, noise

from stfer.data.synthetic.takes import stage_in_turn
from stfer.inference.sources import open_source
from stfer.inference.stream import Summaries, predict_stream
from stfer.inference.windows import window
from videos import write_video


@pytest.fixture(scope="module")
def performance(tmp_path_factory):
    """A person who begins to smile, rendered at 50 frames a second; filmed by a camera of 50 and by one of 25."""
    take = stage_in_turn(3, 1, ("happiness",), rate=50)
    apex = take.performance.apexes[0][3]
    frames = list(take.frames(range(apex - 50, apex + 10)))
    folder = tmp_path_factory.mktemp("filmed")
    for rate in (25, 50):
        write_video(folder / f"{rate}.mp4", frames[:: 50 // rate], rate=rate, options={"qp": "4"})
    return folder


def knowing(model, rate):
    """The model, told the frame rate of its training."""
    return dataclasses.replace(model, card={**model.card, "frame_rate": rate})


def answers(model, path):
    """Mean probabilities over the whole, and those of each clip by the time of its end."""
    source = open_source(str(path))
    summaries, clips = Summaries(len(model.classes)), {}
    sliding = window(model.rule, rate=model.frame_rate if source.is_timed else None)
    for result in predict_stream(model, source, sliding):
        summaries.add(result)
        for face in result.faces:
            if face.probabilities is not None:
                clips[round(result.frame.seconds, 2)] = face.probabilities
    (track,) = summaries.tracks.values()
    return track.tally.shares()["summed"], clips


@pytest.mark.slow
@pytest.mark.parametrize("name", ["late_fusion", "early_fusion", "conv3d"])
def test_the_same_at_both_rates(tiny, performance, name):
    model = knowing(tiny(name), 25)
    slow, slow_clips = answers(model, performance / "25.mp4")
    fast, fast_clips = answers(model, performance / "50.mp4")
    np.testing.assert_allclose(fast, slow, atol=0.02)
    both = sorted(slow_clips.keys() & fast_clips.keys())
    assert len(both) >= len(slow_clips) - 1
    for seconds in both:
        np.testing.assert_allclose(fast_clips[seconds], slow_clips[seconds], atol=0.02)


@pytest.mark.slow
def test_a_sequence_at_hand_goes_by_its_times_too(tiny):
    """Frames of 50 a second: every second one is what a model of 25 a second sees."""
    model = knowing(tiny("early_fusion", detector="none"), 25)
    frames = noise(21)
    found = model.predict(frames, find_faces=False, seconds=np.arange(21) / 50)
    assert found.clip_frames.tolist() == [list(range(2, 21, 2))]
    plain = model.predict(frames[2::2], find_faces=False)
    np.testing.assert_allclose(found.clip_probabilities, plain.clip_probabilities, atol=1e-6)
    assert model.predict(frames, find_faces=False).clip_frames.tolist() == [list(range(11, 21))]
    sliding = knowing(tiny("conv3d", detector="none"), 25)
    ends = sliding.predict(frames, find_faces=False, seconds=np.arange(21) / 50).clip_frames[:, -1]
    assert ends.tolist() == list(range(8, 21))


def test_times_that_cannot_be(tiny):
    model = knowing(tiny("early_fusion", detector="none"), 25)
    with pytest.raises(ValueError, match="seconds must ascend, one for each of the 21 frames"):
        model.predict(noise(21), find_faces=False, seconds=[0.0] * 20)
    with pytest.raises(ValueError, match=r"takes 0\.2 s, and a clip needs 0\.36 s"):
        model.predict(noise(21), find_faces=False, seconds=np.arange(21) / 100)


def test_one_frame_is_refused_with_the_right_shape(tiny):
    model = tiny("single_frame", detector="none")
    for frame in (noise(1)[0], noise(1)[0, :, :, 0]):
        with pytest.raises(
            ValueError, match=r"\[frames, height, width, 3\].*is one frame: give frames\[None\]"
        ):
            model.predict(frame, find_faces=False)
    assert len(model.predict(noise(1), find_faces=False).clip_frames) == 1
    assert noise(1).shape == (1, SIZE, SIZE, 3)
