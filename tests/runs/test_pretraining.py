"""A training on pairs, tested on other people; the sets here are tiny ones."""

import pytest

from stfer.data.shards import load_shards
from stfer.inference import load_model
from stfer.runs import Launch, pretraining
from stfer.training.config import TrainConfig
from tiny import write_set


@pytest.mark.slow
def test_the_card_has_the_figures_of_the_other_people(tmp_path):
    sets = pretraining.PairSets(
        load_shards(write_set(tmp_path / "train", subjects=3)),
        load_shards(write_set(tmp_path / "test", subjects=2, seed=1, uneven=False)),
    )
    config = TrainConfig("tiny", epochs=2, batch_size=6, learning_rate=1e-2)
    training = pretraining.training(config, sets, tmp_path / "model")
    fitted = training.train(Launch())
    folder, model = pretraining.write(training, fitted, sets)
    card = load_model(folder).card
    assert card["metrics"] == model.card["metrics"]
    metrics = card["metrics"]
    assert (metrics["people"], metrics["sequences"]) == (2, 12)
    assert metrics["testing_seconds"] > 0
    assert metrics["last_epoch"]["epoch"] == 2
    assert sum(map(sum, metrics["held_out"]["summed"]["confusion_matrix"])) == 12
    assert (card["reference"], card["frame_rate"]) == ("auto", None)
    assert card["training"]["held_out"] == {}
