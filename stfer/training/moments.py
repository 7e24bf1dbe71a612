"""Batch statistics computed anew: one pass over the training clips under the final weights.

The running statistics of a training are averages over weights that went on changing. Reference: Wu & Johnson 2021,
"Rethinking 'Batch' in BatchNorm", section 3 ("precise" statistics).
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from stfer.models.apply import Batch, scaled
from stfer.training.step import (
    FoldConstants,
    Learner,
    TrainState,
    gathered,
    kept,
    over_steps,
    step_key,
    training_pass,
)


class Moments(NamedTuple):
    """Sums over batches, each weighed by its clips: of means, and of mean squares, in the tree of the statistics."""

    mean: Any
    square: Any
    count: Array  # type: ignore[assignment]  # It hides the method of all tuples.


def counted_statistics(batch_stats: Any) -> dict[str, Any]:
    """The statistics that can be computed anew, by path: those of `stfer.models.layers.normalization.BatchNorm`.

    They are told by their fields mean, var and weight; a module from outside may have others, which stay as they are.
    """
    if not isinstance(batch_stats, Mapping):
        return {}
    if set(batch_stats) == {"mean", "var", "weight"}:
        return {"": batch_stats}
    return {
        f"{name}/{path}": found
        for name, part in batch_stats.items()
        for path, found in counted_statistics(part).items()
    }


def no_moments(state: TrainState) -> Moments:
    """Moments of no batch at all."""
    found = counted_statistics(state.batch_stats)
    zeros = {path: jnp.zeros_like(part["mean"]) for path, part in found.items()}
    return Moments(zeros, jax.tree.map(jnp.zeros_like, zeros), jnp.zeros((), jnp.float32))


def add_moments(
    learner: Learner,
    carry: tuple[TrainState, Moments],
    pool: Batch,
    indices: Array,
    rows: Array,
    mask: Array,
    active: Array,
    fold: FoldConstants,
    axis_name: str | None = None,
) -> tuple[TrainState, Moments]:
    """Add the moments of batches that pass through the model as in training, without augmentation.

    Args:
        learner: See `stfer.training.step.train_step`.
        carry: The state, whose weights are used and which stays as it is, and the moments so far.
        pool: See `stfer.training.step.train_steps`, as are the rest.
        indices: int32 [steps, batch].
        rows: int32 [steps, batch].
        mask: float32 [steps, batch].
        active: bool [steps].
        fold: See `stfer.training.step.train_step`.
        axis_name: See `stfer.training.step.train_step`.
    """
    state, moments = carry

    def take(moments, indices, rows, mask):
        # From weight 0, the running statistics after one batch are that batch's.
        fresh = jax.tree.map(jnp.zeros_like, state.batch_stats)
        key = jax.random.fold_in(step_key(learner.config, fold, state.step), rows[0])
        batch = scaled(gathered(pool, indices))
        _, batch_stats = training_pass(learner, state.params, fresh, batch, mask, key, axis_name)
        count = mask.sum()
        count = lax.psum(count, axis_name) if axis_name else count
        found = counted_statistics(batch_stats)
        mean = {path: part["mean"] for path, part in found.items()}
        square = {path: part["var"] + jnp.square(part["mean"]) for path, part in found.items()}
        add = functools.partial(jax.tree.map, lambda total, new: total + count * new)
        new = Moments(add(moments.mean, mean), add(moments.square, square), moments.count + count)
        return new, None

    return state, over_steps(take, None, moments, (indices, rows, mask), active)[0]


def use_moments(learner: Learner, state: TrainState, moments: Moments) -> TrainState:
    """The state with the batch statistics of the moments: mean, and mean square less the mean's square."""
    count = jnp.maximum(moments.count, 1.0)

    def replaced(statistics, prefix):
        if not isinstance(statistics, Mapping):
            return statistics
        if prefix in moments.mean:
            mean = moments.mean[prefix] / count
            variance = jnp.maximum(moments.square[prefix] / count - jnp.square(mean), 0.0)
            return {"mean": mean, "var": variance, "weight": jnp.ones_like(statistics["weight"])}
        return {name: replaced(part, f"{prefix}{name}/") for name, part in statistics.items()}

    found = replaced(state.batch_stats, "")
    return state.replace(batch_stats=kept(learner.trains, found, state.batch_stats))
