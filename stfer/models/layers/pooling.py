"""Max pooling over non-overlapping 2x2 windows (paper, section III-B).

The gradient of XLA's reduce-window (select-and-scatter) runs on one core of a CPU, where it takes as long as a
convolution, and adds up atomically on a GPU. Here it is a choice among four, with the same rule for ties.
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
    # The default is what programs for other runtimes (ONNX) know as one operation.
    own = dict.fromkeys(("cpu", "cuda", "rocm"), _maxima)
    return lax.platform_dependent(x, default=plain_max_pool, **own)


def _maxima(x: jax.Array) -> jax.Array:
    first, second, third, fourth = _corners(x)
    return jnp.maximum(jnp.maximum(first, second), jnp.maximum(third, fourth))


def _corners(x: jax.Array) -> list[jax.Array]:
    """The four members of each window, in row-major order."""
    height, width = (side // 2 * 2 for side in x.shape[-3:-1])
    return [x[..., i:height:2, j:width:2, :] for i in (0, 1) for j in (0, 1)]


def _max_pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The maxima, and x (for its shape) with the number of each window's winner, uint8.

    The winners are settled by comparing the corners, here and nowhere else: XLA may compute x anew in another place
    and round it otherwise, so a maximum that is looked for there need not be found.
    """
    first, second, third, fourth = _corners(x)
    above, below = jnp.maximum(first, second), jnp.maximum(third, fourth)
    winner = jnp.where(
        below > above,
        jnp.where(fourth > third, jnp.uint8(3), jnp.uint8(2)),
        jnp.where(second > first, jnp.uint8(1), jnp.uint8(0)),
    )
    return max_pool(x), (
        x,
        winner,
    )  # Itself, so that a second derivative has the rule for ties, too.


def _max_pool_backward(residuals: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple:
    x, winner = residuals
    rows, columns = (jnp.arange(2 * side, dtype=jnp.uint8) % 2 for side in winner.shape[-3:-1])
    corner = (2 * rows[:, None] + columns[None])[..., None]
    corner = corner.reshape((1,) * (x.ndim - 3) + corner.shape)
    whole = jnp.where(_doubled(winner) == corner, _doubled(gradient), 0)
    padding = [(0, after - before) for before, after in zip(whole.shape, x.shape, strict=True)]
    return (jnp.pad(whole, padding),)


def _doubled(x: jax.Array) -> jax.Array:
    """Each pixel four times: [..., 2 * height, 2 * width, channel]."""
    return jnp.repeat(jnp.repeat(x, 2, axis=-3), 2, axis=-2)


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
