"""Counting parameters without computing any."""

import jax
import jax.numpy as jnp
import numpy as np

QUICK = {"xla_backend_optimization_level": 0}


def shapes(model, *inputs):
    """The variables' shapes of a model called on inputs of these shapes."""
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    return jax.eval_shape(model.init, keys, *inputs)


def frames(model, size=48, batch=1, channels=3, time=None):
    """The shape of a batch of frames."""
    return jax.ShapeDtypeStruct((batch, time or model.frames, size, size, channels), jnp.float32)


def landmarks(time, batch=1):
    """The shape of a batch of landmarks."""
    return jax.ShapeDtypeStruct((batch, time, 49, 2), jnp.float32)


def count(variables):
    """Number of trainable parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def count_weights(variables):
    """Number of trainable parameters that are no biases."""
    leaves = jax.tree_util.tree_leaves_with_path(variables["params"])
    return sum(leaf.size for path, leaf in leaves if path[-1].key != "bias")


def started(model, *inputs, seed=0):
    """Variables of a model on real arrays, with biases and scales away from their start."""
    keys = {"params": jax.random.key(seed), "dropout": jax.random.key(1)}
    variables = jax.jit(model.init, compiler_options=QUICK)(keys, *inputs)
    random = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda leaf: (
            leaf + random.uniform(0, 0.2, leaf.shape).astype(np.float32) if leaf.ndim < 2 else leaf
        ),
        variables["params"],
    )
    return dict(variables) | {"params": params}
