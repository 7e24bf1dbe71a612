"""Convolutions as other convolutions with the same sums: time as channels, and strides as channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

# Of a kernel whose strides become channels: 1.2 for 11x11 at 3, 1.8 for 3x3 at 2.
MOST_GROWTH = 1.5


def stack_frames(x: jax.Array) -> jax.Array:
    """Frames side by side on the channels, the first frame's first: [batch, height, width, time * channel]."""
    return jnp.concatenate([x[:, time] for time in range(x.shape[1])], axis=-1)


def windows(x: jax.Array, time: int) -> jax.Array:
    """Windows of `time` frames, stacked: [batch * window, height, width, time * in].

    Raises:
        ValueError: There are fewer frames.
    """
    if x.shape[1] < time:
        raise ValueError(f"a kernel over {time} frames needs as many, not {x.shape[1]}")
    starts = range(x.shape[1] - time + 1)
    x = jnp.stack([stack_frames(x[:, start : start + time]) for start in starts], axis=1)
    return x.reshape(-1, *x.shape[2:])


def stacked_kernel(kernel: jax.Array) -> jax.Array:
    """A kernel over time as one over stacked frames: [rows, columns, time * in, out]."""
    time, rows, columns, channels, features = kernel.shape
    return kernel.transpose(1, 2, 0, 3, 4).reshape(rows, columns, time * channels, features)


def grows(kernel_shape: Sequence[int], stride: int) -> bool:
    """Whether blocks of stride x stride pixels give the kernel more than `MOST_GROWTH` times its taps."""
    rows, columns = kernel_shape[:2]
    down, across = -(-rows // stride), -(-columns // stride)
    return down * across * stride**2 > MOST_GROWTH * rows * columns


def input_at_stride_1(x: jax.Array, kernel_shape: Sequence[int], stride: int) -> jax.Array:
    """Blocks of stride x stride pixels as channels, as many as the outputs see."""
    if stride == 1:
        return x
    batch, height, width, channels = x.shape
    down, across = (
        (side - size) // stride - (-size // stride)
        for side, size in zip((height, width), kernel_shape[:2], strict=True)
    )  # outputs - 1 + taps
    x = x[:, : down * stride, : across * stride]
    padding = ((0, 0), (0, down * stride - x.shape[1]), (0, across * stride - x.shape[2]), (0, 0))
    x = jnp.pad(x, padding).reshape(batch, down, stride, across, stride, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, down, across, -1)


def kernel_at_stride_1(kernel: jax.Array, stride: int) -> jax.Array:
    """The kernel for `input_at_stride_1`'s blocks, with zeros where it does not fill the last one."""
    if stride == 1:
        return kernel
    rows, columns, channels, features = kernel.shape
    down, across = -(-rows // stride), -(-columns // stride)
    padding = ((0, down * stride - rows), (0, across * stride - columns), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, padding).reshape(down, stride, across, stride, channels, features)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(down, across, -1, features)
