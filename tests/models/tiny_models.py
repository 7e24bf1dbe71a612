"""Tiny versions of the architectures: every layer is there, few features, the smallest clips that pass."""

import functools

import jax
import numpy as np

from stfer.models import create_model

# Compiling takes longer than running here.
QUICK = {"xla_backend_optimization_level": 0}
TINY = {
    "block1_features": 6,
    "block2_features": 8,
    "block3_features": (9, 7, 8),
    "head_features": (12, 11),
}


class Tiny:
    """A tiny model, its variables (none at its initial value, so that none can hide) and clips.

    `apply` and `train` are compiled; inside another compiled function use `training_pass`.
    """

    def __init__(self, name, batch=3, size=(128, 131), **fields):
        self.model = create_model(name, **TINY, **fields)
        random = np.random.default_rng(0)
        shape = (batch, self.model.frames, *size, 3)
        # Rows differ in light and contrast, as faces do, else a network this small answers all alike.
        self.clips = (random.random(shape) ** random.uniform(0.2, 4, (batch, 1, 1, 1, 3))).astype(
            np.float32
        )
        initial = create_model(name, **TINY)  # axis_name is bound only inside a mapped function
        shapes = jax.eval_shape(initial.init, jax.random.key(1), self.clips[:1])

        def value(path, leaf):
            if leaf.ndim == 0:
                return np.zeros((), leaf.dtype)  # the weight of the running averages
            if leaf.ndim == 1:
                start = float(path[-1].key in ("scale", "var"))
                return (start + random.uniform(0, 0.2, leaf.shape)).astype(np.float32)
            # Glorot's range; NumPy draws it without a program to compile.
            fans = np.prod(leaf.shape[:-2], initial=1) * (leaf.shape[-1] + leaf.shape[-2])
            return (random.uniform(-1, 1, leaf.shape) * np.sqrt(6 / fans)).astype(np.float32)

        self.params, self.batch_stats = (
            jax.tree_util.tree_map_with_path(value, shapes[kind])
            for kind in ("params", "batch_stats")
        )
        self.variables = {"params": self.params, "batch_stats": self.batch_stats}
        self.apply = jax.jit(self.model.apply, compiler_options=QUICK)
        self.train = jax.jit(self.training_pass, compiler_options=QUICK)

    @functools.cached_property
    def endpoints(self):
        """What an evaluation of the clips gives, by name."""
        return self.apply(self.variables, self.clips)[1]

    def training_pass(self, params, clips, mask=None):
        """Logits, endpoints and updated statistics of a training pass."""
        variables = {"params": params, "batch_stats": self.batch_stats}
        (logits, endpoints), updated = self.model.apply(
            variables, clips, train=True, mask=mask, mutable=["batch_stats"]
        )
        return logits, endpoints, updated["batch_stats"]
