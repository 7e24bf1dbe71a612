"""Local response normalisation over channels (Krizhevsky, Sutskever and Hinton, 2012, section 3.3)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def local_response_norm(
    x: jax.Array, size: int, bias: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> jax.Array:
    """Divide each value by a power of the energy of its neighbours in channel order.

        b_i = a_i / (bias + alpha sum_j a_j^2)^beta,  j from i - size // 2 to i + (size - 1) // 2

    The sum is not divided by `size`, as in the reference's equation; the constants are its, too. A channel whose
    square is not finite makes all channels of its place NaN.

    Args:
        x: [..., channel].
        size: number of channels in a neighbourhood.
        bias: as in the equation.
        alpha: as in the equation.
        beta: as in the equation.
    """
    before, after = size // 2, (size - 1) // 2
    place = np.arange(x.shape[-1])
    offset = place[:, None] - place[None]  # of neighbour j (rows) from channel i (columns)
    near = jnp.asarray((-before <= offset) & (offset <= after), x.dtype)
    # On a CPU, at 64 channels, shifted copies take eight times as long with their gradient.
    scale = bias + alpha * jnp.matmul(jnp.square(x), near, precision=lax.Precision.HIGHEST)
    if beta == 0.75:  # Roots, which a CPU computes many at a time, as it does no power.
        root = lax.rsqrt(scale)
        return x * root * jnp.sqrt(root)
    return x / scale**beta
