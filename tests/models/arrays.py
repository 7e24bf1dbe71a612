"""Arrays for tests of operations, and how near they must be."""

import jax.numpy as jnp
import numpy as np
import pytest


def slow(cases):
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_float32_close(actual, expected, label=""):
    """Equal to a few float32 roundings of the largest value."""
    assert actual.shape == expected.shape, label
    assert actual.dtype == expected.dtype, label
    error = np.abs(np.float64(actual) - np.float64(expected)).max()
    assert error <= 5e-6 * np.abs(expected).max(), (label, error)
