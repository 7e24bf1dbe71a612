"""Dropout (Srivastava et al., 2014) from as few random bits as its rate needs.

Random bits are most of its cost on a CPU: 32 for each value, as for a uniform number, take three times as long as 8.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Dropout(nn.Module):
    """Sets values to 0 at random in training, and divides the others by the share that is kept.

    The random key is that of the stream `dropout`.

    Attributes:
        rate: the share that is dropped, in [0, 1], to the nearest 65,536th.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """An array like x; x itself outside training."""
        if not train or self.rate == 0:
            return x
        kept = kept_share(self.rate)
        if kept == 0:
            return jnp.zeros_like(x)
        # Without the barrier XLA makes the mask again in each of its uses, one of which is a gradient.
        keep = lax.optimization_barrier(random_mask(self.make_rng("dropout"), kept, x.shape))
        return jnp.where(keep, x / kept, 0)


def kept_share(rate: float) -> float:
    """The share that is kept at a rate: a multiple of 1 / 65,536.

    Raises:
        ValueError: The rate is not in [0, 1].
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"dropout must be in [0, 1], not {rate}")
    return round((1 - rate) * 2**16) / 2**16


def random_mask(key: jax.Array, share: float, shape: tuple[int, ...]) -> jax.Array:
    """Independent booleans, of which `share` (a multiple of 1 / 65,536 above 0) are true.

    They come from a byte each where the share is a multiple of 1 / 256, else from two bytes. As padded batches need,
    the mask of a batch's first rows does not depend on how many follow (with JAX's default random numbers).
    """
    dtype = jnp.uint8 if (share * 2**8).is_integer() else jnp.uint16
    size, own = int(np.prod(shape)), jnp.iinfo(dtype).bits
    words = jax.random.bits(key, (-(-size * own // 32),), jnp.uint32)
    numbers = lax.bitcast_convert_type(words, dtype).reshape(-1)[:size].reshape(shape)
    return numbers <= dtype(round(share * 2**own) - 1)
