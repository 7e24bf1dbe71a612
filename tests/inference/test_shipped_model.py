"""The model that ships: its folder, what it says of people of the generator whom it never saw, and of a whole take."""

import re

import numpy as np
import pytest

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.conditions import Conditions
from stfer.data.synthetic.takes import stage, stage_in_turn
from stfer.inference import load_model
from stfer.inference.sources import Frame
from stfer.inference.stream import predict_stream
from stfer.inference.windows import window
from stfer.pretrained import shipped_model

NEW_PEOPLE = 3001  # A seed of the generator that neither training nor the card's tests used.


@pytest.fixture(scope="module")
def model():
    return load_model()


def test_it_is_small_and_whole(model):
    size = sum(file.stat().st_size for file in shipped_model().rglob("*") if file.is_file())
    assert size <= 10e6
    assert model.classes == (*EMOTIONS_6, "neutral")
    assert model.reference == "auto"
    assert model.card["training"]["subjects"] == {
        "synthetic pairs 1": [f"S{n:03d}" for n in range(1, 321)]
    }


def test_it_tells_nobody_where_it_was_made():
    for file in shipped_model().rglob("*"):
        if file.is_file():
            assert not re.search(rb"/(tmp|home|root|work|Users)/", file.read_bytes()), file


def test_its_card_lies_beside_it(model):
    card = (shipped_model().parent / "README.md").read_text()
    measured = model.card["metrics"]["held_out"]["summed"]
    low, high = measured["accuracy_interval"]
    assert f"{measured['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f})" in card
    for part in (
        "python -m experiments.pretrain",
        "Where it fails",
        "London Set",
        "commit cff2ef4",
    ):
        assert part in card


def test_a_single_picture_is_not_compared_with_itself(model):
    face = np.full((1, 96, 96, 3), 128, np.uint8)
    with pytest.raises(ValueError, match="needs two frames with a face at least, not 1 of 1"):
        model.predict(face, find_faces=False)


@pytest.mark.slow
def test_it_tells_a_new_person_s_smile_from_her_calm_face(model):
    take = stage(NEW_PEOPLE, 2, "happiness", conditions=Conditions(intensity=1.0))
    frames = np.stack(list(take.frames(range(len(take)))))
    assert model.predict(frames).label == "happiness"
    assert model.predict(frames[:4]).label == "neutral"


@pytest.mark.slow
def test_six_expressions_in_one_take_are_named_within_half_a_second(model):
    rate = 25
    take = stage_in_turn(NEW_PEOPLE, 1, rate=rate, conditions=Conditions(intensity=1.0))
    frames = (Frame(n, n / rate, f) for n, f in enumerate(take.frames(range(len(take)))))
    said = []
    for result in predict_stream(model, frames, window(model.rule, reference="auto")):
        shown = [face for face in result.faces if face.probabilities is not None]
        said.append(model.classes[shown[0].probabilities.argmax()] if shown else "")
    assert [apex[0] for apex in take.performance.apexes] == list(EMOTIONS_6)
    for emotion, _, _, apex in take.performance.apexes:
        assert emotion in said[apex - rate // 2 : apex + rate // 2 + 1]
    calm = said[: rate // 2]
    assert calm.count("neutral") >= 0.9 * len(calm)
