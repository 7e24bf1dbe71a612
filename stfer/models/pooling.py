"""Max pooling over non-overlapping 2x2 windows (paper, section III-B).

The gradient of XLA's reduce-window (select-and-scatter) runs on one core of a CPU and takes as long as a convolution;
there the gradient is written as four comparisons, with the same rule for ties.
"""

import jax
from jax import lax
from jax import numpy as jnp


def plain_max_pool(x: jax.Array) -> jax.Array:
    """`max_pool` as XLA's own operation, the reference of the faster form."""
    window = (1,) * (x.ndim - 3) + (2, 2, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Take the maximum of each 2x2 window of height and width, with stride 2 and without padding.

    An odd last row or column is left out, as VALID pooling does. Where the maximum occurs more than once in a
    window, the gradient goes to the first occurrence in row-major order.

    Args:
      x: [..., height, width, channel].

    Returns:
      [..., height // 2, width // 2, channel], the type of x.
    """
    return lax.platform_dependent(x, cpu=_forward, default=plain_max_pool)


def _corners(x: jax.Array) -> list[jax.Array]:
    """The four members of each window in row-major order."""
    height, width = (side // 2 * 2 for side in x.shape[-3:-1])
    return [x[..., i:height:2, j:width:2, :] for i in (0, 1) for j in (0, 1)]


def _forward(x: jax.Array) -> jax.Array:
    # Without the barrier XLA computes what x comes from once for each corner.
    first, second, third, fourth = _corners(lax.optimization_barrier(x))
    return jnp.maximum(jnp.maximum(first, second), jnp.maximum(third, fourth))


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = max_pool(x)
    return y, (x, y)


def _max_pool_backward(residuals: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple:
    def plain(x: jax.Array, y: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(plain_max_pool, x)[1](gradient)[0]

    return (lax.platform_dependent(*residuals, gradient, cpu=_backward, default=plain),)


def _backward(x: jax.Array, y: jax.Array, gradient: jax.Array) -> jax.Array:
    taken = jnp.zeros(y.shape, bool)
    parts = []
    for corner in _corners(x):
        here = (corner == y) & ~taken
        parts.append(jnp.where(here, gradient, 0))
        taken |= here
    axis = x.ndim - 1
    rows = [jnp.stack(parts[i : i + 2], axis) for i in (0, 2)]  # [..., width / 2, 2, channel]
    whole = jnp.stack(rows, axis - 1)
    whole = whole.reshape(*x.shape[:-3], *(2 * side for side in y.shape[-3:-1]), x.shape[-1])
    padding = [(0, after - before) for before, after in zip(whole.shape, x.shape, strict=True)]
    return jnp.pad(whole, padding)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
