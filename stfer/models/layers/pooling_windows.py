"""Pooling over windows of any size and stride, for the systems of the paper's section III.

The paper's own six pool over 2x2 windows alone, which have a faster form (`stfer.models.layers.pooling`, which also
says why the gradient is not XLA's).
"""

import functools

import flax.linen as nn
import jax
from jax import lax
from jax import numpy as jnp

_LARGEST = 16  # pixels a side: the winner's number is a byte
Padding = tuple[tuple[int, int], ...]


def max_pool_windows(
    x: jax.Array, window: int, stride: int, *, ceil: bool = False, margin: int = 0
) -> jax.Array:
    """Maximum over square windows.

    Where the maximum occurs more than once in a window, the gradient goes to the first occurrence in row-major order.
    There is a reverse-mode derivative only. Its work grows with the window's area: it is for small windows.

    Args:
        x: [batch, height, width, channel].
        window: pixels a side.
        stride: pixels from window to window.
        ceil: whether a last window that hangs over the edge counts, as in Caffe: ceil((size - window) / stride) + 1
            outputs a side, else floor. The part beyond the edge never wins.
        margin: pixels around x that never win, either; fewer than the window's.

    Raises:
        ValueError: no window fits into x with its margin, or it is larger than 16 pixels, or the margin not smaller.
    """
    padding = []
    if window > _LARGEST or margin >= window:
        raise ValueError(
            f"window is {window} and margin {margin}; they must be at most {_LARGEST} and less than that"
        )
    for side in x.shape[1:3]:
        side += 2 * margin
        steps = -(-(side - window) // stride) if ceil else (side - window) // stride
        if steps < 0:
            raise ValueError(
                f"x is {x.shape[1]} by {x.shape[2]} pixels: a window of {window} does not fit"
            )
        padding.append((margin, margin + max(steps * stride + window - side, 0)))
    return _max_pool(x, window, stride, tuple(padding))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, window: int, stride: int, padding: Padding) -> jax.Array:
    return nn.max_pool(x, (window, window), (stride, stride), padding)


def _forward(x: jax.Array, window: int, stride: int, padding: Padding) -> tuple:
    """The maxima, with x for its shape and the number of each window's winner, uint8."""
    y = _max_pool(x, window, stride, padding)
    whole = jnp.pad(x, ((0, 0), *padding, (0, 0)), constant_values=-jnp.inf)
    best, winner = None, jnp.zeros(y.shape, jnp.uint8)
    for number, (row, column) in enumerate(_places(window)):
        stops = (row + (y.shape[1] - 1) * stride + 1, column + (y.shape[2] - 1) * stride + 1)
        part = whole[:, row : stops[0] : stride, column : stops[1] : stride]
        if best is None:
            best = part
            continue
        winner = jnp.where(part > best, jnp.uint8(number), winner)
        best = jnp.maximum(part, best)
    # Without the barrier XLA looks for the winner again for each place of its window.
    return y, (x, lax.optimization_barrier(winner))


def _backward(
    window: int, stride: int, padding: Padding, residuals: tuple, gradient: jax.Array
) -> tuple[jax.Array]:
    """Each window's gradient at its winner's place, added up where windows overlap."""
    x, winner = residuals
    # Without the barrier XLA takes the sum that the gradient comes from into each place of the window.
    gradient = lax.optimization_barrier(gradient)
    zero, total = jnp.zeros((), gradient.dtype), jnp.zeros((), gradient.dtype)
    for number, place in enumerate(_places(window)):
        # Cut off at x's edges by negative padding.
        sides = [
            (start - low, side + low - start - (count - 1) * stride - 1, stride - 1)
            for start, (low, _), side, count in zip(
                place, padding, x.shape[1:3], winner.shape[1:3], strict=True
            )
        ]
        chosen = jnp.where(winner == number, gradient, zero)
        total = total + lax.pad(chosen, zero, [(0, 0, 0), *sides, (0, 0, 0)])
    return (total,)


def _places(window: int) -> list[tuple[int, int]]:
    return [(row, column) for row in range(window) for column in range(window)]


_max_pool.defvjp(_forward, _backward)


def mean_pool(x: jax.Array) -> jax.Array:
    """Mean of non-overlapping 2x2 windows; an odd last row or column is left out.

    Args:
        x: [..., height, width, channel].
    """
    height, width = (side // 2 for side in x.shape[-3:-1])
    x = x[..., : 2 * height, : 2 * width, :]
    return x.reshape(*x.shape[:-3], height, 2, width, 2, x.shape[-1]).mean((-4, -2))
