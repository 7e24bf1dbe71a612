"""The gradient by a kernel as one matrix product a tap, for float32 on a CPU.

A tap's product is that of the pixels it sees with the gradient of the output, summed over a part of the batch, so the
parts stay in the processor's caches. XLA's own takes two to four times as long for 1x1 kernels. For kernels of few taps
between many channels it takes up to four times as long where the map is large, and about as long where it is small.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from stfer.models.layers import batch_parts

# Of kernels larger than 1x1. With more taps, or fewer channels in or out, XLA's own is as fast or faster.
MOST_TAPS = 9
LEAST_CHANNELS = 64
PART_BYTES = 4_000_000  # of a part's pixels, once a tap, and gradients


def pays(x_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether the gradient by such a kernel is faster than XLA's own."""
    rows, columns, *channels = kernel_shape
    if not batch_parts.can_divide(x_shape):
        return False
    return rows * columns == 1 or (rows * columns <= MOST_TAPS and min(channels) >= LEAST_CHANNELS)


def kernel_gradient(
    x: jax.Array, kernel_shape: Sequence[int], gradient: jax.Array, stride: int = 1
) -> jax.Array:
    """The gradient of a convolution (no padding) by its kernel.

    Args:
        x: float32 [batch, height, width, in].
        kernel_shape: [rows, columns, in, out].
        gradient: float32 [batch, (height - rows) // stride + 1, (width - columns) // stride + 1, out], that of the
            output.
        stride: the convolution's step over height and width.

    Returns:
        float32 [rows, columns, in, out].
    """
    rows, columns, channels, features = kernel_shape
    height, width = gradient.shape[1:3]
    down, across = (height - 1) * stride + 1, (width - 1) * stride + 1

    def add_part(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, gradient = part
        seen = [
            x[:, row : row + down : stride, column : column + across : stride]
            for row in range(rows)
            for column in range(columns)
        ]
        gradient = gradient.reshape(-1, features)
        return total + jnp.stack([y.reshape(-1, channels).T @ gradient for y in seen]), None

    image_bytes = 4 * height * width * (rows * columns * channels + features)
    count, _ = batch_parts.divide(x.shape[0], image_bytes, PART_BYTES)
    total = jnp.zeros((rows * columns, channels, features), x.dtype)
    total, _ = batch_parts.scan_parts(add_part, total, count, x, gradient)
    return total.reshape(kernel_shape)
