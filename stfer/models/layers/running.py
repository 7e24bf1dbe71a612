"""Statistics of the training data that a model keeps: plain averages over all rows seen so far.

They live among the batch statistics, so a fold's are of its training subjects alone and travel with its weights.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


class RunningMoments(nn.Module):
    """Mean and variance of each entry over all rows seen in training (Chan, Golub and LeVeque 1983, equation 1.5).

    After the first pass over the training set they are its own, whatever the batches; before the first row, mean 0 and
    variance 1.

    Attributes:
        limit: rows beyond which old ones begin to be forgotten, so that the counts stay exact in float32.
        device_axis: a mapped axis outside the model that shares the statistics, or None.
    """

    limit: float = 1e6
    device_axis: str | None = None

    @nn.compact
    def __call__(
        self, rows: jax.Array, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Take in rows [batch, ...] where `train`, and return float32 mean and biased variance, each [...].

        Args:
            rows: the data; the gradient does not pass to it.
            train: whether these rows count.
            mask: [batch], 0 for rows that do not count.
        """
        shape = rows.shape[1:]
        count = self.variable("batch_stats", "count", jnp.zeros, ())
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        square = self.variable(
            "batch_stats", "square", jnp.zeros, shape
        )  # sum of squared deviations
        if train and not self.is_initializing():
            new = _moments(lax.stop_gradient(rows), mask, self._axes())
            total = jnp.maximum(count.value + new[0], 1.0)
            step = new[1] - mean.value
            merged = mean.value + step * (new[0] / total)
            square.value += new[2] + jnp.square(step) * (count.value * new[0] / total)
            mean.value = jnp.where(new[0] > 0, merged, mean.value)
            kept = jnp.minimum(1.0, self.limit / total)
            count.value, square.value = (
                total * kept * (count.value + new[0] > 0),
                square.value * kept,
            )
        known = count.value > 0
        variance = jnp.where(known, square.value / jnp.maximum(count.value, 1.0), 1.0)
        return mean.value, variance

    def _axes(self) -> Sequence[str]:
        return () if self.device_axis is None else (self.device_axis,)


def _moments(
    rows: jax.Array, mask: jax.Array | None, axes: Sequence[str]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Count [], mean [...] and sum of squared deviations [...] of the rows that count."""
    rows = rows.astype(jnp.float32)
    weights = jnp.ones(len(rows)) if mask is None else (mask != 0).astype(jnp.float32)
    weights = weights.reshape((-1,) + (1,) * (rows.ndim - 1))

    def total(values: jax.Array) -> jax.Array:
        values = jnp.where(weights > 0, values, 0.0).sum(0)
        for axis in axes:
            values = lax.psum(values, axis)
        return values

    count = total(jnp.ones_like(weights)).reshape(())
    mean = total(rows) / jnp.maximum(count, 1.0)
    return count, mean, total(jnp.square(rows - mean[None]))
