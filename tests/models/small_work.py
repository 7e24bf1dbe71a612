"""Fast forms of convolutions on small work: their limits lifted, and a kernel's gradient in parts of a few images."""

import jax
import jax.numpy as jnp
from arrays import assert_float32_close, normal

from stfer.models.layers import fourier, patches, taps, winograd
from stfer.models.layers.convolution import plain_convolve


def lift_limits(patch, part_bytes=100_000):
    """Let the fast forms take every convolution that they can, so many bytes at a time."""
    for operation in (winograd, patches, taps):
        patch.setattr(operation, "PART_BYTES", part_bytes)
    for name in ("LEAST_WORK", "LEAST_TILES", "LEAST_CHANNELS"):
        patch.setattr(winograd, name, 0)
    patch.setattr(fourier, "OVERHEAD", 0)
    patch.setattr(patches, "LEAST_PRODUCTS", 0)
    patch.setattr(patches, "LEAST_FEATURES", 1)
    patch.setattr(taps, "LEAST_CHANNELS", 1)
    patch.setattr(taps, "MOST_TAPS", 1000)


def check_kernel_gradient(form, x_shape, kernel_shape, images, patch, *stride):
    """`form.kernel_gradient` with so many images a part is XLA's, and asks once how to divide the batch."""
    x = normal(x_shape)
    value, pull_back = jax.vjp(lambda k: plain_convolve(x, k, *stride), jnp.zeros(kernel_shape))
    seed = normal(value.shape, 1)
    parts = []

    def divide(batch, image_bytes, part_bytes):
        parts.append(-(-batch // images))
        return parts[-1], images

    patch.setattr(form.batch_parts, "divide", divide)
    found = form.kernel_gradient(x, kernel_shape, seed, *stride)
    assert_float32_close(found, pull_back(seed)[0])
    assert parts == [-(-x_shape[0] // images)]
