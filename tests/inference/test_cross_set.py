"""A model on shards: classes matched by name, people of the training known, votes as by hand."""

import dataclasses

import numpy as np
import pytest
from trained_models import SIZE, noise

from stfer.data.shards import load_data, write_shards
from stfer.inference.evaluation import (
    differing_crops,
    match_classes,
    persons,
    predict_shards,
    seen_in_training,
    training_record,
)


def shards_of(folder, names, labels=("anger", "surprise"), size=SIZE, **options):
    rows = [
        (f"{name}_{label}", name, label, noise(16, size, seed=i * 10 + j))
        for i, name in enumerate(names)
        for j, label in enumerate(labels)
    ]
    return write_shards(folder, rows, **options)


def test_classes_are_matched_by_name():
    match = match_classes(("anger", "fear", "surprise"), ("surprise", "contempt", "anger"))
    assert match.shared == ("anger", "surprise")
    assert match.explain(3, restricted=False) == (
        "the data have contempt, which the model does not know: 3 sequences left out; "
        "the model knows fear, which the data lack: predicting it counts as wrong"
    )
    assert match_classes(("a", "b"), ("b", "a")).explain(0, False) == ""
    with pytest.raises(ValueError, match="share b; at least two"):
        match_classes(("a", "b"), ("b", "c"))


def test_predictions_are_the_clips_own(tiny, tmp_path):
    model = tiny("single_frame", detector="none")
    shards = load_data(str(shards_of(tmp_path / "x", ["S1", "S2"])))
    (found,) = predict_shards(model, shards, [2])
    frames = np.asarray(shards.frames(2))
    clips = frames[:, None]
    expected = model.predict_clips(clips)
    assert (found.sequence, found.subject, found.label) == ("S2_anger", "S2", "anger")
    np.testing.assert_allclose(found.probabilities["summed"], expected.mean(0), rtol=1e-4)
    winners = np.bincount(expected.argmax(1), minlength=6) / 16
    np.testing.assert_allclose(found.probabilities["maximum"], winners)
    assert found.predicted["summed"] == model.classes[expected.mean(0).argmax()]

    (only,) = predict_shards(model, shards, [2], restrict=("surprise", "anger"))
    pair = expected[:, [5, 0]] / expected[:, [5, 0]].sum(1, keepdims=True)
    np.testing.assert_allclose(only.probabilities["summed"], pair.mean(0), rtol=1e-4)
    assert only.predicted["summed"] == ("surprise", "anger")[pair.mean(0).argmax()]


def test_people_of_the_training_are_known_in_any_set_of_theirs(tiny, tmp_path):
    strong = shards_of(tmp_path / "strong", ["P001", "P002"], name="strong", population="oulu")
    other = shards_of(tmp_path / "ck", ["P001"], name="ck", population="ck_plus")
    joined = load_data(f"{strong},{other}")
    assert (
        persons(joined)
        == [("oulu", "P001")] * 2 + [("oulu", "P002")] * 2 + [("ck_plus", "P001")] * 2
    )
    record = training_record(joined, [0, 1, 4])
    assert record == {"ck_plus": ["P001"], "oulu": ["P001"]}
    model = tiny("single_frame", detector="none")
    trained = dataclasses.replace(model, card=dict(model.card) | {"training": {"subjects": record}})
    assert not seen_in_training(model, joined).any()
    weak = load_data(
        str(shards_of(tmp_path / "weak", ["P001", "P002"], name="weak", population="oulu"))
    )
    assert seen_in_training(trained, weak).tolist() == [True, True, False, False]


def test_faces_cut_otherwise_are_told(tiny, tmp_path):
    model = tiny("single_frame", detector="none")
    same = load_data(str(shards_of(tmp_path / "a", ["S1"])))
    assert differing_crops(model, same) == []
    crop = {"detector": "lbp", "margin": 0.1}
    other = load_data(str(shards_of(tmp_path / "b", ["S1"], crop=crop)))
    assert differing_crops(model, other) == [
        "detector is 'lbp' in the data and 'none' in the model's training",
        "margin is 0.1 in the data and 0.0 in the model's training",
    ]
    small = load_data(str(shards_of(tmp_path / "c", ["S1"], size=64)))
    with pytest.raises(ValueError, match="64 pixels, and the model was trained on 128"):
        differing_crops(model, small)
