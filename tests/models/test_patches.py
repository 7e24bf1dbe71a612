"""The gradient by a kernel of few channels."""

import jax
import jax.numpy as jnp
import pytest
from arrays import assert_float32_close, normal

from stfer.models.layers import patches
from stfer.models.layers.convolution import plain_convolve


# Taps in whole blocks or not, more and fewer columns than a block, parts of one size, a short last part, one part.
@pytest.mark.parametrize(
    ("batch", "height", "width", "kernel_shape", "images"),
    [(4, 13, 12, (9, 9, 1, 2), 2), (7, 9, 10, (4, 7, 3, 2), 2), (3, 5, 4, (2, 3, 5, 1), 9)],
)
def test_the_gradient_by_a_kernel_of_few_channels(
    batch, height, width, kernel_shape, images, monkeypatch
):
    x = normal((batch, height, width, kernel_shape[2]))
    kernel = jnp.zeros(kernel_shape)
    value, pull_back = jax.vjp(lambda k: plain_convolve(x, k), kernel)
    seed = normal(value.shape, 1)
    parts = []

    def divide(batch, image_bytes, part_bytes):
        parts.append(-(-batch // images))
        return parts[-1], images

    monkeypatch.setattr(patches.batch_parts, "divide", divide)
    found = patches.kernel_gradient(x, kernel_shape, seed)
    assert_float32_close(found, pull_back(seed)[0])
    assert parts == [-(-batch // images)]


def test_first_layers_take_the_gradient_of_patches():
    assert patches.pays((320, 52, 52, 1), (9, 9, 1, 32))
    assert patches.pays((32, 64, 64, 3), (5, 5, 3, 64))
    for few in (
        ((320, 26, 26, 32), (5, 5, 32, 32)),  # channels are many
        ((1, 52, 52, 1), (9, 9, 1, 32)),  # pixels
    ):
        assert not patches.pays(*few), few
