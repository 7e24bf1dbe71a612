"""Max pooling over non-overlapping 2x2 windows (paper, section III-B).

The gradient of XLA's reduce-window (select-and-scatter) runs on one core of a CPU and takes as long as a convolution;
there the gradient is written as four comparisons, with the same rule for ties.
"""

import jax
from jax import lax
from jax import numpy as jnp


def plain_max_pool(x: jax.Array) -> jax.Array:
    """`max_pool` as XLA's own operation, the reference of the faster form; it has every derivative."""
    window = (1,) * (x.ndim - 3) + (2, 2, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Take the maximum of each 2x2 window of height and width, with stride 2 and without padding.

    An odd last row or column is left out, as VALID pooling does. Where the maximum occurs more than once in a
    window, the gradient goes to the first occurrence in row-major order. There is a reverse-mode derivative only;
    `plain_max_pool` has the others (an architecture with `plain=True` uses it).

    Args:
        x: [..., height, width, channel].

    Returns:
        [..., height // 2, width // 2, channel], the type of x.
    """
    return lax.platform_dependent(x, cpu=_forward, default=plain_max_pool)


def _corners(x: jax.Array) -> list[jax.Array]:
    """The four members of each window in row-major order, of one materialised array.

    Without the barrier XLA computes what x comes from once for each corner, and not always with the same rounding.
    """
    x = lax.optimization_barrier(x)
    height, width = (side // 2 * 2 for side in x.shape[-3:-1])
    return [x[..., i:height:2, j:width:2, :] for i in (0, 1) for j in (0, 1)]


def _maximum(corners: list[jax.Array]) -> jax.Array:
    first, second, third, fourth = corners
    return jnp.maximum(jnp.maximum(first, second), jnp.maximum(third, fourth))


def _forward(x: jax.Array) -> jax.Array:
    return _maximum(_corners(x))


def _winner(x: jax.Array) -> jax.Array:
    """uint8: which corner is the maximum, the first of equal ones."""
    corners = _corners(x)
    y = _maximum(corners)
    winner = jnp.full(y.shape, 3, jnp.uint8)
    for number in (2, 1, 0):
        winner = jnp.where(corners[number] == y, jnp.uint8(number), winner)
    return winner


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = max_pool(x)

    def not_needed(x: jax.Array) -> jax.Array:
        return jnp.zeros(y.shape, jnp.uint8)

    # The winners are settled here: a maximum that is compared again in the backward pass need not be found, since
    # XLA may compute x anew there and round it otherwise.
    return y, (x, lax.platform_dependent(x, cpu=_winner, default=not_needed))


def _max_pool_backward(residuals: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple:
    def plain(x: jax.Array, winner: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(plain_max_pool, x)[1](gradient)[0]

    return (lax.platform_dependent(*residuals, gradient, cpu=_backward, default=plain),)


def _backward(x: jax.Array, winner: jax.Array, gradient: jax.Array) -> jax.Array:
    parts = [jnp.where(winner == number, gradient, 0) for number in range(4)]
    axis = x.ndim - 1
    rows = [jnp.stack(parts[i : i + 2], axis) for i in (0, 2)]  # [..., width / 2, 2, channel]
    whole = jnp.stack(rows, axis - 1)
    whole = whole.reshape(*x.shape[:-3], *(2 * side for side in winner.shape[-3:-1]), x.shape[-1])
    padding = [(0, after - before) for before, after in zip(whole.shape, x.shape, strict=True)]
    return jnp.pad(whole, padding)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
