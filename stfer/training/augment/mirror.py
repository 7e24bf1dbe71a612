"""The augmentation `mirror`: half of the clips are mirrored, landmarks with them."""

import jax
import jax.numpy as jnp
from jax import Array

from stfer.data.faces.points import MIRRORED
from stfer.training.augment.registry import Example, register_augmentation


@register_augmentation("mirror")
def mirror(example: Example, key: Array) -> Example:
    """Mirror an example with probability 1/2; see `stfer.training.augment.registry`."""
    flipped = jax.random.bernoulli(key)
    changed = {}
    if "frames" in example:
        frames = example["frames"]
        changed["frames"] = jnp.where(flipped, frames[..., ::-1, :], frames)
    if "landmarks" in example:
        points = example["landmarks"]
        turned = points[:, MIRRORED] * jnp.array([[[-1.0, 1.0]]]) + jnp.array([[[1.0, 0.0]]])
        changed["landmarks"] = jnp.where(flipped, turned, points)
    return example | changed
