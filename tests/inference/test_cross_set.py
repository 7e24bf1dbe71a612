"""A model on shards: classes matched by name, people of the training known, votes as by hand."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from trained_models import SIZE, noise

from stfer.data.shards import load_data, write_shards
from stfer.inference.evaluation import (
    default_folder,
    differing_crops,
    evaluate_into,
    match_classes,
    persons,
    predict_shards,
    seen_in_training,
    select,
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


@pytest.mark.slow
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


def trained_on(model, *subjects):
    card = dict(model.card) | {"training": {"subjects": {"set": list(subjects)}}}
    return dataclasses.replace(model, card=card)


def test_what_is_tested(tiny, tmp_path):
    model = trained_on(tiny("single_frame", detector="none"), "S1")
    labels = ("anger", "contempt", "surprise")
    set_ = load_data(
        str(shards_of(tmp_path / "set", ["S1", "S2"], labels, classes=labels, name="set", population="set"))
    )  # fmt: skip
    chosen = select(model, set_)
    assert chosen.rows.tolist() == [3, 5]  # S2's anger and surprise
    assert chosen.classes == model.classes
    assert [note.split(":")[0] for note in chosen.notes[1:]] == ["2 sequences left out"]
    assert "contempt" in chosen.notes[0]
    everybody = select(model, set_, people="all", classes="shared")
    assert everybody.rows.tolist() == [0, 2, 3, 5]
    assert everybody.classes == ("anger", "surprise")
    assert everybody.notes[1].startswith("2 of 4 sequences show people of the training")
    with pytest.raises(ValueError, match="every person in set was in this model's training"):
        select(trained_on(model, "S1", "S2"), set_)


def test_results_are_whole_and_never_overwritten(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tiny("single_frame", detector="none")
    set_ = load_data(str(shards_of(tmp_path / "set", ["S1", "S2"], name="a set")))
    chosen = select(model, set_)
    folder = default_folder(model, tmp_path / "models" / "mine", set_, chosen)
    found, paths = evaluate_into(model, set_, chosen, folder, "models/mine")
    assert [path.name for path in paths] == ["result.json", "predictions.csv"]
    result = json.loads((folder / "result.json").read_text())
    assert result["sequences"] == 4
    assert result["votes"] == found.votes
    with open(folder / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["sequence"] for row in rows} == set(set_.ids)
    with pytest.raises(FileExistsError, match="exists already"):
        evaluate_into(model, set_, chosen, folder, "models/mine")


def test_models_of_one_name_do_not_share_a_folder(tiny, tmp_path):
    model = tiny("single_frame", detector="none")
    pair = ("anger", "surprise")
    set_ = load_data(str(shards_of(tmp_path / "set", ["S1", "S2"], name="a/set", classes=pair)))
    other = load_data(str(shards_of(tmp_path / "other", ["S1", "S3"], name="a/set")))
    namesake = tiny("single_frame", detector="none", seed=2)
    places = {
        default_folder(model, "x/mine", set_, select(model, set_)),
        default_folder(namesake, "y/mine", set_, select(namesake, set_)),
        default_folder(model, "x/mine", other, select(model, other)),
        default_folder(model, "x/mine", set_, select(model, set_, classes="shared")),
    }
    assert len(places) == 4
    assert all(str(place).startswith("evaluations/mine-on-a%2Fset-") for place in places)
    again = default_folder(model, "x/mine", set_, select(model, set_))
    assert again in places
