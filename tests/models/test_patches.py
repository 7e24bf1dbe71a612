"""The gradient by a kernel of few channels."""

import jax
import jax.numpy as jnp
import pytest
from arrays import assert_float32_close, normal
from small_work import check_kernel_gradient

from stfer.models.layers import patches
from stfer.models.layers.convolution import convolve, plain_convolve


# Taps in whole blocks or not, more and fewer columns than a block, parts of one size, a short last part, one part.
@pytest.mark.parametrize(
    ("batch", "height", "width", "kernel_shape", "images"),
    [(4, 13, 12, (9, 9, 1, 2), 2), (7, 9, 10, (4, 7, 3, 2), 2), (3, 5, 4, (2, 3, 5, 1), 9)],
)
def test_the_gradient_by_a_kernel_of_few_channels(
    batch, height, width, kernel_shape, images, monkeypatch
):
    check_kernel_gradient(
        patches, (batch, height, width, kernel_shape[2]), kernel_shape, images, monkeypatch
    )


def test_first_layers_take_the_gradient_of_patches():
    assert patches.pays((320, 52, 52, 1), (9, 9, 1, 32))
    assert patches.pays((32, 64, 64, 3), (5, 5, 3, 64))
    for few in (
        ((320, 26, 26, 32), (5, 5, 32, 32)),  # channels are many
        ((1, 52, 52, 1), (9, 9, 1, 32)),  # pixels
        ((128, 64, 64, 3), (5, 5, 3, 16)),  # channels out
    ):
        assert not patches.pays(*few), few


@pytest.fixture
def asked(monkeypatch):
    """Small convolutions take the patches, and the kernels that did are listed."""
    shapes, of = [], patches.kernel_gradient

    def noted(x, kernel_shape, gradient):
        shapes.append(tuple(kernel_shape))
        return of(x, kernel_shape, gradient)

    monkeypatch.setattr(patches, "kernel_gradient", noted)
    monkeypatch.setattr(patches, "LEAST_FEATURES", 1)
    monkeypatch.setattr(patches, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(patches, "PART_BYTES", 10_000)
    return shapes


def slope(operation, stride):
    return jax.grad(lambda k, x: jnp.sin(operation(x, k, stride)).sum())


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "stride", "seen"),
    [
        ((3, 17, 18, 1), (9, 9, 1, 2), 1, (9, 9, 1, 2)),
        ((2, 4, 9, 10, 2), (2, 3, 2, 2, 3), 1, (3, 2, 4, 3)),  # frames as channels
        ((3, 13, 12, 1), (6, 6, 1, 2), 2, (3, 3, 4, 2)),  # blocks of 2x2 pixels as channels
    ],
)
def test_a_convolution_takes_it(x_shape, kernel_shape, stride, seen, asked):
    x, kernel = normal(x_shape), normal(kernel_shape, 1)
    found = slope(convolve, stride)(kernel, x)
    assert asked == [seen]
    assert_float32_close(found, slope(plain_convolve, stride)(kernel, x))


def test_folds_and_second_derivatives_take_it(asked):
    x, kernels = normal((2, 3, 11, 9, 1)), normal((2, 7, 7, 1, 2), 1)
    found, expected = (jax.vmap(slope(of, 1))(kernels, x) for of in (convolve, plain_convolve))
    assert_float32_close(found, expected)
    twice = [
        jax.grad(lambda k, of=of: jnp.square(slope(of, 1)(k, x[0])).sum())(kernels[0])
        for of in (convolve, plain_convolve)
    ]
    assert_float32_close(*twice)
    assert set(asked) == {(7, 7, 1, 2)}


def test_float32_stays_float32_where_64_bits_are_allowed(asked):
    with jax.enable_x64(True):
        x, kernel = normal((3, 17, 18, 1)), normal((9, 9, 1, 2), 1)
        assert slope(convolve, 1)(kernel, x).dtype == jnp.float32
    assert asked
