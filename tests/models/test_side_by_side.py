"""Layers and architectures mapped over folds, each with weights, clips, padding and random keys of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import QUICK, Tiny

from stfer.models import ARCHITECTURES
from stfer.models.layers import convolution, fourier, winograd
from stfer.models.layers.pooling import max_pool
from stfer.models.layers.towers import TOWER_AXIS

SIX = ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")


def weighted(function):
    """A scalar of the function's output, in which no two entries count alike."""

    def total(*arguments):
        y = function(*arguments)
        return (y * jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)).sum()

    return total


def over_towers(x, kernel):
    """A convolution shared by the towers of x [tower, batch, height, width, in]."""
    return jax.vmap(convolution.convolve_towers, (0, None), axis_name=TOWER_AXIS)(x, kernel)


LAYERS = {
    "convolution 5x5": (convolution.convolve, (2, 9, 8, 3), (5, 5, 3, 4)),
    "convolution 3x3": (convolution.convolve, (3, 6, 7, 2), (3, 3, 2, 3)),
    "convolution 11x11, stride 3": (
        lambda x, kernel: convolution.convolve(x, kernel, 3),
        *((2, 17, 19, 3), (11, 11, 3, 4)),
    ),
    "convolution 3x3, stride 2": (
        lambda x, kernel: convolution.convolve(x, kernel, 2),
        *((2, 8, 9, 3), (3, 3, 3, 4)),
    ),
    "convolution 7x6": (convolution.convolve, (2, 9, 10, 3), (7, 6, 3, 4)),
    "convolution 7x7 over time": (convolution.convolve, (2, 3, 9, 8, 2), (2, 7, 7, 2, 3)),
    "convolution over time": (convolution.convolve, (2, 5, 9, 9, 2), (3, 5, 5, 2, 3)),
    "convolution of towers": (over_towers, (3, 2, 8, 7, 2), (3, 3, 2, 3)),
    "pooling": (max_pool, (2, 7, 6, 3), None),
}


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_and_their_gradients_beside_each_other_are_those_alone(layer, monkeypatch):
    """In the form for large work of a CPU, too, which small shapes would not take."""
    for least in ("LEAST_WORK", "LEAST_TILES", "LEAST_CHANNELS"):
        monkeypatch.setattr(winograd, least, 1)
    monkeypatch.setattr(winograd, "PART_BYTES", 1)
    monkeypatch.setattr(fourier, "OVERHEAD", 0)
    function, *shapes = LAYERS[layer]
    random = np.random.default_rng(0)
    folds = [
        tuple(random.normal(size=shape).astype(np.float32) for shape in shapes if shape)
        for _ in range(3)
    ]
    places = tuple(range(len(folds[0])))
    gradients = jax.value_and_grad(weighted(function), places)
    stacked = tuple(np.stack(parts) for parts in zip(*folds, strict=True))
    together = jax.jit(jax.vmap(gradients), compiler_options=QUICK)(*stacked)
    one = jax.jit(gradients, compiler_options=QUICK)
    for number, fold in enumerate(folds):
        pairs = zip(jax.tree.leaves(together), jax.tree.leaves(one(*fold)), strict=True)
        for both, want in pairs:
            np.testing.assert_allclose(both[number], want, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", SIX)
def test_folds_beside_each_other_train_as_alone(name):
    assert name in ARCHITECTURES
    tiny = Tiny(name, batch=3, size=(128, 128), dropout=0.3)
    random = np.random.default_rng(1)

    def gradients(params, batch_stats, clips, mask, seed):
        key = jax.random.fold_in(jax.random.key(0), seed)

        def loss(params):
            (logits, _), updated = tiny.model.apply(
                {"params": params, "batch_stats": batch_stats}, clips, train=True, mask=mask,
                rngs={"dropout": key}, mutable=["batch_stats"],
            )  # fmt: skip
            weights = jnp.linspace(1.0, 2.0, logits.shape[-1])
            return ((logits * weights[None]).sum(-1) * mask).sum(), updated["batch_stats"]

        return jax.value_and_grad(loss, has_aux=True)(params)

    def other(leaf):
        return leaf * random.uniform(0.8, 1.2, leaf.shape).astype(np.float32)

    folds = [
        (tiny.params, tiny.batch_stats, tiny.clips, np.ones(3, np.float32), np.uint32(7)),
        (
            jax.tree.map(other, tiny.params),
            jax.tree.map(other, tiny.batch_stats),
            tiny.clips[::-1] ** 2,
            np.array([1, 1, 0], np.float32),
            np.uint32(8),
        ),
    ]
    one = jax.jit(gradients, compiler_options=QUICK)
    stacked = jax.tree.map(lambda *parts: np.stack(parts), *folds)
    together = jax.jit(jax.vmap(gradients), compiler_options=QUICK)(*stacked)
    for number, fold in enumerate(folds):
        expected = jax.tree.leaves(one(*fold))
        mine = jax.tree_util.tree_leaves_with_path(together)
        for (path, both), want in zip(mine, expected, strict=True):
            close = 2e-5 * max(float(np.abs(want).max()), 1e-3)
            np.testing.assert_allclose(
                both[number], want, atol=close, rtol=1e-4, err_msg=jax.tree_util.keystr(path)
            )
