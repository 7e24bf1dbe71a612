"""Splits by subject, and a final training that is stopped and goes on."""

import itertools

import numpy as np
import pytest

from experiments._final import FinalTraining, split
from stfer.data.folds import Fold
from stfer.data.shards import load_shards
from stfer.training.config import TrainConfig
from stfer.training.early_stopping import EarlyStopping
from stfer.training.fit import Progress, Stopped
from stfer.training.step import TrainState
from tiny import leaves_equal, write_set

SUBJECTS = [f"oulu:P{n:03d}" for n in range(1, 11) for _ in range(3)] + ["ck:S1", "ck:S1"]


def test_a_split_is_by_subject():
    parts = split(SUBJECTS, "P003,ck:S1", "P010", seed=0)
    assert parts.held_out == ("ck:S1", "oulu:P003")
    assert parts.validation == ("oulu:P010",)
    assert parts.held_out_rows.tolist() == [6, 7, 8, 30, 31]
    assert parts.validation_rows.tolist() == [27, 28, 29]
    assert len(parts.train_rows) == 24
    assert not set(parts.train_rows) & {*parts.held_out_rows, *parts.validation_rows}


def test_a_fraction_is_of_the_subjects_and_follows_the_seed():
    first, again, other = (split(SUBJECTS, "0.4", ".25", seed) for seed in (1, 1, 2))
    assert len(first.held_out) == 4
    assert len(first.validation) == 2, "a quarter of the seven that are left"
    assert first.held_out == again.held_out != other.held_out
    assert not set(first.held_out) & set(first.validation)
    nobody = split(SUBJECTS, "", "none", 0)
    assert (nobody.held_out, len(nobody.train_rows)) == ((), 32)


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


@pytest.mark.parametrize("validation", ["", "S002"])
def test_stopped_and_resumed_ends_in_the_same_bits(tmp_path, validation):
    shards = load_shards(write_set(tmp_path / "set"))
    config = TrainConfig("tiny", epochs=5, batch_size=4, learning_rate=1e-3)
    parts = split(shards.subjects, "S003", validation, 0)

    def training(name):
        return FinalTraining(config, shards, parts, tmp_path / name, patience=5)

    straight, history, _ = training("straight").run(lambda: False, lambda p: None, 1e9, True)
    stops = itertools.count()
    with pytest.raises(Stopped):
        training("stopped").run(lambda: next(stops) >= 7, lambda p: None, 1e9, True)
    resumed, again, _ = training("stopped").run(lambda: False, lambda p: None, 1e9, True)
    assert [row["epoch"] for row in again] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(
        [list(row.values()) for row in history], [list(row.values()) for row in again]
    )
    assert leaves_equal(straight.variables, resumed.variables)
    assert straight.card["training"] == resumed.card["training"]


def test_a_training_whose_patience_had_ended_trains_no_further(tmp_path):
    shards = load_shards(write_set(tmp_path / "set"))
    config = TrainConfig("tiny", epochs=40, batch_size=4, learning_rate=0.3)
    parts = split(shards.subjects, "S003", "S002", 0)

    def run():
        training = FinalTraining(config, shards, parts, tmp_path / "model", patience=1)
        return *training.run(lambda: False, lambda p: None, 1e9, True), training.best_epoch

    model, history, _, best = run()
    assert best < len(history) < 40  # The last epoch was worse than the best one before it.
    again, same_history, _, same_best = run()  # As after a kill between the end and the folder.
    assert (same_best, len(same_history)) == (best, len(history))
    assert leaves_equal(model.variables, again.variables)


def test_a_fraction_of_nothing_holds_out_nobody():
    for nothing in ("0.0", "none", ""):
        assert split(["a", "b", "c"], nothing, "", 0).held_out == ()
    assert split(["0", "1", "2"], "0", "", 0).held_out == ("0",)  # A subject may be called so.


def test_the_best_weights_stay_until_no_saved_state_can_come_back_to_them(tmp_path):
    def row(epoch, loss):
        return {"epoch": epoch, "heldout_loss": loss}

    class OneLane:
        lanes = 1

        def train(self, state, staged):
            return TrainState(0, {"w": np.full(2, staged, np.float32)}, {}, ()), None

        def lane(self, state, lane):
            return state

    stopping = EarlyStopping(OneLane(), 10, tmp_path / "best")
    history = []
    for epoch, loss in enumerate((3.0, 2.0, 2.5, 1.0), start=1):
        history.append(row(epoch, loss))
        stopping.train(None, float(epoch))
        stopping.on_epoch(Fold("S1", ("S1",), None, None), Progress(epoch, history=history))
        if epoch == 3:
            stopping.on_save()  # The state after epoch 3 names epoch 2; epoch 1 is gone for good.
    # A kill here: the saved state still finds epoch 2, a run that went on finds epoch 4.
    assert stopping.weights(history[:3])[0]["params"]["w"].tolist() == [2, 2]
    assert stopping.weights(history)[0]["params"]["w"].tolist() == [4, 4]
    with pytest.raises(FileNotFoundError):
        stopping.weights(history[:1])
