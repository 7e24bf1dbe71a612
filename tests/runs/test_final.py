"""Splits by subject, and a final training that is stopped and goes on."""

import itertools

import numpy as np
import pytest

from stfer.data.shards import load_shards
from stfer.runs import Launch
from stfer.runs.final import FinalTraining, split
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig
from stfer.training.early_stopping import BestWeights
from stfer.training.fit import Stopped
from stfer.training.stages import STAGES, Stage, register_stages
from stfer.training.step import TrainState
from tiny import leaves_equal, write_set

SUBJECTS = [f"oulu:P{n:03d}" for n in range(1, 11) for _ in range(3)] + ["ck:S1", "ck:S1"]


def test_a_split_is_by_subject():
    parts = split(SUBJECTS, "P003,ck:S1", "P010", seed=0)
    assert parts.subjects == ("ck:S1", "oulu:P003")
    assert parts.test.tolist() == [6, 7, 8, 30, 31]
    assert parts.validation.tolist() == [27, 28, 29]
    assert len(parts.train) == 24
    assert not set(parts.train) & {*parts.test, *parts.validation}


def test_a_fraction_is_of_the_subjects_and_follows_the_seed():
    first, again, other = (split(SUBJECTS, "0.4", ".25", seed) for seed in (1, 1, 2))
    assert len(first.subjects) == 4
    watched = {SUBJECTS[row] for row in first.validation}
    assert len(watched) == 2, "a quarter of the seven that are left"
    assert first.subjects == again.subjects != other.subjects
    assert not set(first.subjects) & watched
    nobody = split(SUBJECTS, "", "none", 0)
    assert (nobody.subjects, len(nobody.train)) == ((), 32)


def test_mistakes_in_a_split_are_one_sentence():
    with pytest.raises(
        ValueError, match="--held_out: P99 is not in the data, whose subjects are ck:S1"
    ):
        split(SUBJECTS, "P99", "", 0)
    with pytest.raises(ValueError, match="--validation: P001 is not in the data"):
        split(SUBJECTS, "P001", "P001", 0)
    with pytest.raises(ValueError, match="S1 could be any of a:S1, b:S1"):
        split(["a:S1", "b:S1", "c"], "S1", "", 0)
    with pytest.raises(ValueError, match="leave no subject to train on"):
        split(["a", "b"], "a", "b", 0)


@pytest.mark.slow
@pytest.mark.parametrize("validation", ["", "S002"])
def test_stopped_and_resumed_ends_in_the_same_bits(tmp_path, validation):
    shards = load_shards(write_set(tmp_path / "set"))
    config = TrainConfig(
        "tiny", epochs=5, batch_size=4, learning_rate=1e-3, validation=validation,
        patience=5 if validation else 0,
    )  # fmt: skip
    fold = split(shards.subjects, "S003", validation, 0)

    def training(name):
        return FinalTraining(config, shards, fold, tmp_path / name)

    straight = training("straight").train(Launch())
    stops = itertools.count()
    with pytest.raises(Stopped):
        training("stopped").train(Launch(), lambda: next(stops) >= 7)
    resumed = training("stopped").train(Launch())
    again = resumed.progress.history
    assert [row["epoch"] for row in again] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(
        [list(row.values()) for row in straight.progress.history],
        [list(row.values()) for row in again],
    )
    assert leaves_equal(straight.state, resumed.state)
    cards = [training("straight").model(fitted).card for fitted in (straight, resumed)]
    assert cards[0]["training"] == cards[1]["training"]


@pytest.mark.slow
def test_a_training_whose_patience_had_ended_trains_no_further(tmp_path):
    shards = load_shards(write_set(tmp_path / "set"))
    config = TrainConfig(
        "tiny", epochs=40, batch_size=4, learning_rate=0.3, validation="S002", patience=1
    )
    fold = split(shards.subjects, "S003", "S002", 0)

    def run():
        return FinalTraining(config, shards, fold, tmp_path / "model").train(Launch())

    found = run()
    epochs = len(found.progress.history)
    assert found.best_epoch < epochs < 40  # The last epoch was worse than the best one before it.
    again = run()  # As after a kill between the end and the folder.
    assert (again.best_epoch, len(again.progress.history)) == (found.best_epoch, epochs)
    assert leaves_equal(found.state.params, again.state.params)


@pytest.mark.slow
def test_a_model_of_other_data_people_or_code_is_not_the_one_that_is_wanted(tmp_path):
    first, second = (load_shards(write_set(tmp_path / str(n), seed=n)) for n in (0, 1))
    config = TrainConfig("tiny", epochs=1, batch_size=4)

    def training(shards=first, held_out="S003", validation="", arguments="a", **changed):
        fold = split(shards.subjects, held_out, validation, 0)
        settings = config.replace(**changed)
        more = {"arguments": {"data": arguments}}
        return FinalTraining(settings, shards, fold, tmp_path / "model", **more)

    assert not training().is_made()
    made = training()
    made.write(made.train(Launch()))
    assert training().is_made()
    assert not training(second).is_made()
    assert not training(held_out="S002").is_made()
    assert not training(validation="S002").is_made()
    assert not training(arguments="b").is_made()
    assert not training(epochs=2).is_made()
    other = training()
    other.plan.__dict__["digests"] = {"stfer.training": "other"}
    assert not other.is_made()


@pytest.mark.slow
def test_one_subject_and_nobody_held_out_trains(tmp_path):
    shards = load_shards(write_set(tmp_path / "set", subjects=1))
    config = TrainConfig("tiny", epochs=1, batch_size=4)
    training = FinalTraining(config, shards, split(shards.subjects, "", "", 0), tmp_path / "model")
    folder, model = training.write(training.train(Launch()))
    assert (folder / "model.json").is_file()
    assert model.card["metrics"]["held_out"] is None


def test_a_fraction_of_nothing_holds_out_nobody():
    for nothing in ("0.0", "none", ""):
        assert split(["a", "b", "c"], nothing, "", 0).subjects == ()
    assert split(["0", "1", "2"], "0", "", 0).subjects == ("0",)  # A subject may be called so.


def test_the_best_weights_stay_until_no_saved_state_can_come_back_to_them(tmp_path):
    best = BestWeights(FoldCheckpoints(tmp_path, {"held_out": "S1"}), patience=10)
    history = []
    for epoch, loss in enumerate((3.0, 2.0, 2.5, 1.0), start=1):
        history.append({"epoch": epoch, "validation_loss": loss})
        best.keep(history, lambda e=epoch: TrainState(0, {"w": np.full(2, e, np.float32)}, {}, ()))
        if epoch == 3:
            best.prune(history)  # The state after epoch 3 names epoch 2; epoch 1 is gone for good.
    # A kill here: the saved state still finds epoch 2, a run that went on finds epoch 4.
    state = TrainState(0, {}, {}, ())
    assert best.used(state, history[:3]).params["w"].tolist() == [2, 2]
    assert best.used(state, history).params["w"].tolist() == [4, 4]
    with pytest.raises(FileNotFoundError):
        best.used(state, history[:1])


@pytest.mark.slow
def test_the_chosen_epoch_of_a_later_stage_counts_from_the_first_stage_on(tmp_path, monkeypatch):
    for field in ("_entries", "_sources"):
        monkeypatch.setattr(STAGES, field, dict(getattr(STAGES, field)))
    register_stages("twice")(Stage("first", {"epochs": 2}), Stage("second", start="first"))
    shards = load_shards(write_set(tmp_path / "set"))
    config = TrainConfig(
        "tiny", stages="twice", epochs=4, batch_size=4, learning_rate=1e-3, validation="S002", patience=4
    )  # fmt: skip
    fold = split(shards.subjects, "S003", "S002", 0)
    training = FinalTraining(config, shards, fold, tmp_path / "model")
    fitted = training.train(Launch())
    rows = fitted.progress.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    best = min(rows[2:], key=lambda row: row["validation_loss"])["epoch"]
    assert training.model(fitted).card["training"]["weights_of_epoch"] == best
