"""The training step against plain optax and hand-computed values."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import tiny
from stfer import models
from stfer.training import step as steps
from stfer.training.config import TrainConfig

CONFIG = TrainConfig("tiny", learning_rate=1e-2)


class Fixed(nn.Module):
    """Logits from a table by the first pixel of the clip; one parameter that moves nothing."""

    frames: int = 1

    @nn.compact
    def __call__(self, clips, *, train=False):
        """Row r of the table for a clip whose pixels are r."""
        table = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
        rows = jnp.round(clips[:, 0, 0, 0, 0] * 255).astype(int)
        return table[rows] + 0 * self.param("w", nn.initializers.zeros, (1, 1)), {}


# Plain descent: Adam would turn the rounding of a gradient near zero into a whole step.
DESCENT = CONFIG.replace(optimizer="sgd")


def state_of(learner, shape=(2, tiny.SIZE, tiny.SIZE, 3), seed=0):
    example = tiny.batch(np.zeros((1, *shape), np.uint8), [0])
    return jax.jit(functools.partial(steps.init_state, learner))(example, jax.random.key(seed))


def tiny_state(config=CONFIG):
    learner = tiny.learner(config)
    return learner, state_of(learner)


def compiled_step(learner):
    """From a state, clips, labels and a mask to what a step gives."""
    compiled = jax.jit(functools.partial(steps.train_step, learner))

    def step(state, clips, labels, mask):
        rows = np.arange(len(labels))
        return compiled(state, tiny.batch(clips, labels), rows, mask, tiny.FOLD)

    return step


def clips_of(rng, rows):
    return rng.integers(0, 255, (rows, 2, tiny.SIZE, tiny.SIZE, 3)).astype(np.uint8)


@pytest.mark.slow
def test_loss_and_accuracy_of_fixed_probabilities():
    learner = tiny.learner(CONFIG, Fixed())
    state = state_of(learner, (1, 4, 4, 3))
    clips = np.broadcast_to(
        np.array([0, 1, 0], np.uint8)[:, None, None, None, None], (3, 1, 4, 4, 3)
    )
    labels, mask = np.array([0, 2, 1]), np.array([1.0, 1.0, 0.0], np.float32)
    totals = steps.evaluate(learner, state, tiny.batch(clips, labels), mask)
    assert float(totals.count) == 2
    assert float(totals.correct) == 1  # The first is right; the third is padding.
    assert float(totals.loss) == pytest.approx(-np.log(0.7) - np.log(0.1), rel=1e-5)
    np.testing.assert_allclose(
        steps.classify(learner, state, {"frames": clips})[:2],
        [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]],
        rtol=1e-5,
    )


@pytest.mark.gpu
@pytest.mark.slow
def test_a_step_is_adam_on_the_mean_cross_entropy():
    learner, state = tiny_state()
    rng = np.random.default_rng(0)
    clips, labels = clips_of(rng, 5), rng.integers(0, 6, 5)

    def mean_loss(params):
        (logits, _), _ = learner.module.apply(
            {"params": params, "batch_stats": state.batch_stats},
            jnp.asarray(clips, jnp.float32) / 255,
            train=True,
            mutable=["batch_stats"],
        )
        return -jax.nn.log_softmax(logits)[jnp.arange(5), labels].mean()

    gradient = jax.grad(mean_loss)(state.params)
    # Adam's first step, by hand: both moments are bias-corrected to g and g², so it is lr * g / (|g| + eps).
    # Where g is all rounding, so is its sign; there are few such places.
    expected = jax.tree.map(lambda p, g: p - 1e-2 * g / (jnp.abs(g) + 1e-7), state.params, gradient)
    clear = jax.tree.map(lambda g: np.abs(g) > 1e-5, gradient)
    assert np.mean(np.concatenate([np.ravel(c) for c in jax.tree.leaves(clear)])) > 0.9
    new, totals = compiled_step(learner)(state, clips, labels, jnp.ones(5))

    def assert_close(got, wanted, where):
        np.testing.assert_allclose(got[where], wanted[where], atol=2e-5)

    jax.tree.map(assert_close, new.params, expected, clear)
    assert int(new.step) == 1
    assert float(totals.loss) == pytest.approx(5 * float(mean_loss(state.params)), rel=1e-5)


@pytest.mark.gpu
def test_padding_rows_change_nothing():
    learner, state = tiny_state(DESCENT)
    rng = np.random.default_rng(0)
    clips, labels = clips_of(rng, 5), rng.integers(0, 6, 5)
    step = compiled_step(learner)
    plain, plain_totals = step(state, clips, labels, jnp.ones(5))
    padded_clips = np.concatenate([clips, clips_of(rng, 3)])
    padded_labels = np.concatenate([labels, [0, 0, 0]])
    mask = jnp.array([1.0] * 5 + [0.0] * 3)
    padded, totals = step(state, padded_clips, padded_labels, mask)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), padded, plain)
    np.testing.assert_allclose(totals, plain_totals, rtol=1e-6)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 3])
def test_scanned_steps_equal_single_steps_and_skip_inactive_ones(chunk):
    learner, state = tiny_state(DESCENT)
    rng = np.random.default_rng(0)
    clips, labels = clips_of(rng, 7), rng.integers(0, 6, 7)
    pool = jax.tree.map(jnp.asarray, tiny.batch(clips, labels))
    indices = np.array([[0, 1, 2], [3, 4, 5], [6, 6, 6]], np.int32)[:chunk]
    mask = np.array([[1, 1, 1], [1, 1, 1], [1, 0, 0]], np.float32)[:chunk]
    active = np.array([True, False, True])[:chunk]
    got, totals = steps.train_steps(learner, state, pool, indices, indices, mask, active, tiny.FOLD)
    expected, step = state, compiled_step(learner)
    for rows, row_mask, is_active in zip(indices, mask, active, strict=True):
        if is_active:
            expected, _ = step(expected, clips[rows], labels[rows], row_mask)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, expected)
    assert int(got.step) == int(active.sum())
    np.testing.assert_array_equal(totals.count, (mask * active[:, None]).sum(axis=1))
    if not active.all():
        assert float(totals.loss[1]) == 0


@pytest.mark.slow
def test_a_step_that_is_not_active_keeps_every_bit():
    learner, state = tiny_state()
    pool = tiny.batch(clips_of(np.random.default_rng(0), 2), [0, 0])
    none = np.zeros((1, 2), int)
    kept, totals = steps.train_steps(
        learner, state, pool, none, none, np.zeros((1, 2)), np.array([False]), tiny.FOLD
    )
    assert tiny.leaves_equal(kept, state)
    assert [float(total[0]) for total in totals] == [0, 0, 0]


@pytest.mark.gpu
@pytest.mark.slow
def test_one_real_step_of_the_full_network_lowers_the_loss_on_its_batch():
    model = models.create_model(
        "single_frame",
        block1_features=8,
        block2_features=8,
        block3_features=(8, 8, 8),
        head_features=(32, 32),
    )
    learner = tiny.learner(CONFIG.replace(learning_rate=1e-3), model)
    state = state_of(learner, (1, 128, 128, 3))
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 255, (4, 1, 128, 128, 3)).astype(np.uint8)
    labels = np.arange(4)
    losses = []
    step = compiled_step(learner)
    for _ in range(4):
        state, totals = step(state, clips, labels, jnp.ones(4))
        losses.append(float(totals.loss))
    assert losses[-1] < losses[0]
