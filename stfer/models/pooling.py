"""Max pooling over non-overlapping 2x2 windows (paper, section III-B)."""

import jax
from jax import lax
from jax import numpy as jnp


def max_pool(x: jax.Array) -> jax.Array:
    """Take the maximum of each 2x2 window of height and width, with stride 2 and without padding.

    An odd last row or column is left out, as VALID pooling does. Where the maximum occurs more than once in a
    window, the gradient goes to the first occurrence in row-major order.

    Args:
      x: [..., height, width, channel].

    Returns:
      [..., height // 2, width // 2, channel], the type of x.
    """
    window = (1,) * (x.ndim - 3) + (2, 2, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
