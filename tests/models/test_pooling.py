"""Max pooling against XLA's own: values, gradients, ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import normal, slow

from stfer.models.layers import pooling
from stfer.models.layers.pooling import max_pool, plain_max_pool


@pytest.mark.gpu
@pytest.mark.parametrize(
    "shape",
    [
        (2, 7, 9, 3),
        *slow([(2, 6, 8, 3), (1, 2, 3, 5), (2, 3, 5, 4, 2), (4, 2, 2, 1)]),
    ],
)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, *slow([jnp.bfloat16])])
def test_max_pool_and_its_gradient_equal_xla_s(shape, ties, dtype):
    x = normal(shape)
    x = (jnp.maximum(jnp.round(x), 0) if ties else x).astype(dtype)  # ReLU makes many zeros
    y, pull_back = jax.vjp(max_pool, x)
    expected, pull_back_plain = jax.vjp(plain_max_pool, x)
    np.testing.assert_array_equal(y, expected)
    gradient = (jnp.arange(1, y.size + 1) / 8).reshape(y.shape).astype(dtype)
    np.testing.assert_array_equal(pull_back(gradient)[0], pull_back_plain(gradient)[0])


def test_max_pool_gives_the_gradient_of_a_tie_to_the_first():
    x = jnp.full((1, 2, 2, 1), 3.0)
    gradient = jax.grad(lambda x: max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[1, 0], [0, 0]])


def test_a_second_derivative_of_a_tie_is_the_first_s_too():
    def of(pool):
        def squared(x):
            return jnp.square(pool(x)).sum()

        return jax.grad(lambda x: jnp.square(jax.grad(squared)(x)).sum())(
            jnp.full((1, 2, 4, 1), 0.5)
        )

    np.testing.assert_array_equal(of(max_pool), of(plain_max_pool))


def test_no_window_loses_its_gradient_when_what_is_pooled_is_rounded_otherwise():
    # XLA may compute the pooled values anew in the backward pass, with other roundings.
    x = normal((2, 6, 7, 3))
    y, (_, winner) = jax.jit(pooling._max_pool_forward)(x)
    gradient = jnp.ones_like(y)
    (of_x,) = jax.jit(pooling._max_pool_backward)((x * 1.000001, winner), gradient)
    np.testing.assert_array_equal(of_x, jax.vjp(plain_max_pool, x)[1](gradient)[0])
