"""Tiny trained models, of random weights, and frames that they tell apart."""

import jax
import numpy as np

from stfer.data.faces import CropSettings
from stfer.data.sequence import CLASSES
from stfer.inference import TrainedModel, describe
from stfer.models import create_model, registration

TINY = {
    "block1_features": 6,
    "block2_features": 8,
    "block3_features": (9, 7, 8),
    "head_features": (12, 11),
}
SIZE = 128


def make_model(name="late_fusion", classes=6, seed=1, **crop):
    """A tiny model of which no weight is at its initial value."""
    module = create_model(name, classes, **TINY)
    rule = registration(name).rules(module.frames)["frames"]
    clip = jax.ShapeDtypeStruct((1, module.frames, SIZE, SIZE, 3), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), clip)
    random = np.random.default_rng(seed)

    def weight(leaf):
        # Glorot's range; NumPy draws it without a program to compile.
        fan = np.prod(leaf.shape[:-2], initial=1) * (leaf.shape[-1] + leaf.shape[-2])
        return random.uniform(-1, 1, leaf.shape) * np.sqrt(6 / fan)

    def vector(leaf):
        return random.uniform(0.05, 0.3, leaf.shape)

    variables = jax.tree.map(
        lambda leaf: (vector if leaf.ndim < 2 else weight)(leaf).astype(np.float32), shapes
    )
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in TINY.items()}
    settings = CropSettings(size=SIZE, **crop).to_dict()
    card = describe(name, CLASSES[classes], rule, settings, fields=fields)
    return TrainedModel(card, module, variables)


def noise(frames, size=SIZE, seed=0):
    """uint8 [frames, size, size, 3], each frame of its own light and contrast."""
    random = np.random.default_rng(seed)
    values = random.random((frames, size, size, 3)) ** random.uniform(0.2, 4, (frames, 1, 1, 3))
    return (255 * values).astype(np.uint8)
