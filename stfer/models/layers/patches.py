"""The gradient by a kernel of few channels in and many out, for float32 on a CPU.

XLA's own takes two to three times as long for kernels of 5x5 to 9x9, and as long for 2x2.

It is a matrix product of the patches that the kernel sees with the gradient of the output, over all pixels of a batch.
With one channel in, a patch of 9x9 has 81 numbers, so the product is 81 rows by as many columns as there are channels
out, and reading the patches costs as much as multiplying them. Four pixels of a row are therefore taken as one with
four times the channels, in and out:

    D[row, column of x within the block and those to its right, in, column of y within the block, out]
        = sum over blocks of x and gradient,

of which the kernel's gradient is the sum of four diagonals. At 9 columns there are a third of the patches, and the
product has four times the columns, for a third more operations; at 5 columns for 1.6 times as many. Patches go through
the caches in parts of the batch.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from stfer.models.layers import batch_parts

BLOCK = 4  # pixels of a row
# With 8 channels in, or 16 out, XLA's own is as fast or faster.
MOST_CHANNELS = 5
LEAST_FEATURES = 32
LEAST_PRODUCTS = 30_000_000  # by the plain formula
PART_BYTES = 8_000_000  # of a part's patches and gradients


def pays(x_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether the gradient by such a kernel is faster than XLA's own."""
    rows, columns, channels, features = kernel_shape
    if channels > MOST_CHANNELS or features < LEAST_FEATURES:
        return False
    if not batch_parts.can_divide(x_shape):
        return False
    batch, height, width = x_shape[:3]
    pixels = batch * (height - rows + 1) * (width - columns + 1)
    return pixels * rows * columns * channels * features >= LEAST_PRODUCTS


def kernel_gradient(x: jax.Array, kernel_shape: Sequence[int], gradient: jax.Array) -> jax.Array:
    """The gradient of a convolution (stride 1, no padding) by its kernel.

    Args:
        x: float32 [batch, height, width, in].
        kernel_shape: [rows, columns, in, out].
        gradient: float32 [batch, height - rows + 1, width - columns + 1, out], that of the output.

    Returns:
        float32 [rows, columns, in, out].
    """
    rows, columns, channels, features = kernel_shape
    height, width = gradient.shape[1:3]
    across = -(-width // BLOCK)
    reach = -(-(columns - 1 + BLOCK) // BLOCK)  # blocks of x that a block of y sees
    x = _widened(x, (across + reach - 1) * BLOCK)
    x = x.reshape(*x.shape[:2], -1, BLOCK * channels)
    gradient = _widened(gradient, across * BLOCK)
    gradient = gradient.reshape(*gradient.shape[:2], across, BLOCK * features)

    def add_part(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        # Pixels last, so that a shift of the patches is a copy of long rows.
        values = lax.optimization_barrier(part[0].transpose(3, 0, 1, 2))
        patches = jnp.concatenate(
            [
                values[:, :, row : row + height, block : block + across].reshape(len(values), -1)
                for row in range(rows)
                for block in range(reach)
            ]
        )
        return total + patches @ part[1].reshape(-1, BLOCK * features), None

    a_patch = rows * reach * BLOCK * channels
    image_bytes = 4 * height * across * (a_patch + BLOCK * features)
    count, _ = batch_parts.divide(x.shape[0], image_bytes, PART_BYTES)
    total = jnp.zeros((a_patch, BLOCK * features), x.dtype)
    total, _ = batch_parts.scan_parts(add_part, total, count, x, gradient)
    total = total.reshape(rows, reach * BLOCK, channels, BLOCK, features)
    return sum(total[:, i : i + columns, :, i] for i in range(BLOCK))


def _widened(x: jax.Array, width: int) -> jax.Array:
    """Columns of zeros to the right, up to so many."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2]), (0, 0)))
