"""Streams: statuses, probabilities and votes against the model run by hand on the same frames."""

import tracemalloc

import numpy as np
import pytest
from trained_models import noise

from stfer.evaluation import voting
from stfer.inference.sources import Frame
from stfer.inference.stream import Summaries, predict_stream
from stfer.inference.windows import CLASSIFIED, GAP, WAITING, window


def frames_of(pixels, unreadable=()):
    for number, frame in enumerate(pixels):
        if number in unreadable:
            yield Frame(number, number / 25, None, "unreadable file: x.png is empty")
        else:
            yield Frame(number, number / 25, frame)


@pytest.mark.slow
def test_probabilities_and_votes_are_the_models_own(tiny):
    model = tiny("late_fusion", detector="none")
    pixels = noise(23)
    sliding = window(model.rule, pair_distance=4)
    results = list(predict_stream(model, frames_of(pixels), sliding, chunk=6))
    assert [result.frame.number for result in results] == list(range(23))
    statuses = [result.status for result in results]
    assert statuses == [WAITING] * 4 + [CLASSIFIED] * 19

    pairs = np.stack([pixels[np.array([now - 4, now])] for now in range(4, 23)])
    expected = model.predict_clips(pairs)
    found = np.stack([result.faces[0].probabilities for result in results[4:]])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)

    summaries = Summaries(6)
    for result in results:
        summaries.add(result)
    (track,) = summaries.tracks.values()
    assert (track.first, track.last, track.frames, track.tally.clips) == (0, 22, 23, 19)
    assert track.tally.winners() == voting.vote(found)
    for vote, share in voting.shares(found).items():
        np.testing.assert_allclose(track.tally.shares()[vote], share, rtol=1e-6)
    np.testing.assert_array_equal(track.final, found[-1])


def test_an_unreadable_frame_is_a_row_and_a_gap(tiny):
    model = tiny("late_fusion", detector="none")
    sliding = window(model.rule, pair_distance=2)
    results = list(predict_stream(model, frames_of(noise(9), {4}), sliding, chunk=5))
    statuses = [result.status for result in results]
    assert statuses[4] == "unreadable"
    assert statuses[6] == GAP
    assert [statuses[i] for i in (2, 3, 5, 7, 8)] == [CLASSIFIED] * 5


def test_frames_without_a_face_are_results(tiny):
    model = tiny("single_frame")
    empty = np.full((5, 200, 200, 3), 127, np.uint8)
    results = list(predict_stream(model, frames_of(empty), window(model.rule)))
    assert [(result.status, result.faces) for result in results] == [("no face", ())] * 5


@pytest.mark.slow
def test_reads_little_ahead_and_keeps_little(tiny):
    model = tiny("single_frame", detector="none")
    one = noise(1)[0]
    read = 0

    def endless():
        nonlocal read
        while True:
            yield Frame(read, read / 25, one.copy())
            read += 1

    results = predict_stream(model, endless(), window(model.rule), chunk=4)
    sizes = []
    tracemalloc.start()
    try:
        for number, result in enumerate(results):
            assert read - result.frame.number <= 3 * 4
            if number in (100, 400):
                sizes.append(tracemalloc.get_traced_memory()[0])
            if number == 400:
                break
    finally:
        results.close()
        tracemalloc.stop()
    # 300 frames more would be 15 MB, if they were kept.
    assert sizes[1] - sizes[0] < 1e6


@pytest.mark.parametrize(
    ("name", "time"), [("single_frame", 1), pytest.param("conv3d", 5, marks=pytest.mark.slow)]
)
def test_notebook_use(tiny, name, time):
    model = tiny(name, detector="none")
    pixels = noise(8)
    prediction = model.predict(pixels)
    expected = model.predict_clips(np.stack([pixels[i : i + time] for i in range(9 - time)]))
    np.testing.assert_allclose(prediction.clip_probabilities, expected, rtol=1e-5, atol=1e-7)
    assert list(prediction.probabilities) == list(model.classes)
    np.testing.assert_allclose(
        list(prediction.probabilities.values()), expected.mean(axis=0), rtol=1e-5
    )
    winner = int(np.argmax(expected.sum(axis=0)))
    assert prediction.label == prediction.votes["summed"] == model.classes[winner]


def test_notebook_mistakes_are_sentences(tiny):
    late = tiny("late_fusion")
    with pytest.raises(ValueError, match="late_fusion has 3 frames, and a clip needs at least 15"):
        late.predict(noise(3))
    with pytest.raises(ValueError, match="no face was found in frame 0"):
        late.predict(np.full((15, 160, 160, 3), 99, np.uint8))
    with pytest.raises(ValueError, match="frames must be uint8"):
        late.predict(np.zeros((15, 160, 160, 3), np.float32))
    with pytest.raises(ValueError, match=r"takes uint8 clips \[n, 2, 128, 128, 3\]"):
        late.predict_clips(np.zeros((1, 2, 100, 100, 3), np.uint8))
    with pytest.raises(ValueError, match="are 128x128 RGB"):
        late.predict(noise(15, size=100), find_faces=False)
