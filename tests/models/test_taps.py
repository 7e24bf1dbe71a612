"""1x1 kernels as matrix products, and the gradient by a kernel tap by tap."""

import jax
import jax.numpy as jnp
import pytest
from arrays import assert_float32_close, normal
from small_work import check_kernel_gradient

from stfer.models.layers import taps
from stfer.models.layers.convolution import convolve, plain_convolve


# One tap and more, rows left over at the stride or not, parts of one size, a short last part, one part.
@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "stride", "images"),
    [
        ((4, 6, 7, 5), (1, 1, 5, 3), 1, 2),
        ((7, 10, 9, 3), (3, 3, 3, 4), 2, 2),
        ((3, 11, 7, 2), (7, 1, 2, 3), 1, 9),
        ((2, 8, 12, 2), (2, 3, 2, 2), 3, 1),
    ],
)
def test_the_gradient_by_a_kernel(x_shape, kernel_shape, stride, images, monkeypatch):
    check_kernel_gradient(taps, x_shape, kernel_shape, images, monkeypatch, stride)


def test_one_tap_or_few_between_many_channels():
    for paying in ((1, 1, 8, 16), (3, 3, 64, 96), (1, 7, 64, 64)):
        assert taps.pays((10, 73, 73, paying[2]), paying), paying
    for other in ((5, 5, 64, 64), (3, 3, 32, 96), (3, 3, 96, 32)):
        assert not taps.pays((10, 73, 73, other[2]), other), other
    size, side = jax.export.symbolic_shape("batch, side")
    assert not taps.pays((size, 6, 7, 8), (1, 1, 8, 16))
    assert not taps.pays((3, side, 7, 8), (1, 1, 8, 16))


@pytest.fixture
def asked(monkeypatch):
    """Few channels are enough, and the kernels that were asked for are listed."""
    shapes, of = [], taps.kernel_gradient

    def noted(x, kernel_shape, gradient, stride):
        shapes.append((tuple(kernel_shape), stride))
        return of(x, kernel_shape, gradient, stride)

    monkeypatch.setattr(taps, "kernel_gradient", noted)
    monkeypatch.setattr(taps, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(taps, "PART_BYTES", 10_000)
    return shapes


def slopes(operation, stride):
    return jax.grad(lambda x, k: jnp.sin(operation(x, k, stride)).sum(), argnums=(0, 1))


@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "stride", "seen"),
    [
        ((3, 9, 8, 6), (1, 1, 6, 4), 1, ((1, 1, 6, 4), 1)),
        ((2, 4, 9, 10, 3), (2, 1, 1, 3, 5), 1, ((1, 1, 6, 5), 1)),  # frames as channels
        ((3, 8, 6, 2), (2, 2, 2, 3), 2, ((1, 1, 8, 3), 1)),  # blocks of 2x2 pixels as channels
        ((3, 13, 12, 6), (3, 3, 6, 2), 2, ((3, 3, 6, 2), 2)),  # the stride is kept
        ((3, 7, 12, 6), (1, 7, 6, 2), 1, ((1, 7, 6, 2), 1)),
        ((3, 8, 7, 6), (1, 1, 6, 4), 2, ((1, 1, 6, 4), 2)),
        ((3, 5, 4, 1), (1, 1, 1, 32), 1, ((1, 1, 1, 32), 1)),
    ],
)
def test_a_convolution_takes_it(x_shape, kernel_shape, stride, seen, asked):
    x, kernel = normal(x_shape), normal(kernel_shape, 1)
    found = slopes(convolve, stride)(x, kernel)
    assert asked == [seen]
    assert_float32_close(convolve(x, kernel, stride), plain_convolve(x, kernel, stride))
    jax.tree.map(assert_float32_close, found, slopes(plain_convolve, stride)(x, kernel))


def test_a_1x1_kernel_is_a_matrix_product():
    def convolutions(operation):
        work = jax.jit(lambda x, k: (operation(x, k), slopes(operation, 1)(x, k)))
        text = work.lower(normal((3, 9, 8, 6)), normal((1, 1, 6, 4))).compile().as_text()
        return text.count(" convolution(")

    assert convolutions(plain_convolve) > 0
    assert convolutions(convolve) == 0


def test_folds_and_second_derivatives_take_it(asked):
    x, kernels = normal((2, 3, 6, 5, 7)), normal((2, 1, 1, 7, 2), 1)
    jax.tree.map(
        assert_float32_close,
        *(jax.vmap(slopes(of, 1))(x, kernels) for of in (convolve, plain_convolve)),
    )
    twice = [
        jax.grad(lambda k, of=of: jnp.square(slopes(of, 1)(x[0], k)[1]).sum())(kernels[0])
        for of in (convolve, plain_convolve)
    ]
    assert_float32_close(*twice)
    assert set(asked) == {((1, 1, 7, 2), 1)}


def test_a_batch_of_any_size_can_be_exported():
    (size,) = jax.export.symbolic_shape("batch")
    kernel = normal((1, 1, 6, 4), 1)
    exported = jax.export.export(jax.jit(lambda x: slopes(convolve, 1)(x, kernel)))(
        jax.ShapeDtypeStruct((size, 5, 4, 6), jnp.float32)
    )
    x = normal((3, 5, 4, 6))
    found, expected = exported.call(x), slopes(plain_convolve, 1)(x, kernel)
    jax.tree.map(assert_float32_close, list(found), list(expected))
