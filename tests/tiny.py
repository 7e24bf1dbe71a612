"""A tiny architecture and a tiny set for tests of training; importing registers `tiny`.

Commands in tests load it with `--modules=tiny` and this folder on PYTHONPATH.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from stfer import models
from stfer.data.examples import Examples
from stfer.data.sequence import EMOTIONS_6
from stfer.data.shards import write_shards
from stfer.models.layers.normalization import BatchNorm
from stfer.training.step import FoldConstants, Learner
from stfer.training.task import make_task

SIZE = 16


class Tiny(nn.Module):
    """Two frames, a strided convolution, batch normalisation, a dense layer."""

    num_classes: int = 6
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    frames: int = 2

    @nn.compact
    def __call__(self, clips, *, train=False, mask=None):
        """Map clips [batch, 2, height, width, channel] to logits [batch, num_classes]."""
        batch, frames, height, width, channel = clips.shape
        x = jnp.moveaxis(clips, 1, 3).reshape(batch, height, width, frames * channel)
        x = nn.relu(
            nn.Conv(8, (4, 4), strides=4, padding="VALID", dtype=self.dtype, name="conv")(x)
        )
        x = BatchNorm(device_axis=self.axis_name, dtype=self.dtype, name="bn")(
            x, train=train, mask=mask
        )
        logits = nn.Dense(self.num_classes, name="logits")(x.reshape(batch, -1))
        return logits.astype(jnp.float32), {"logits": logits}


models.register("tiny")(Tiny)


def sequences(
    subjects: int = 4, classes=EMOTIONS_6, seed: int = 0, uneven: bool = True, size: int = SIZE
):
    """Yield (id, subject, label, frames): a bright band at the class's height that grows to the apex."""
    rng = np.random.default_rng(seed)
    for person in range(subjects):
        # Uneven folds: every second subject lacks a class.
        shown = classes[: len(classes) - (uneven and person % 2)]
        for number, label in enumerate(shown):
            length = 15 + int(rng.integers(0, 4))
            frames = rng.integers(0, 120, (length, size, size, 3))
            strength = np.linspace(0, 120, length)[:, None, None, None]
            rows = slice(2 * number, 2 * number + 4)
            frames[:, rows] += strength.astype(int)
            yield f"S{person:03d}/{number:03d}", f"S{person:03d}", label, frames.astype(np.uint8)


def write_set(folder: Path, name: str = "tiny-set", **options) -> Path:
    """Write the tiny set as shards; returns the folder."""
    return write_shards(folder, sequences(**options), name=name)


def learner(config, model=None) -> Learner:
    """What trains a module (Tiny by default) as a classifier with the settings."""
    return Learner(model or Tiny(), config, make_task("classification", config))


def examples(frames, labels) -> Examples:
    """Examples from clips uint8 [n, time, height, width, 3] and labels [n]."""
    shapes = {"frames": (frames.shape[1:], frames.dtype)}
    return Examples(np.asarray(labels, np.int32), shapes, lambda rows: {"frames": frames[rows]})


def batch(frames, labels) -> dict:
    """A batch of clips and labels."""
    return {"frames": frames, "label": np.asarray(labels, np.int32)}


FOLD = FoldConstants(np.uint32(0), np.int32(1))


def leaves_equal(a, b) -> bool:
    """Whether two pytrees hold the same bits."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)
