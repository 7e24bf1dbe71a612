"""The Fourier transforms."""

import numpy as np

from stfer.models.layers import fourier


def test_large_kernels_over_many_channels_take_the_transforms():
    assert fourier.pays((32, 7, 28, 28, 64), (3, 9, 9, 64, 234))
    assert fourier.pays((32, 24, 24, 64), (11, 11, 64, 64))
    for few in (
        ((32, 28, 28, 3), (9, 9, 3, 64)),  # input channels
        ((4, 28, 28, 64), (9, 9, 64, 64)),  # images to share the kernel's transform
        ((32, 27, 27, 96), (5, 5, 96, 256)),  # taps
    ):
        assert not fourier.pays(*few), few


def test_the_transforms_are_numpy_s():
    x = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype(np.float32)
    for height, width in ((7, 10), (9, 13)):
        found = np.asarray(fourier._transform(x, height, width))  # [v, u, n, part, c]
        expected = np.fft.rfft2(x, (height, width), axes=(1, 2)).transpose(1, 2, 0, 3)
        np.testing.assert_allclose(found[..., 0, :] + 1j * found[..., 1, :], expected, atol=1e-4)
        back = np.asarray(fourier._inverse(found, width, 7, 10))
        np.testing.assert_allclose(back, x, atol=1e-5)
