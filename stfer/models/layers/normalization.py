"""Batch normalisation over real rows, towers and devices at once (Ioffe and Szegedy, 2015).

Flax's own layer averages per-device means, so it is exact only where every device has equally many real rows; this
one sums values and counts over every axis first, so a padded, split or stacked batch gives what the plain one gives.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike


def _sum_over(values: jax.Array, axis_names: Sequence[str]) -> jax.Array:
    for axis_name in axis_names:
        values = lax.psum(values, axis_name)
    return values


def _per_channel(values: jax.Array, like: jax.Array) -> jax.Array:
    return values.reshape((1,) * (like.ndim - 1) + (-1,))


def _row_weights(mask: jax.Array | None, x: jax.Array) -> jax.Array:
    """1 for a row that counts, 0 for padding: [batch, 1, ..., 1]."""
    if mask is None:
        return jnp.ones((x.shape[0],) + (1,) * (x.ndim - 1), jnp.float32)
    return (mask != 0).astype(jnp.float32).reshape((-1,) + (1,) * (x.ndim - 1))


def batch_statistics(
    x: jax.Array, mask: jax.Array | None = None, axis_names: Sequence[str] = ()
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean and biased variance of each channel over the rows that count.

    Args:
        x: [batch, ..., channel].
        mask: [batch], 0 for rows that do not count; None where all do.
        axis_names: mapped axes to sum over as well.

    Returns:
        float32 mean [channel], variance [channel] and count [] of values a channel.
    """
    axes = tuple(range(x.ndim - 1))
    weights = _row_weights(mask, x)
    x = x.astype(jnp.float32)
    per_row = x.size // (x.shape[0] * x.shape[-1])
    count = _sum_over(weights.sum() * per_row, axis_names)

    def average(values: jax.Array) -> jax.Array:
        sums = jnp.where(weights > 0, values, 0.0).sum(axes)
        return _sum_over(sums, axis_names) / jnp.maximum(count, 1.0)

    # In two passes: E[x²] - E[x]² would lose the variance of features that hardly vary around a large mean.
    mean = average(x)
    return mean, average(jnp.square(x - _per_channel(mean, x))), count


class BatchNorm(nn.Module):
    """Batch normalisation of the last axis, with the constants of Keras.

    Running statistics are the exponential average of Keras and Flax, `0.99 * running + 0.01 * batch`, without its
    start at mean 0 and variance 1: after t steps they are divided by the weight 1 - 0.99^t that the batches have (the
    bias correction of Adam, Kingma and Ba 2015, section 3). After the paper's 200 epochs that weight is 1 to float32
    rounding; after the first hundred steps it is 0.63, and a model that still believed in variance 1 would answer
    every clip with the same probabilities. The variance is the biased one (Keras 2 multiplied it by n / (n - 1), here
    at most 1.00006). Before the first step they are mean 0, variance 1.

    Attributes:
        axis_names: mapped axes inside the model that share the statistics (towers).
        device_axis: a mapped axis outside the model that shares them too, or None. It is not bound while parameters
            are initialised and is left out then.
    """

    momentum: float = 0.99
    epsilon: float = 1e-3
    axis_names: Sequence[str] = ()
    device_axis: str | None = None
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> jax.Array:
        """Normalise [batch, ..., channel]; `mask` [batch] marks the rows that enter the statistics."""
        features = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones_init(), features)
        bias = self.param("bias", nn.initializers.zeros_init(), features)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features)
        running_var = self.variable("batch_stats", "var", jnp.ones, features)
        running_weight = self.variable("batch_stats", "weight", jnp.zeros, ())
        if train:
            axis_names = tuple(self.axis_names)
            if self.device_axis is not None and not self.is_initializing():
                axis_names += (self.device_axis,)
            mean, var, count = batch_statistics(x, mask, axis_names)
            if not self.is_initializing():
                # A batch of padding alone says nothing about the data.
                step = jnp.where(count > 0, 1.0 - self.momentum, 0.0)
                running_weight.value += step * (1.0 - running_weight.value)
                rate = step / jnp.maximum(running_weight.value, 1.0 - self.momentum)
                running_mean.value += rate * (lax.stop_gradient(mean) - running_mean.value)
                running_var.value += rate * (lax.stop_gradient(var) - running_var.value)
        else:
            mean, var = running_mean.value, running_var.value
        factor = scale * lax.rsqrt(var + self.epsilon)
        y = (x - _per_channel(mean, x)) * _per_channel(factor, x) + _per_channel(bias, x)
        return y.astype(self.dtype)
