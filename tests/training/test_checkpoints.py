"""Checkpoints: what comes back, and what is told from a good one."""

import functools

import jax
import numpy as np
import pytest

import tiny
from damage import DAMAGES, damage_arrays
from stfer.storage.weights import ForeignCheckpointError, load_weights, save_weights
from stfer.training import checkpoints as lib
from stfer.training import step as steps
from stfer.training.config import TrainConfig

IDENTITY = {"settings": {"architecture": "tiny", "learning_rate": 1e-5}, "held_out": "S1"}


START = jax.jit(functools.partial(steps.init_state, tiny.learner(TrainConfig("tiny"))))


def a_state(seed):
    return START(tiny.batch(np.zeros((1, 2, 16, 16, 3), np.uint8), [0]), jax.random.key(seed))


def test_the_newest_state_and_its_progress_come_back(tmp_path):
    saved = lib.FoldCheckpoints(tmp_path, IDENTITY)
    assert saved.restore(a_state(0)) is None
    for seed in (1, 2, 3):
        saved.save(a_state(seed), {"epoch": seed})
    state, progress = saved.restore(a_state(0))
    assert tiny.leaves_equal(state, a_state(3))
    assert progress == {"epoch": 3}


# TensorStore's reads that fail together report to Orbax's event loop after the first has closed it.
late_reports = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@late_reports
@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, damage, caplog):
    saved = lib.FoldCheckpoints(tmp_path, IDENTITY)
    saved.save(a_state(1), {"epoch": 1})
    saved.save(a_state(2), {"epoch": 2})
    damage_arrays(tmp_path / "training" / "1", DAMAGES[damage])
    state, progress = saved.restore(a_state(0))
    assert progress == {"epoch": 1}
    assert tiny.leaves_equal(state, a_state(1))
    assert "training/1" in caplog.text


def test_a_checkpoint_of_other_settings_names_the_field(tmp_path):
    lib.FoldCheckpoints(tmp_path, IDENTITY).save(a_state(1), {})
    other = {"settings": {"architecture": "tiny", "learning_rate": 1e-4}, "held_out": "S1"}
    with pytest.raises(
        ForeignCheckpointError, match=r"settings.learning_rate is 1e-05 there and 0.0001 here"
    ):
        lib.FoldCheckpoints(tmp_path, other).restore(a_state(0))


def test_finished_weights_come_back_with_their_identity(tmp_path):
    saved = lib.FoldCheckpoints(tmp_path, IDENTITY)
    saved.save(a_state(1), {})
    state = a_state(1)
    weights = {"params": state.params, "batch_stats": state.batch_stats}
    save_weights(saved.weights, weights, saved.identity)
    saved.discard_training()
    assert not (tmp_path / "training").exists()
    variables, identity = load_weights(saved.weights)
    assert identity == IDENTITY
    assert tiny.leaves_equal(variables["params"], a_state(1).params)
    assert tiny.leaves_equal(variables["batch_stats"], a_state(1).batch_stats)
