"""Winograd's transforms: exact, and as they round; when they are taken."""

import jax
import numpy as np
import pytest
from arrays import assert_float32_close, normal

from stfer.models.layers import winograd
from stfer.models.layers.convolution import plain_convolve


def test_the_paper_s_larger_layers_take_the_fast_form():
    for size, kernel_size, channels in (
        (57, 4, 27),
        (27, 5, 96),
        (11, 3, 256),
        (9, 3, 384),
    ):
        kernel_shape = (kernel_size, kernel_size, channels, 256)
        assert winograd.pays((32, size, size, channels), kernel_shape)
    assert not winograd.pays((1, 11, 11, 256), (3, 3, 256, 384))


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (6, 3), (7, 4)])
def test_a_batch_goes_through_in_parts(batch, parts, monkeypatch):
    """With parts of one size, with a last part that is short, and in one part."""
    x, kernel, seed = normal((batch, 8, 9, 4)), normal((3, 3, 4, 5), 1), normal((batch, 6, 7, 5), 2)
    of_an_image = 4 * 25 * 2 * 3 * (4 + 5)  # bytes, tiles of 5x5 values, 2 x 3 tiles, channels
    monkeypatch.setattr(winograd, "PART_BYTES", 2 * of_an_image)
    assert winograd._in_parts(x, kernel)[0] == parts
    found = winograd.convolve(x, kernel), *winograd.gradients(x, kernel, seed)
    expected, pull_back = jax.vjp(plain_convolve, x, kernel)
    for mine, theirs in zip(found, (expected, *pull_back(seed)), strict=True):
        assert_float32_close(mine, theirs)


@pytest.mark.parametrize(("tile", "size"), [(m, r) for m in (2, 3) for r in (3, 4, 5)])
def test_winograd_s_transforms_filter_exactly(tile, size):
    """F(m, r) on whole numbers, in fractions: the outputs are the filter's, without any rounding."""
    fractions = winograd.exact_transforms(tile, size)

    def times(matrix, vector):
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]

    taps = [3, -7, 2, 5, 11][:size]
    inputs = [1, 4, -2, 8, 5, 7, -6][: tile + size - 1]
    products = [
        a * b for a, b in zip(times(fractions[1], taps), times(fractions[2], inputs), strict=True)
    ]
    expected = [sum(inputs[i + k] * taps[k] for k in range(size)) for i in range(tile)]
    assert times(fractions[0], products) == expected


@pytest.mark.parametrize("size", [3, 4, 5])
def test_winograd_rounds_as_its_docstring_says(size, monkeypatch):
    """Against sums in float64, of 256 channels (96 for 5x5): the largest error over the largest output."""
    channels, largest = {3: (256, 2e-6), 4: (256, 3e-6), 5: (96, 5e-6)}[size]
    x, kernel = normal((2, 12, 12, channels)), normal((size, size, channels, 8), 1)
    taken = np.lib.stride_tricks.sliding_window_view(np.float64(x), (size, size), axis=(1, 2))
    exact = np.einsum("bhwcij,ijcf->bhwf", taken, np.float64(kernel), optimize=True)
    for tile in winograd.TILES:
        monkeypatch.setattr(winograd, "TILES", (tile,))
        error = np.abs(np.float64(winograd.convolve(x, kernel)) - exact).max()
        assert error < largest * np.abs(exact).max(), (tile, error / np.abs(exact).max())
    monkeypatch.undo()


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("scale", [1e-28, 1e28])
def test_winograd_keeps_float32_s_range(size, scale):
    """Where the plain sum's values and gradients are far from 0 and infinity, so are these."""
    x, kernel = normal((2, 12, 12, 4)), normal((size, size, 4, 5), 1)
    small = 0.02 * kernel
    seed = normal(plain_convolve(x, kernel).shape, 2)
    found = winograd.convolve(scale * x, small), *winograd.gradients(x, small, scale * seed)
    want = winograd.convolve(x, small), *winograd.gradients(x, small, seed)
    for actual, expected in zip(found, want, strict=True):
        np.testing.assert_allclose(np.float64(actual) / scale, expected, rtol=1e-3, atol=1e-4)


def test_winograd_takes_the_tile_with_the_fewest_products():
    """Of outputs 23 (5x5), 9, 7 and 5 a side (3x3): 8, 3, 3 and 2 tiles of 3; of 4 a side two of 2."""
    for side, size, tile in ((27, 5, 3), (11, 3, 3), (9, 3, 3), (7, 3, 3), (6, 3, 2)):
        assert winograd._Tiling((1, side, side, 8), size).tile == tile, (side, size)


def test_winograd_names_what_it_cannot_build():
    with pytest.raises(ValueError, match=r"F\(4, 5\) needs 7 points; there are sets of 3 to 6"):
        winograd.transforms(4, 5)
