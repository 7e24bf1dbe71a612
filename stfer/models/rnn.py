"""Recurrent network: each of five frames through blocks 1-3, then a GRU (paper, section IV-D, Figure 10).

The GRU is that of Cho et al. (2014) and Keras 2: the reset gate scales the state before the recurrent product, and
each gate has one bias. With r, z the reset and update gates, σ the recurrent activation:

    z = σ(x Wz + h Uz + bz)    r = σ(x Wr + h Ur + br)
    c = tanh(x Wc + (r * h) Uc + bc)    h' = z * h + (1 - z) * c
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, FrameByFrame, dense, named
from stfer.models.layers.dropout import Dropout


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """Keras 2's piecewise linear sigmoid, clip(0.2 x + 0.5, 0, 1) (`jax.nn.hard_sigmoid` has slope 1/6)."""
    return jnp.clip(0.2 * x + 0.5, 0.0, 1.0)


class GRUStep(nn.Module):
    """One step of the recurrence, from the gates' input products [batch, 3 * units] in the order z, r, c."""

    units: int
    recurrent_activation: Callable[[jax.Array], jax.Array]
    dtype: DTypeLike

    @nn.compact
    def __call__(self, state: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map the state [batch, units] and inputs to the next state, which is the output too."""
        # One orthogonal [units, 3 * units] matrix, as Keras starts it.
        recurrent = self.param(
            "recurrent_kernel", nn.initializers.orthogonal(), (self.units, 3 * self.units)
        ).astype(self.dtype)
        gates = inputs[:, : 2 * self.units] + state @ recurrent[:, : 2 * self.units]
        update, reset = jnp.split(self.recurrent_activation(gates), 2, axis=-1)
        candidate = jnp.tanh(
            inputs[:, 2 * self.units :] + (reset * state) @ recurrent[:, 2 * self.units :]
        )
        state = update * state + (1 - update) * candidate
        return state, state


class GRU(nn.Module):
    """A gated recurrent unit over [time, batch, in] that starts at zero and returns every state."""

    units: int
    recurrent_activation: Callable[[jax.Array], jax.Array] = nn.sigmoid
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [time, batch, in] to [time, batch, units]."""
        # The input products of all steps at once; the loop is left with the recurrent ones.
        inputs = dense(3 * self.units, self.dtype, "input")(x)
        scan = nn.scan(GRUStep, variable_broadcast="params", split_rngs={"params": False})
        step = scan(self.units, self.recurrent_activation, self.dtype, name="step")
        return step(jnp.zeros((x.shape[1], self.units), self.dtype), inputs)[1]


class RNN(FrameByFrame):
    """Towers shared over the frames, a GRU over their features, logits from its last state.

    Attributes:
        units: width of the GRU.
        recurrent_activation: the gates' activation; Keras 2's was `hard_sigmoid`, clip(0.2 x + 0.5, 0, 1).
    """

    frames: int = 5
    units: int = 5
    recurrent_activation: Callable[[jax.Array], jax.Array] = nn.sigmoid

    def setup(self) -> None:
        """Build the shared tower, the recurrent cell and the logits."""
        super().setup()
        self.gru = GRU(self.units, self.recurrent_activation, self.dtype)
        self.drop = Dropout(self.dropout)
        self.logits = dense(self.num_classes, jnp.float32)

    def join(self, features: jax.Array, *, train: bool = False) -> tuple[jax.Array, Endpoints]:
        """Run the GRU over the features [batch, frames, features] and classify its last state."""
        states = self.gru(jnp.moveaxis(features, 1, 0))
        last = self.drop(states[-1], train=train)
        return self.logits(last), named(gru={"states": jnp.moveaxis(states, 0, 1)})
