"""Dense layers: that of flax, and no copy of the kernel in a training step."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from arrays import assert_float32_close, normal

from stfer.models.blocks import dense


class Two(nn.Module):
    """Two dense layers, so that the second's gradient by its input is needed."""

    layer: type

    @nn.compact
    def __call__(self, x):
        """Map [batch, in] to [batch, 5]."""
        return self.layer(5, name="second")(nn.relu(self.layer(7, name="first")(x)))


def ours(features, name):
    return dense(features, jnp.float32, name)


@pytest.fixture
def data():
    x = normal((4, 6))
    return Two(ours).init(jax.random.key(0), x), x


def test_values_and_every_derivative_are_flax_s(data):
    def loss(layer):
        return lambda variables, x: jnp.square(Two(layer).apply(variables, x)).sum()

    for take in (
        lambda f: f(*data),
        lambda f: jax.grad(f, argnums=(0, 1))(*data),
        lambda f: jax.jvp(f, data, data),
        lambda f: jax.vmap(jax.grad(f), (None, 0))(data[0], data[1][:, None]),
    ):
        jax.tree.map(assert_float32_close, take(loss(ours)), take(loss(nn.Dense)))


def test_a_step_copies_no_kernel(data):
    def copied(layer):
        def step(variables, x):
            gradients = jax.grad(lambda v: jnp.square(Two(layer).apply(v, x)).sum())(variables)
            # As an optimizer's, the update is no sum that joins the gradient's product.
            return jax.tree.map(lambda v, g: v - g / (1 + jnp.abs(g)), variables, gradients)

        text = jax.jit(step, donate_argnums=0).lower(*data).compile().as_text()
        return [shape for shape in re.findall(r"f32(\[[\d,]+\])\S* copy\(", text) if "," in shape]

    assert "[7,5]" in copied(nn.Dense), "XLA copies no kernel any more: the barrier may go"
    assert copied(ours) == []
