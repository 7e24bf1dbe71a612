"""The architectures mapped over folds, each with weights, clips, padding and random keys of its own.

The layers' own gradients, and their forms for small work, are in use, as they are in a training on a CPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import QUICK, Tiny

from stfer.models import ARCHITECTURES
from stfer.models.layers import convolution, winograd

SIX = ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("name", SIX)
def test_folds_beside_each_other_train_as_alone(name, monkeypatch):
    assert name in ARCHITECTURES
    for least in ("LEAST_WORK", "LEAST_TILES"):
        monkeypatch.setattr(winograd, least, 1)
    monkeypatch.setattr(convolution, "MANY_CHANNELS", 1)
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
