"""Convolution through the Fourier transform, for large kernels in float32 on a CPU.

Mathieu, Henaff and LeCun, Fast training of convolutional networks through FFTs, ICLR 2014. The
transform of a cross-correlation is the transform of the input times the conjugate of the kernel's.
Of real maps of h x w pixels, w // 2 + 1 column frequencies are enough, so that a pair of channels
takes 4 h (w // 2 + 1) real products, where the plain sum takes one for every output and tap: 1,680
instead of 32,400 for a 9x9 kernel on 28x28 pixels. No output wraps around, since the transform is
as large as the input.

The sizes are a few dozen, so a transform is a product with a matrix of cosines and sines, the
products over channels are one matrix product a frequency, and every step is linear: the gradients
are JAX's own transposes of the same steps.

Rounding: for 9x9 kernels over 64 maps of 28x28 the largest error is half the plain sum's, 3e-7 of
the largest output. It is an error of the whole map: where all inputs under the kernel are 0 the
output is about 1e-7 of the largest and not 0, and a value that is not finite reaches all outputs.

The axes of a transform are written v, u (row and column frequency), n (map), p and q (part: real,
imaginary), c (channel).
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

OVERHEAD = 4  # A product here may cost this many times one of the plain sum.
LEAST_SIDE = 6  # of a kernel; Winograd's filtering is faster up to 5


@functools.cache
def _along_width(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The transform of `size` real values and its inverse: [part, frequency, place] each.

    The inverse is a sum over both parts, doubled where a frequency stands for its conjugate too.
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
    """The transform of `size` complex values and its inverse.

    Returns:
        [part out, frequency, part in, place] each.
    """
    angles = 2 * np.pi / size * np.outer(np.arange(size), np.arange(size))
    cosine, sine = np.cos(angles), np.sin(angles)
    forward = np.array([[cosine, sine], [-sine, cosine]]).transpose(0, 2, 1, 3)
    inverse = np.array([[cosine, -sine], [sine, cosine]]).transpose(0, 2, 1, 3) / size
    return forward.astype(np.float32), inverse.astype(np.float32)


def _transform(x: jax.Array, height: int, width: int) -> jax.Array:
    """Two-dimensional transform of maps [n, h, w, c], with zeros up to height x width.

    Returns:
        [v, u, n, part, c].
    """
    across = _along_width(width)[0][:, :, : x.shape[2]]
    down = _along_height(height)[0][..., : x.shape[1]]
    x = jnp.einsum("quw,nhwc->qunhc", across, x)
    return jnp.einsum("pvqh,qunhc->vunpc", down, x)


def _inverse(y: jax.Array, width: int, out_height: int, out_width: int) -> jax.Array:
    """The first out_height x out_width pixels of the maps [n, h, w, c] of a transform."""
    down = _along_height(y.shape[0])[1][:, :out_height]
    across = _along_width(width)[1][..., :out_width]
    y = jnp.einsum("qhpv,vunpc->qunhc", down, y)
    return jnp.einsum("quw,qunhc->nhwc", across, y)


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
    if min(rows, columns) < LEAST_SIDE:
        return False
    time = math.prod(kernel_shape[:-4])
    maps = x_shape[0] * (x_shape[1] - time + 1 if len(x_shape) == 5 else 1)
    frequencies = width // 2 + 1
    pairs = channels * time * features
    products = maps * 4 * height * frequencies * pairs
    of_maps = maps * (channels * time + features) * frequencies * height * (2 * width + 4 * height)
    of_kernel = pairs * frequencies * rows * (2 * columns + 4 * height)
    plain = maps * (height - rows + 1) * (width - columns + 1) * rows * columns * pairs
    return OVERHEAD * (products + of_maps + of_kernel) <= plain


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlate without padding, stride 1; a kernel's frames in time are summed one by one.

    Args:
        x: [batch, (time,) height, width, in].
        kernel: [(time,) rows, columns, in, out].

    Returns:
        [batch, (time,) height, width, out].
    """
    if kernel.ndim == 4:
        return convolve(x[:, None], kernel[None])[:, 0]
    batch, frames, height, width, channels = x.shape
    time, rows, columns, _, features = kernel.shape
    times = frames - time + 1
    maps = _transform(x.reshape(batch * frames, height, width, channels), height, width)
    maps = maps.reshape(*maps.shape[:2], batch, frames, 2 * channels)
    maps = jnp.concatenate([maps[:, :, :, t : t + times] for t in range(time)], axis=-1)
    maps = maps.reshape(*maps.shape[:2], batch * times, time * 2 * channels)

    filters = kernel.transpose(0, 3, 1, 2, 4).reshape(time * channels, rows, columns, features)
    filters = _transform(filters, height, width)  # Its n is a filter's frame and channel.
    filters = filters.reshape(*filters.shape[:2], time, channels, 2, features)
    real, imaginary = filters[..., 0, :], filters[..., 1, :]
    # The conjugate as a real matrix, so that one product gives both parts.
    conjugate = jnp.concatenate(
        [jnp.concatenate([real, -imaginary], -1), jnp.concatenate([imaginary, real], -1)], -2
    )
    conjugate = conjugate.reshape(*conjugate.shape[:2], time * 2 * channels, 2 * features)
    y = jnp.einsum("vunk,vukf->vunf", maps, conjugate)
    y = y.reshape(*y.shape[:3], 2, features)
    y = _inverse(y, width, height - rows + 1, width - columns + 1)
    return y.reshape(batch, times, *y.shape[1:])
