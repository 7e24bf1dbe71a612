"""The train state and the pure functions on it: initialise, train over some steps, classify.

Rows of a batch beyond the data are padding with mask 0. They enter neither the loss, nor the
accuracy, nor the batch statistics, so a padded batch trains exactly as the short one would, and one
compiled program serves folds of every size. Steps without any row are skipped.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import Array, lax

from stfer.training.config import TrainConfig


class TrainState(flax.struct.PyTreeNode):
    """What a training step changes. Model and optimiser are arguments, never fields.

    Attributes:
        step: int32 []: steps taken so far.
        params: The model's trainable parameters, float32.
        batch_stats: Running mean and variance of every batch normalisation, float32.
        opt_state: Adam's moments.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any


class Totals(NamedTuple):
    """Sums over clips; divide by `count` once, at the end (never average averages)."""

    loss: Array
    correct: Array
    count: Array

    @staticmethod
    def zero() -> "Totals":
        return Totals(*(jnp.zeros((), jnp.float32) for _ in Totals._fields))


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Adam with the settings' learning rate and epsilon (Kingma & Ba 2015)."""
    return optax.adam(config.learning_rate, eps=config.adam_epsilon)


def init_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    clip_shape: tuple[int, ...],
    key: Array,
) -> TrainState:
    """Return a freshly initialised state.

    Args:
        model: Called as `model.apply(variables, clips, train=...)`.
        optimizer: An optax transformation.
        clip_shape: `(time, height, width, channel)` of one clip.
        key: The random key of the initial parameters.
    """
    variables = model.init(key, jnp.zeros((1, *clip_shape), jnp.float32))
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
    )


def scale_frames(frames: Array) -> Array:
    """uint8 frames in 0..255 to float32 in [0, 1]."""
    return frames.astype(jnp.float32) / 255.0


def takes_mask(model: nn.Module) -> bool:
    """Whether the model's call has a `mask` argument (ours have; one from outside may not)."""
    return "mask" in inspect.signature(type(model).__call__).parameters


def _training_pass(
    model: nn.Module, params: Any, batch_stats: Any, clips: Array, mask: Array
) -> tuple[Array, Any]:
    """Logits of uint8 clips with the statistics of their rows of data, and the running statistics after them."""
    options = {"mask": mask} if takes_mask(model) else {}
    (logits, _), updates = model.apply(
        {"params": params, "batch_stats": batch_stats},
        scale_frames(clips),
        train=True,
        mutable=["batch_stats"],
        **options,
    )
    return logits, updates.get("batch_stats", {})


def train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    clips: Array,
    labels: Array,
    mask: Array,
    axis_name: str | None = None,
) -> tuple[TrainState, Totals]:
    """One step of Adam on the mean cross-entropy of the rows whose mask is 1.

    Args:
        model: Called with `train=True` (and `mask=` where it has that argument).
        optimizer: The transformation that `state.opt_state` belongs to.
        state: The state before the step.
        clips: uint8 [batch, time, height, width, channel].
        labels: int32 [batch].
        mask: float32 [batch], 1 for a row of data, 0 for padding; at least one 1 over all devices.
        axis_name: The pmap axis that the batch is split over, if it is.

    Returns:
        The state after the step, and the totals of the whole batch as seen before the update.
    """

    def all_devices(x):
        return lax.psum(x, axis_name) if axis_name else x

    count = all_devices(mask.sum())

    def mean_loss(params):
        logits, batch_stats = _training_pass(model, params, state.batch_stats, clips, mask)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels) * mask
        return losses.sum() / count, (logits, batch_stats)

    (loss, (logits, batch_stats)), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    grads = all_devices(grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    correct = ((logits.argmax(-1) == labels) * mask).sum()
    totals = Totals(all_devices(loss) * count, all_devices(correct), count)
    new_state = TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    return new_state, totals


def train_steps(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    pool: Array,
    labels: Array,
    indices: Array,
    mask: Array,
    active: Array,
    axis_name: str | None = None,
) -> tuple[TrainState, Totals]:
    """Several steps in one program, each batch gathered from a pool on the device.

    More than one step is a `lax.scan`. One step is no loop: XLA's CPU backend runs convolutions in a
    loop's body many times slower than outside.

    Args:
        model: See `train_step`.
        optimizer: See `train_step`.
        state: The state before the first step.
        pool: uint8 [clips, time, height, width, channel].
        labels: int32 [clips].
        indices: int32 [steps, batch], rows of the pool.
        mask: float32 [steps, batch].
        active: bool [steps], the same on all devices: False skips a step and leaves the state as it is.
        axis_name: See `train_step`.

    Returns:
        The state after the last step, and each step's totals, float32 [steps].
    """

    def take(state, rows, row_mask):
        return train_step(model, optimizer, state, pool[rows], labels[rows], row_mask, axis_name)

    return _over_steps(take, Totals.zero(), state, indices, mask, active)


class Moments(NamedTuple):
    """Sums over batches, each weighed by its clips: of means, and of mean squares, in the tree of the statistics."""

    mean: Any
    square: Any
    count: Array


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
    model: nn.Module,
    carry: tuple[TrainState, Moments],
    pool: Array,
    labels: Array,
    indices: Array,
    mask: Array,
    active: Array,
    axis_name: str | None = None,
) -> tuple[TrainState, Moments]:
    """Add the moments of batches that pass through the model as in training; the state stays as it is.

    Args:
        model: See `train_step`.
        carry: The state, whose weights are used, and the moments so far.
        pool: See `train_steps`, as are the rest.
        labels: Not used.
        indices: int32 [steps, batch].
        mask: float32 [steps, batch].
        active: bool [steps].
        axis_name: See `train_step`.
    """
    del labels
    state, moments = carry

    def take(moments, rows, row_mask):
        # From weight 0, the running statistics after one batch are that batch's.
        fresh = jax.tree.map(jnp.zeros_like, state.batch_stats)
        _, batch_stats = _training_pass(model, state.params, fresh, pool[rows], row_mask)
        count = row_mask.sum()
        count = lax.psum(count, axis_name) if axis_name else count
        found = counted_statistics(batch_stats)
        mean = {path: part["mean"] for path, part in found.items()}
        square = {path: part["var"] + jnp.square(part["mean"]) for path, part in found.items()}
        add = functools.partial(jax.tree.map, lambda total, new: total + count * new)
        new = Moments(add(moments.mean, mean), add(moments.square, square), moments.count + count)
        return new, None

    return state, _over_steps(take, None, moments, indices, mask, active)[0]


def use_moments(state: TrainState, moments: Moments) -> TrainState:
    """The state with the batch statistics of the moments: mean, and mean square less the mean's square.

    Reference: Wu & Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3 ("precise" statistics).
    """
    count = jnp.maximum(moments.count, 1.0)

    def replaced(statistics, prefix):
        if not isinstance(statistics, Mapping):
            return statistics
        if prefix in moments.mean:
            mean = moments.mean[prefix] / count
            variance = jnp.maximum(moments.square[prefix] / count - jnp.square(mean), 0.0)
            return {"mean": mean, "var": variance, "weight": jnp.ones_like(statistics["weight"])}
        return {name: replaced(part, f"{prefix}{name}/") for name, part in statistics.items()}

    return state.replace(batch_stats=replaced(state.batch_stats, ""))


def _over_steps(
    take: Callable, nothing: Any, state: Any, indices: Array, mask: Array, active: Array
) -> tuple[Any, Any]:
    """`take(state, rows, mask) -> (state, output)` step after step; `nothing` is an inactive step's output."""

    def one(state, step):
        rows, row_mask, is_active = step
        return lax.cond(is_active, lambda s: take(s, rows, row_mask), lambda s: (s, nothing), state)

    if len(indices) > 1:
        return lax.scan(one, state, (indices, mask, active))
    taken = take(state, indices[0], mask[0])
    new, output = jax.tree.map(
        lambda new, old: jnp.where(active[0], new, old), taken, (state, nothing)
    )
    return new, jax.tree.map(lambda leaf: leaf[None], output)


def classify(model: nn.Module, state: TrainState, clips: Array) -> Array:
    """Class probabilities of clips with the running batch statistics: float32 [batch, classes]."""
    return jax.nn.softmax(_eval_logits(model, state, clips))


def score(
    model: nn.Module, state: TrainState, pool: Array, labels: Array, indices: Array, mask: Array
) -> Totals:
    """`evaluate` on rows of a pool: indices int32 [rows], mask float32 [rows]."""
    return evaluate(model, state, pool[indices], labels[indices], mask)


def evaluate(
    model: nn.Module, state: TrainState, clips: Array, labels: Array, mask: Array
) -> Totals:
    """Totals of loss and correct answers over the rows whose mask is 1, with the running batch statistics."""
    logits = _eval_logits(model, state, clips)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    correct = logits.argmax(-1) == labels
    return Totals((losses * mask).sum(), (correct * mask).sum(), mask.sum())


def _eval_logits(model: nn.Module, state: TrainState, clips: Array) -> Array:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits, _ = model.apply(variables, scale_frames(clips), train=False)
    return logits
