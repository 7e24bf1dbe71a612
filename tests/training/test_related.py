"""Tasks, stages and optimisers of the systems of section III, by hand-computed values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.models.layers.crf import Chain, log_likelihood, viterbi
from stfer.training import optimizers
from stfer.training.config import PRESETS, TrainConfig, preset
from stfer.training.related import frame_labels
from stfer.training.stages import stages_of
from stfer.training.task import TASKS, make_task

pytestmark = pytest.mark.slow

BATCH = {"label": jnp.array([1, 0])}


def task(name):
    return make_task(name, TrainConfig("rnn"))


def cross_entropy(logits, label):
    logits = np.asarray(logits, float)
    return np.log(np.exp(logits).sum()) - logits[label]


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_every_frame_has_the_sequence_s_label(random):
    logits = random.normal(size=(2, 4, 3)).astype(np.float32)
    expected = [
        np.mean([cross_entropy(frame, label) for frame in clip])
        for clip, label in zip(logits, (1, 0), strict=True)
    ]
    np.testing.assert_allclose(task("every_frame").loss(logits, BATCH), expected, rtol=1e-5)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(task("every_frame").probabilities(logits), p.mean(1), rtol=1e-5)


def test_joint_weighs_three_losses_and_only_the_sum_predicts(random):
    logits = random.normal(size=(2, 3, 4)).astype(np.float32)
    losses = [
        [cross_entropy(row, y) for row in rows] for rows, y in zip(logits, (1, 0), strict=True)
    ]
    expected = [a + b + 0.1 * c for a, b, c in losses]
    np.testing.assert_allclose(task("joint").loss(logits, BATCH), expected, rtol=1e-5)
    np.testing.assert_allclose(
        task("joint").probabilities(logits), jax.nn.softmax(logits[:, 2]), rtol=1e-6
    )


def test_a_penalty_is_added(random):
    logits = random.normal(size=(2, 3)).astype(np.float32)
    found = task("penalised").loss((logits, jnp.array([0.5, 0.25])), BATCH)
    expected = [cross_entropy(logits[0], 1) + 0.5, cross_entropy(logits[1], 0) + 0.25]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_frames_are_neutral_then_either_then_the_expression():
    allowed = np.asarray(frame_labels(jnp.array([1]), 6, 2))[0]
    neutral, either, shown = [0, 0, 1], [0, 1, 1], [0, 1, 0]
    np.testing.assert_array_equal(allowed, [neutral, neutral, either, either, shown, shown])
    np.testing.assert_array_equal(np.asarray(frame_labels(jnp.array([0]), 1, 2))[0], [[1, 0, 0]])
    np.testing.assert_array_equal(
        np.asarray(frame_labels(jnp.array([0]), 2, 2))[0], [[0, 0, 1], [1, 0, 0]]
    )


def test_neutral_frames_leave_out_the_middle(random):
    logits = random.normal(size=(1, 6, 3)).astype(np.float32)
    batch = {"label": jnp.array([1])}
    known = [(0, 2), (1, 2), (4, 1), (5, 1)]
    expected = np.mean([cross_entropy(logits[0, t], label) for t, label in known])
    found = task("neutral_frames").loss(logits, batch)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
    p = task("neutral_frames").probabilities(logits)
    np.testing.assert_allclose(p, jax.nn.softmax(logits[:, -1, :2]), rtol=1e-5)


def chains(random, batch=2, time=6, labels=3):
    shapes = ((batch, time, labels), (batch, labels, labels), (batch, labels), (batch, labels))
    arrays = [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]
    return Chain(*arrays, jnp.ones((batch, time)))


def test_the_chain_s_class_is_the_last_label_of_viterbi_s_path(random):
    outputs = chains(random, batch=40)
    paths = jax.jit(jax.vmap(viterbi))(outputs)
    p = jax.jit(task("crf").probabilities)(outputs)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    shown = paths[:, -1] < 2  # the others end neutral
    assert shown.sum() > 10
    np.testing.assert_array_equal(p.argmax(-1)[shown], paths[:, -1][shown])


def test_the_chain_s_loss_is_the_likelihood_a_frame(random):
    outputs = chains(random)
    allowed = frame_labels(BATCH["label"], 6, 2)
    alone = jax.jit(log_likelihood)
    expected = [-alone(Chain(*(part[row] for part in outputs)), allowed[row]) / 6 for row in (0, 1)]
    np.testing.assert_allclose(jax.jit(task("crf").loss)(outputs, BATCH), expected, rtol=1e-5)


def test_momentum_and_plain_descent(random):
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    gradient = jax.tree.map(jnp.ones_like, params)
    for name, second in (("plain_sgd", 1.0), ("momentum", 1.9)):
        optimizer = optimizers.make_optimizer(TrainConfig("rnn", optimizer=name))
        state = optimizer.init(params)
        for expected in (1.0, second):
            updates, state = optimizer.update(gradient, state, params)
            np.testing.assert_allclose(updates["kernel"], np.full((2, 2), expected), rtol=1e-6)


def test_the_rate_falls_in_steps():
    steps = optimizers.SCHEDULES["steps"]
    found = [float(steps(jnp.float32(share))) for share in (0, 0.49, 0.5, 0.74, 0.75, 1)]
    np.testing.assert_allclose(found, [1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_stages_keep_the_run_s_fields_and_add_their_own():
    config = preset("paper", "cnn_irnn", model={"units": 7})
    found = [stage.config(config) for stage in stages_of(config)]
    assert [one.model for one in found] == [
        {"units": 7, "part": "cnn"},
        {"units": 7, "part": "irnn"},
        {"units": 7, "part": "fusion"},
    ]
    assert [one.task for one in found] == ["every_frame", "classification", "penalised"]
    config = preset("paper", "dtagn", model={"size": 24, "geometry_features": (5, 6)})
    appearance, geometry, joint = (stage.config(config) for stage in stages_of(config))
    assert (appearance.architecture, appearance.model) == ("dtan", {"size": 24})
    assert (geometry.architecture, geometry.model) == ("dtgn", {"geometry_features": (5, 6)})
    assert (joint.architecture, joint.model) == ("dtagn", config.model)


def test_published_settings_of_each_stage():
    config = preset("cnn_irnn_published", "cnn_irnn")
    found = [stage.config(config) for stage in stages_of(config)]
    assert [one.learning_rate for one in found] == [1e-3, 5e-3, 0.1]
    assert [one.clip_norm for one in found] == [0, 1, 10]
    assert [one.optimizer for one in found] == ["momentum", "plain_sgd", "plain_sgd"]
    for name in PRESETS:
        config = preset(name, "rnn")
        assert config.optimizer in optimizers.OPTIMIZERS
        assert config.schedule in optimizers.SCHEDULES
    assert {"joint", "penalised", "crf"} <= set(TASKS)
