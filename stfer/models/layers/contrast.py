"""Normalisation of a network's input pictures: a field of the architecture, stored with every model."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from stfer.nearest import did_you_mean

SIGMA = 1 / 12  # of the frame's side: the Gaussian that says what "local" is.
FLOOR = 0.02  # Added to the deviation, of full scale 1: flat skin and sensor noise stay small.
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV's conversion to grey.


@functools.lru_cache(maxsize=8)
def blur_matrix(side: int, sigma: float) -> np.ndarray:
    """A Gaussian of `sigma` pixels as a matrix, float32 [side, side]; each row sums to 1, so borders do not darken."""
    places = np.arange(side)
    weights = np.exp(-0.5 * np.square((places[:, None] - places[None, :]) / sigma))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def local_contrast(frames: jax.Array) -> jax.Array:
    """Each pixel less its surroundings' mean, over their deviation: (x - blur(x)) / (deviation(x) + FLOOR).

    The surroundings are a Gaussian of SIGMA of the frame's side, cut and normalised anew at the borders.

    Args:
        frames: float [..., height, width, channel] in [0, 1]; each channel for itself.

    Returns:
        The same shape, about -3 to 3; a constant frame gives 0.

    References:
        Jarrett et al. 2009, "What is the best multi-stage architecture for object recognition?", section 3.
    """
    height, width = frames.shape[-3:-1]
    down = jnp.asarray(blur_matrix(height, SIGMA * height), frames.dtype)
    across = jnp.asarray(blur_matrix(width, SIGMA * width), frames.dtype)

    def blur(x: jax.Array) -> jax.Array:
        return jnp.einsum("ij,...jkc,lk->...ilc", down, x, across)

    # The variance of the centred picture: a blur of squares less the square of a blur would cancel digits.
    centred = frames - blur(frames)
    return centred / (jnp.sqrt(blur(jnp.square(centred)) + 1e-8) + FLOOR)


def grey(frames: jax.Array) -> jax.Array:
    """RGB [..., 3] to grey [..., 1]; one channel stays as it is."""
    if frames.shape[-1] == 1:
        return frames
    return (frames @ jnp.asarray(LUMA, frames.dtype))[..., None]


def contrast_change(clips: jax.Array) -> jax.Array:
    """Local contrast in grey, less its mean over the clip: what moves stays, and what a person looks like goes.

    Args:
        clips: float [..., time, height, width, channel] in [0, 1].

    Returns:
        The same shape, all channels alike.
    """
    contrast = local_contrast(grey(clips))
    change = contrast - contrast.mean(axis=-4, keepdims=True)
    return jnp.broadcast_to(change, clips.shape)


WHOLE_CLIPS = ("contrast_change",)
"""Those of `NORMALIZATIONS` that need all frames of a clip at once."""
NORMALIZATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
    "none": lambda frames: frames,
    "local_contrast": local_contrast,
    "contrast_change": contrast_change,
}


def normalized(frames: jax.Array, how: str) -> jax.Array:
    """Frames float [..., height, width, channel] in [0, 1], normalised as a key of `NORMALIZATIONS` says.

    Raises:
        ValueError: There is no such normalisation.
    """
    if how not in NORMALIZATIONS:
        raise ValueError(
            f"normalize is {how!r}; it must be one of {', '.join(NORMALIZATIONS)}"
            f"{did_you_mean(how, NORMALIZATIONS)}"
        )
    return NORMALIZATIONS[how](frames)
