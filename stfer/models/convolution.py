"""Convolution followed by ReLU, in two and three dimensions (paper, section III-B)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Cross-correlate without padding.

    Args:
      x: [batch, height, width, in] or [batch, time, height, width, in].
      kernel: [rows, columns, in, out] or [time, rows, columns, in, out].
      stride: step over height and width; the step over time is 1.

    Returns:
      [batch, (time,) height, width, out].
    """
    if kernel.ndim == 5:
        return lax.conv_general_dilated(
            x, kernel, (1, stride, stride), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
        )
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


class Convolution(nn.Module):
    """Convolution without padding, bias, ReLU.

    Fields: `features` out, `kernel_size` [(time,) rows, columns], `stride` over height and width.
    """

    features: int
    kernel_size: Sequence[int]
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [batch, (time,) height, width, in] to [batch, (time,) height, width, features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        return nn.relu(y + bias.astype(self.dtype).reshape((1,) * (y.ndim - 1) + (-1,)))
