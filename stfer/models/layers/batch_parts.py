"""A batch in parts, in a loop: what a part needs stays in the processor's caches and does not grow with the batch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

MORE_PARTS = 1.5  # up to so many times the parts, if all are then of one size


def can_divide(shape: Sequence[int]) -> bool:
    """Whether sizes are known: a symbolic one (`jax.export`) may be of any size."""
    return all(isinstance(size, int) for size in shape)


def divide(batch: int, image_bytes: int, part_bytes: int) -> tuple[int, int]:
    """How many parts of at most so many bytes a batch makes, and the images of each, one at least."""
    least = max(-(-batch // max(part_bytes // image_bytes, 1)), 1)
    even = (n for n in range(least, int(MORE_PARTS * least) + 1) if batch % n == 0)
    count = next(even, least)
    return count, -(-batch // count)


def scan_parts(
    function: Callable[[Any, Any], tuple[Any, Any]], carry: Any, count: int, *arrays: jax.Array
) -> tuple[Any, Any]:
    """`lax.scan` over `count` parts of [batch, ...] arrays, the last filled up with zeros.

    The outputs, an array [images, ...] a part, come back as one batch; with None a part, as None.
    """
    if count == 1:
        return function(carry, arrays)
    batch = arrays[0].shape[0]
    images = -(-batch // count)

    def divided(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, count * images - batch), *((0, 0),) * (x.ndim - 1)))
        return x.reshape(count, images, *x.shape[1:])

    carry, y = lax.scan(function, carry, tuple(map(divided, arrays)))
    if y is None:
        return carry, None
    return carry, y.reshape(count * images, *y.shape[2:])[:batch]
