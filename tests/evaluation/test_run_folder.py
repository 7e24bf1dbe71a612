"""The run folder: what it refuses, what it pools, and that a file is there whole or not at all."""

import csv
import json
import os

import pytest

from stfer.evaluation.records import FoldResult, Prediction
from stfer.evaluation.run_folder import RunFolder, SettingsDifferError
from stfer.storage.locks import LockedError

CLASSES = ("anger", "fear", "happiness")
CONFIG = {"settings": {"architecture": "rnn", "epochs": 2}, "data": {"checksum": "ab"}}
ABOUT = {"architecture": "rnn", "data": "made"}


def prediction(sequence, subject, label, summed, maximum):
    return Prediction(
        sequence,
        subject,
        label,
        {"summed": summed, "maximum": maximum},
        {"summed": [0.5, 0.25, 0.25], "maximum": [1.0, 0.0, 0.0]},
    )


def fold(name, *predictions, seconds=2.0, device="a processor"):
    row = {
        "epoch": 1,
        "train_loss": 1.5,
        "train_accuracy": 0.5,
        "heldout_loss": 1.0,
        "heldout_accuracy": 1.0,
    }
    return FoldResult(name, list(predictions), [row], seconds, 0.5, {"device": device})


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create(CONFIG)
    folder.write_fold(
        fold(
            "S1",
            prediction("S1/a", "S1", "anger", "anger", "anger"),
            prediction("S1/b", "S1", "fear", "anger", "fear"),
        )
    )
    folder.write_fold(
        fold("S2", prediction("S2/a", "S2", "happiness", "happiness", "fear"), seconds=4.0)
    )
    return folder


def test_a_folder_of_other_settings_names_each_field(run):
    run.create(CONFIG)  # The same ones may go on.
    other = {"settings": {"architecture": "rnn", "epochs": 3}, "data": {"checksum": "cd"}}
    with pytest.raises(SettingsDifferError, match="epochs is 2 there and 3 here") as caught:
        run.create(other)
    assert "checksum is 'ab' there and 'cd' here" in str(caught.value)


def test_pooled_figures_are_those_counted_by_hand(run):
    result = run.pool(["S1", "S2", "S3"], CLASSES, ABOUT)
    assert (result["folds_done"], result["folds_total"], result["sequences"]) == (2, 3, 3)
    assert result["seconds_per_subject"] == 3.0
    summed, maximum = result["votes"]["summed"], result["votes"]["maximum"]
    assert summed["accuracy"] == pytest.approx(2 / 3)
    assert summed["subject_mean_accuracy"] == pytest.approx((1 / 2 + 1) / 2)
    assert summed["confusion_matrix"] == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert maximum["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert json.loads((run.path / "result.json").read_text()) == result


def test_the_machines_are_those_that_trained_not_the_one_that_pools(run):
    assert run.pool(["S1", "S2"], CLASSES, ABOUT)["hardware"] == [{"device": "a processor"}]
    run.write_fold(fold("S3", prediction("S3/a", "S3", "fear", "fear", "fear"), device="a card"))
    both = [{"device": "a processor"}, {"device": "a card"}]
    assert run.pool(["S1", "S2", "S3"], CLASSES, ABOUT)["hardware"] == both


def test_tables_have_the_documented_columns_and_a_row_for_each_vote(run):
    run.pool(["S1", "S2"], CLASSES, ABOUT)
    with open(run.path / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["sequence", "subject", "label", "vote", "predicted", *CLASSES]
    assert [(r["sequence"], r["vote"], r["predicted"]) for r in rows][2:4] == [
        ("S1/b", "summed", "anger"),
        ("S1/b", "maximum", "fear"),
    ]
    header = (run.path / "history.csv").read_text().splitlines()[0]
    assert header == "subject,epoch,train_loss,train_accuracy,heldout_loss,heldout_accuracy"
    assert (run.path / "timing.csv").read_text().splitlines()[2] == "S2,4.0,0.5,1"


def test_nothing_finished_pools_to_an_empty_result(tmp_path):
    folder = RunFolder(tmp_path)
    result = folder.pool(["S1"], CLASSES, ABOUT)
    assert (result["folds_done"], result["votes"], result["seconds_per_subject"]) == (0, {}, None)


@pytest.mark.parametrize("name", ["../../escape", "a/b", "..", "with space", "Jürgen"])
def test_a_subjects_name_cannot_leave_the_run_folder(tmp_path, name):
    folder = RunFolder(tmp_path / "run")
    file = folder.write_fold(fold(name, prediction("x", name, "anger", "anger", "anger")))
    assert file.resolve().parent.parent == (tmp_path / "run" / "folds").resolve()
    assert folder.is_finished(name)
    assert folder.read_fold(name).predictions[0].subject == name


def test_a_damaged_fold_record_says_which_file_and_what_to_do(run):
    file = run.fold("S1") / "fold.json"
    file.write_text(file.read_text()[:40])
    with pytest.raises(ValueError, match=r"held_out=S1/fold\.json is damaged"):
        run.pool(["S1", "S2"], CLASSES, ABOUT)
    file.write_text("{}")
    with pytest.raises(ValueError, match="delete it to train the fold anew"):
        run.pool(["S1", "S2"], CLASSES, ABOUT)


def held_against(lock, sentence):
    with pytest.raises(LockedError, match=sentence), lock():
        pass


def test_a_run_is_held_against_others_but_for_shares_of_it(run):
    """How a lock goes with the process that holds it is for `tests/storage/test_locks.py`."""
    sentence = rf"process {os.getpid()} on .* is working on this run in {run.path}; "
    with run.lock():
        held_against(run.lock, sentence)
        held_against(lambda: run.lock(shared=True), sentence)
    with run.lock(shared=True), run.lock(shared=True):
        held_against(run.lock, sentence)
    with run.lock_fold("S1"), run.lock_fold("S2"):
        held_against(lambda: run.lock_fold("S1"), "is working on fold S1 in ")
