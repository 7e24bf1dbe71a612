"""Model folders: what is saved comes back; whatever is wrong with one is one clear sentence."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from trained_models import noise

from stfer.inference import load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory, tiny):
    return tiny("late_fusion").save(tmp_path_factory.mktemp("models") / "late")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(saved, tmp_path / "late")


def edit(folder, **fields):
    card = json.loads((folder / "model.json").read_text())
    for name, value in fields.items():
        if value is None:
            del card[name]
        else:
            card[name] = value
    (folder / "model.json").write_text(json.dumps(card))


def test_a_saved_model_answers_as_before(tiny, saved):
    clips = noise(6)[np.array([[0, 1], [2, 5], [3, 3]])]
    model = load_model(saved)
    assert model.classes == ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    assert model.rule.offsets == (-15, -1)
    np.testing.assert_array_equal(
        model.predict_clips(clips), tiny("late_fusion").predict_clips(clips)
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"format": 2, "versions": {"stfer": "9.1"}},
            r"model format 2 \(written by stfer 9.1\).*reads format 1: upgrade",
        ),
        ({"format": 0}, r"model format 0, and this stfer reads format 1: train it anew"),
        ({"format": None}, r"the field 'format' is missing"),
        ({"classes": None}, r"'classes' is missing"),
        ({"classes": ["a", "b"]}, r"lists 2 classes, but its weights were trained for 6"),
        ({"classes": ["a", "a"]}, r"'classes' must be different names"),
        (
            {"classes": ["sadness", "disgust", "fear", "happiness", "anger", "surprise"]},
            r"does not belong to its weights: classes",
        ),
        ({"architecture": "mine", "modules": ["my_module"]}, r"'mine', which is not registered.*my_module"),
        ({"architecture": "single_frame"}, r"clips have 2 frames, and single_frame takes 1"),
        ({"clips": {"offsets": [-1, 3], "slide": False}}, r"damaged: clip offsets"),
        ({"clips": {"offsets": [-9, -1], "slide": False}}, r"does not belong to its weights: clips.offsets"),
        ({"clips": {}}, r"damaged"),
        ({"crop": {"detector": "magic"}}, r"damaged: detector 'magic' is unknown"),
        ({"precision": "float8"}, r"'precision' must be one of"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_one_sentence(folder, fields, sentence):
    edit(folder, **fields)
    with pytest.raises(ValueError, match=sentence) as caught:
        load_model(folder)
    assert "late" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing is no model folder.*experiments.train"):
        load_model(tmp_path / "nothing")
    (folder / "model.json").write_text("{")
    with pytest.raises(ValueError, match=r"model\.json is damaged"):
        load_model(folder)
    (folder / "model.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"it has no model.json"):
        load_model(folder)


def test_missing_and_damaged_weights(folder):
    parts = [p for p in (folder / "weights" / "weights").rglob("*") if p.is_file()]
    largest = max(parts, key=lambda p: p.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 255
    largest.write_bytes(data)
    with pytest.raises(ValueError, match=r"weights (cannot be read|is damaged)"):
        load_model(folder)
    shutil.rmtree(folder / "weights")
    with pytest.raises(FileNotFoundError, match="its folder weights is missing"):
        load_model(folder)


def test_nothing_is_overwritten_and_nothing_half_is_left(tiny, saved, tmp_path):
    with pytest.raises(FileExistsError, match="late exists already: name a new folder"):
        tiny("late_fusion").save(saved)
    bad = dataclasses.replace(tiny("late_fusion"), card=tiny().card | {"x": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        bad.save(tmp_path / "half")
    assert list(tmp_path.iterdir()) == []
