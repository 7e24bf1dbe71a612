"""Local response normalisation over channels (Krizhevsky, Sutskever and Hinton, 2012, section 3.3)."""

import jax
import jax.numpy as jnp


def local_response_norm(
    x: jax.Array, size: int, bias: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> jax.Array:
    """Divide each value by a power of the energy of its neighbours in channel order.

        b_i = a_i / (bias + alpha sum_j a_j^2)^beta,  j from i - size // 2 to i + (size - 1) // 2

    The sum is not divided by `size`, as in the reference's equation; the constants are its, too.

    Args:
        x: [..., channel].
        size: number of channels in a neighbourhood.
        bias: as in the equation.
        alpha: as in the equation.
        beta: as in the equation.
    """
    before, after = size // 2, (size - 1) // 2
    energy = jnp.pad(jnp.square(x), [(0, 0)] * (x.ndim - 1) + [(before, after)])
    total = sum(energy[..., first : first + x.shape[-1]] for first in range(size))
    return x / (bias + alpha * total) ** beta
