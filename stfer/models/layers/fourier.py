"""Convolution through the Fourier transform, for large kernels in float32 on a CPU (Mathieu, Henaff and LeCun, 2014).

The transform of a cross-correlation is the transform of the input times the conjugate of the kernel's. With h x w
pixels, that is 4 real products a frequency and channel pair, 2 h w in all, where the plain sum takes one for every
output and tap: 1,680 instead of 32,400 for a 9x9 kernel on 28x28 pixels. No output wraps around, since the transform
is as large as the input.

The sizes are a few dozen, so a transform is a product with a matrix of cosines and sines, the products over channels
are one matrix product a frequency, and every step is linear: the gradients are JAX's own transposes of the same
steps. Rounding: the largest error, 3e-7 of the largest output, is half the plain sum's.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

# Each product of the transforms' way may take this much longer than one of the plain sum.
OVERHEAD = 4
LEAST_TAPS = 6  # a side; Winograd's filtering is faster up to 5


@functools.cache
def _along_width(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The transform of `size` real values and its inverse: [2, size // 2 + 1, size] each, real and imaginary part.

    The inverse is a sum over both parts: its weights are doubled where a frequency stands for its conjugate too.
    """
    frequencies = size // 2 + 1
    angles = 2 * np.pi / size * np.outer(np.arange(frequencies), np.arange(size))
    forward = np.stack([np.cos(angles), -np.sin(angles)])
    twins = np.full((frequencies, 1), 2.0)
    twins[0] = 1
    if size % 2 == 0:
        twins[-1] = 1
    return forward.astype(np.float32), (forward * twins / size).astype(np.float32)


@functools.cache
def _along_height(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The transform of `size` complex values and its inverse: [part out, frequency, part in, place] each."""
    angles = 2 * np.pi / size * np.outer(np.arange(size), np.arange(size))
    cosine, sine = np.cos(angles), np.sin(angles)
    forward = np.array([[cosine, sine], [-sine, cosine]]).transpose(0, 2, 1, 3)
    inverse = np.array([[cosine, -sine], [sine, cosine]]).transpose(0, 2, 1, 3) / size
    return forward.astype(np.float32), inverse.astype(np.float32)


def _transform(x: jax.Array, height: int, width: int) -> jax.Array:
    """Two-dimensional transform of maps [n, rows, columns, c], with zeros up to height x width.

    Returns:
        [row frequency, column frequency, n, part, c].
    """
    rows = _along_width(width)[0][:, :, : x.shape[2]]
    columns = _along_height(height)[0][..., : x.shape[1]]
    x = jnp.einsum("quw,nhwc->qunhc", rows, x)
    return jnp.einsum("pvqh,qunhc->vunpc", columns, x)


def _inverse(y: jax.Array, width: int, out_height: int, out_width: int) -> jax.Array:
    """The first out_height x out_width pixels of the maps [n, rows, columns, c] of `_transform`'s output."""
    columns = _along_height(y.shape[0])[1][:, :out_height]
    rows = _along_width(width)[1][..., :out_width]
    y = jnp.einsum("qhpv,vunpc->qunhc", columns, y)
    return jnp.einsum("quw,qunhc->nhwc", rows, y)


def pays(x_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether transforms and products are so much less work than the plain sum that they are faster.

    Args:
        x_shape: [batch, (time,) height, width, in].
        kernel_shape: [(time,) rows, columns, in, out].
    """
    if not isinstance(x_shape[0], int):
        return False  # A symbolic batch (`jax.export`) may be of any size.
    height, width = x_shape[-3:-1]
    rows, columns, channels, features = kernel_shape[-4:]
    if min(rows, columns) < LEAST_TAPS:
        return False
    taps = math.prod(kernel_shape[:-4])
    clips = x_shape[0] * (x_shape[1] - taps + 1 if len(x_shape) == 5 else 1)
    frequencies = width // 2 + 1
    pairs = channels * taps * features
    products = clips * 4 * height * frequencies * pairs
    maps = clips * (channels * taps + features) * frequencies * (2 * width + 4 * height) * height
    filters = pairs * frequencies * (2 * columns + 4 * height) * rows
    plain = clips * (height - rows + 1) * (width - columns + 1) * rows * columns * pairs
    return OVERHEAD * (products + maps + filters) <= plain


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlate without padding, stride 1, in two dimensions or three; over time, the plain sum is taken.

    Args:
        x: [batch, (time,) height, width, in].
        kernel: [(time,) rows, columns, in, out].
    """
    if kernel.ndim == 4:
        return convolve(x[:, None], kernel[None])[:, 0]
    batch, frames, height, width, channels = x.shape
    taps, rows, columns, _, features = kernel.shape
    maps = _transform(x.reshape(batch * frames, height, width, channels), height, width)
    maps = maps.reshape(*maps.shape[:2], batch, frames, 2 * channels)
    times = frames - taps + 1
    windows = jnp.concatenate([maps[:, :, :, tap : tap + times] for tap in range(taps)], -1)

    filters = kernel.transpose(0, 3, 1, 2, 4).reshape(taps * channels, rows, columns, features)
    filters = _transform(filters, height, width)
    filters = filters.reshape(*filters.shape[:2], taps, channels, 2, features)
    real, imaginary = filters[..., 0, :], filters[..., 1, :]
    conjugate = jnp.concatenate(
        [jnp.concatenate([real, -imaginary], -1), jnp.concatenate([imaginary, real], -1)], -2
    )
    conjugate = conjugate.reshape(*conjugate.shape[:2], taps * 2 * channels, 2 * features)

    windows = windows.reshape(*windows.shape[:2], batch * times, -1)
    products = jnp.einsum("vunk,vukm->vunm", windows, conjugate)
    products = products.reshape(*products.shape[:3], 2, features)
    y = _inverse(products, width, height - rows + 1, width - columns + 1)
    return y.reshape(batch, times, *y.shape[1:])
