"""Dropout: what it keeps, how it scales, and which random numbers it takes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.models.layers.dropout import Dropout, kept_share, random_mask


def dropped(rate, x, seed=0, train=True):
    return Dropout(rate).apply({}, x, train=train, rngs={"dropout": jax.random.key(seed)})


@pytest.mark.parametrize("rate", [0.25, 0.3, 0.5, 0.999])
def test_the_share_that_is_kept(rate):
    x = np.asarray(dropped(rate, jnp.ones((1000, 33))))
    kept = x > 0
    # Six standard deviations of a binomial share.
    assert abs(kept.mean() - (1 - rate)) < 6 * (rate * (1 - rate) / x.size) ** 0.5
    np.testing.assert_allclose(x[kept], 1 / kept_share(rate), rtol=1e-6)
    assert kept_share(rate) == pytest.approx(1 - rate, abs=2**-17)


@pytest.mark.parametrize("share", [0.75, 0.7000122070312500])  # in bytes; in two
def test_neighbours_and_bytes_of_one_word_are_independent(share):
    mask = np.asarray(random_mask(jax.random.key(3), share, (1 << 18,))).astype(float) - share
    for apart in (1, 2, 3, 4, 5):
        correlation = (mask[apart:] * mask[:-apart]).mean() / (share * (1 - share))
        assert abs(correlation) < 6 / 2**9, apart


def test_the_mask_is_that_of_the_key_s_bytes():
    key = jax.random.key(1)
    bytes_ = np.asarray(jax.random.bits(key, (6,), jnp.uint32)).view(np.uint8)[:21].reshape(7, 3)
    np.testing.assert_array_equal(random_mask(key, 0.5, (7, 3)), bytes_ < 128)
    words = np.asarray(jax.random.bits(key, (11,), jnp.uint32)).view(np.uint16)[:21].reshape(7, 3)
    np.testing.assert_array_equal(random_mask(key, 1 / 2**16, (7, 3)), words < 1)


@pytest.mark.parametrize("rate", [0.25, 0.3])
def test_rows_are_dropped_alike_in_batches_of_any_length(rate):
    x = jnp.ones((9, 5))
    np.testing.assert_array_equal(dropped(rate, x)[:4], dropped(rate, x[:4]))
    assert (dropped(rate, x, seed=1) != dropped(rate, x)).any()


def test_the_limits():
    x = jnp.arange(6.0, dtype=jnp.bfloat16)
    for same in (dropped(0.0, x), dropped(0.9, x, train=False), dropped(1e-9, x)):
        np.testing.assert_array_equal(same, x)
    assert not dropped(1.0, x).any()
    assert dropped(0.5, x).dtype == jnp.bfloat16
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"dropout must be in \[0, 1\]"):
            dropped(wrong, x)


def test_a_dropped_value_has_no_gradient():
    x = jnp.arange(1.0, 65.0)
    gradient = jax.grad(lambda x: dropped(0.5, x).sum())(x)
    np.testing.assert_array_equal(gradient, dropped(0.5, jnp.ones(64)))
