"""Batch statistics: padding rows leave no trace, several devices are one, running statistics move as Keras'."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import QUICK, Tiny

from stfer.models.layers.normalization import BatchNorm

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def step(case, params, clips, labels, mask=None, total=None):
    return jax.jit(_step, static_argnums=(0, 5), compiler_options=QUICK)(
        case, params, clips, labels, mask, total
    )


def _step(case, params, clips, labels, mask, total):
    """Summed loss over real rows / total, its gradients, logits and statistics."""
    weights = jnp.ones(len(clips)) if mask is None else mask
    total = weights.sum() if total is None else total

    def loss(params):
        logits, _, stats = case.training_pass(params, clips, mask)
        losses = -jnp.take_along_axis(nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
        return (losses * weights).sum() / total, (logits, stats)

    (value, (logits, stats)), gradients = jax.value_and_grad(loss, has_aux=True)(params)
    return value, gradients, logits, stats


def trained(layer):
    """A layer's training pass, compiled."""
    return jax.jit(functools.partial(layer.apply, train=True, mutable=["batch_stats"]))


def assert_trees_close(actual, expected):
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        scale = max(0.1, float(np.abs(b).max()))
        np.testing.assert_allclose(a / scale, b / scale, err_msg=str(path), **CLOSE)


def of_device(tree, device):
    return jax.tree.map(lambda leaf: leaf[device], tree)


@pytest.mark.gpu
@pytest.mark.slow
def test_a_padded_batch_equals_the_unpadded_one(architecture, tiny):
    case = tiny(architecture)
    labels = np.array([4, 0, 2])
    real = step(case, case.params, case.clips, labels)
    # Padding between and after the real rows, with contents that would be noticed.
    rows = [0, 1, 1, 2, 0]
    mask = np.array([1, 1, 0, 1, 0], np.float32)
    padded_clips = case.clips[rows] * np.where(mask, 1, -3)[:, None, None, None, None]
    padded_clips = padded_clips.astype(np.float32)
    value, gradients, logits, stats = step(case, case.params, padded_clips, labels[rows], mask)
    np.testing.assert_allclose(value, real[0], **CLOSE)
    assert_trees_close(gradients, real[1])
    np.testing.assert_allclose(logits[mask > 0], real[2], **CLOSE)
    assert_trees_close(stats, real[3])
    unmasked, _, _ = case.train(case.params, padded_clips)
    assert np.abs(unmasked[mask > 0] - real[2]).max() > 1e-3  # the mask is what does it


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["single_frame", "conv3d", "rnn"]
)  # one frame, a time axis, towers
def test_two_devices_with_unequal_rows_equal_one(name, tiny):
    case = tiny(name)
    labels = np.array([4, 0, 2])
    value, gradients, logits, stats = step(case, case.params, case.clips, labels)
    spread = Tiny(name, axis_name="batch")
    rows = np.array([[0, 1], [2, 2]])
    mask = np.array([[1, 1], [1, 0]], np.float32)

    def device_step(clips, labels, mask):
        part, gradients, logits, stats = _step(
            spread, spread.params, clips, labels, mask, total=3.0
        )
        return jax.lax.psum((part, gradients), "batch"), logits, stats

    (sum_value, sum_gradients), all_logits, all_stats = jax.pmap(
        device_step, axis_name="batch", devices=jax.devices()[:2]
    )(case.clips[rows], labels[rows], mask)
    np.testing.assert_allclose(sum_value, [value, value], **CLOSE)
    np.testing.assert_allclose(np.concatenate(all_logits)[:3], logits, **CLOSE)
    for device in (0, 1):
        assert_trees_close(of_device(sum_gradients, device), gradients)
        assert_trees_close(of_device(all_stats, device), stats)


@pytest.mark.gpu
@pytest.mark.slow
def test_running_statistics_are_the_bias_corrected_exponential_average():
    rng = np.random.default_rng(0)
    batches = rng.normal(3, 2, (5, 4, 5, 6, 2)).astype(np.float32)
    layer = BatchNorm()
    variables = layer.init(jax.random.key(0), batches[0])
    start = variables
    for x in batches:
        y, updated = layer.apply(variables, x, train=True, mutable=["batch_stats"])
        variables = variables | updated
    # Batch i of t has the weight 0.01 * 0.99^(t - i) in Keras' average; together they have 1 - 0.99^t.
    weights = 0.99 ** np.arange(4, -1, -1) * 0.01 / (1 - 0.99**5)
    mean, var = batches.mean((1, 2, 3)), batches.var((1, 2, 3))
    np.testing.assert_allclose(variables["batch_stats"]["mean"], weights @ mean, rtol=1e-5)
    np.testing.assert_allclose(variables["batch_stats"]["var"], weights @ var, rtol=1e-5)
    expected = (batches[-1] - mean[-1]) / np.sqrt(var[-1] + 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    x = batches[0]
    np.testing.assert_allclose(layer.apply(start, x), x / np.sqrt(1.001), rtol=1e-5)


def test_a_batch_of_padding_alone_leaves_the_running_statistics():
    x = np.ones((2, 3, 3, 4), np.float32)
    layer = BatchNorm()
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    y, updated = trained(layer)(variables, x, mask=np.zeros(2))
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(updated["batch_stats"]["mean"], np.zeros(4))
    np.testing.assert_array_equal(updated["batch_stats"]["var"], np.ones(4))


@pytest.mark.slow
def test_evaluation_ignores_the_batch(architecture, tiny):
    case = tiny(architecture)
    logits, _ = case.apply(case.variables, case.clips)
    alone, _ = case.apply(case.variables, case.clips[1:2])
    np.testing.assert_allclose(logits[1:2], alone, **CLOSE)


@pytest.mark.parametrize("size", [(1, 3, 3, 2), (4, 1, 1, 2)])
def test_statistics_of_a_constant_batch_are_finite(size):
    x = np.full(size, 7.0, np.float32)
    layer = BatchNorm()
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    y, _ = trained(layer)(variables, x)
    np.testing.assert_allclose(y, np.zeros(size), atol=1e-2)
