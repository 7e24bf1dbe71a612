"""What the systems of section III make of the shards' frames before their first layer: grey, smaller."""

import jax
import jax.numpy as jnp

GREY = (0.299, 0.587, 0.114)


def grey(frames: jax.Array) -> jax.Array:
    """Luma of RGB frames (ITU-R BT.601): [..., channel] to [..., 1]; grey frames stay as they are."""
    if frames.shape[-1] == 1:
        return frames
    return (frames * jnp.asarray(GREY, frames.dtype).reshape((1,) * (frames.ndim - 1) + (3,))).sum(
        -1, keepdims=True
    )


def resized(frames: jax.Array, size: int) -> jax.Array:
    """Frames of `size` x `size` pixels, linear between pixels, averaging where they shrink.

    Args:
        frames: [batch, time, height, width, channel].
        size: pixels a side of the result.
    """
    if frames.shape[2:4] == (size, size):
        return frames
    shape = (*frames.shape[:2], size, size, frames.shape[-1])
    return jax.image.resize(frames, shape, "linear", antialias=True)


def check_inputs(
    name: str, frames_wanted: int, frames: jax.Array, landmarks: jax.Array | None = None
) -> None:
    """Raise ValueError unless the inputs of a system have the shapes that it takes.

    Args:
        name: of the system, for the sentence.
        frames_wanted: its clip length.
        frames: should be [batch, frames_wanted, height, width, channel].
        landmarks: should be [batch, time, 49, 2], where the system takes them.
    """
    if frames.ndim != 5:
        raise ValueError(
            f"{name} takes frames [batch, time, height, width, channel], not an array of shape"
            f" {frames.shape}"
        )
    if frames.shape[1] != frames_wanted:
        raise ValueError(f"{name} takes clips of {frames_wanted} frames, not {frames.shape[1]}")
    if landmarks is not None:
        check_landmarks(name, landmarks)


def check_landmarks(name: str, landmarks: jax.Array, frames_wanted: int | None = None) -> None:
    """Raise ValueError unless landmarks are [batch, time, 49, 2], of `frames_wanted` frames where that is given."""
    if landmarks.ndim != 4 or landmarks.shape[2:] != (49, 2):
        raise ValueError(
            f"{name} takes landmarks [batch, time, 49, 2], not an array of shape {landmarks.shape}"
        )
    if frames_wanted is not None and landmarks.shape[1] != frames_wanted:
        raise ValueError(
            f"{name} takes landmarks of {frames_wanted} frames, not {landmarks.shape[1]}"
        )
