"""The train state and the pure functions on it: initialise, train over some steps, classify.

Rows of a batch beyond the data are padding with mask 0. They enter neither the loss, nor the
accuracy, nor the batch statistics, so a padded batch trains exactly as the short one would, and one
compiled program serves folds of every size. Steps without any row are skipped.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import Array, lax

from stfer import models
from stfer.models.apply import Batch, apply, scaled
from stfer.models.fields import parse_fields
from stfer.training import augment, optimizers
from stfer.training.config import TrainConfig
from stfer.training.task import Task, make_task

Paths = Callable[[str], bool]


@dataclass(frozen=True)
class Learner:
    """What is trained, and how: all that is static in a step.

    Attributes:
        module: A module as `stfer.models.create_model` returns it.
        config: The settings.
        task: What is learned.
        inputs: Names of what the module is called with, in its order.
        trains: Whether the parameter at a path such as `head/dense1/kernel` is trained; None for all.
            Batch statistics at other paths stay as they are, too.
    """

    module: nn.Module
    config: TrainConfig
    task: Task
    inputs: tuple[str, ...] = ("frames",)
    trains: Paths | None = None

    @functools.cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """The optimiser, without its learning rate."""
        return optimizers.make_optimizer(self.config)

    @functools.cached_property
    def augmentation(self) -> augment.Augmentation | None:
        """How training examples are changed, or None."""
        return augment.make_augmentation(self.config.augment, self.config.augmentation)


def make_learner(config: TrainConfig, num_classes: int, trains: Paths | None = None) -> Learner:
    """The learner of the settings' architecture and task.

    Raises:
        ValueError: The architecture, one of its fields, or another name of the settings is unknown.
    """
    entry = models.registration(config.architecture)
    dtype = jnp.bfloat16 if config.precision == "bfloat16" else jnp.float32
    module = models.create_model(
        config.architecture, num_classes, dtype, **parse_fields(config.architecture, config.model)
    )
    task = make_task(config.task or entry.task, config)
    learner = Learner(module, config, task, entry.inputs, trains)
    _ = learner.optimizer, learner.augmentation, optimizers.SCHEDULES.find(config.schedule)
    return learner


class FoldConstants(NamedTuple):
    """What a step has to know of its fold.

    Attributes:
        code: uint32 []: the number of the fold's name (`batches.fold_code`), for its random keys.
        steps: int32 []: steps an epoch.
    """

    code: Array | np.ndarray | np.integer
    steps: Array | np.ndarray | np.integer


class TrainState(flax.struct.PyTreeNode):
    """What a training step changes. Model and optimiser are arguments, never fields.

    Attributes:
        step: int32 []: steps taken so far.
        params: The model's trainable parameters, float32.
        batch_stats: Running mean and variance of every batch normalisation, float32.
        opt_state: The optimiser's, such as Adam's moments.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: Any


class Totals(NamedTuple):
    """Sums over clips; divide by `count` once, at the end (never average averages)."""

    loss: Array | np.ndarray
    correct: Array | np.ndarray
    count: Array | np.ndarray  # type: ignore[assignment]  # It hides the method of all tuples.

    @staticmethod
    def zero() -> "Totals":
        """Totals of nothing."""
        return Totals(*(jnp.zeros((), jnp.float32) for _ in Totals._fields))


def init_state(learner: Learner, example: Mapping[str, Any], key: Array) -> TrainState:
    """Return a freshly initialised state.

    Args:
        learner: What is trained.
        example: A batch of one example, as of a set (frames uint8), whose values do not matter.
        key: The random key of the initial parameters.
    """
    inputs = [scaled(example)[name] for name in learner.inputs]
    variables = learner.module.init({"params": key, "dropout": key}, *inputs)
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=learner.optimizer.init(params),
    )


def step_key(config: TrainConfig, fold: FoldConstants, step: Array) -> Array:
    """The one random key of a step; nothing about it is saved, and a resumed run comes by the same."""
    return jax.random.fold_in(
        jax.random.fold_in(jax.random.key(config.seed), fold.code), step.astype(jnp.uint32)
    )


def _augmented(learner: Learner, batch: Batch, rows: Array, key: Array) -> Batch:
    """The batch with each example changed by a key of its own: of the step and of its row in the set."""
    batch = scaled(batch)
    if learner.augmentation is None:
        return batch
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(rows.astype(jnp.uint32))
    return jax.vmap(learner.augmentation)(batch, keys)


def training_pass(
    learner: Learner,
    params: Any,
    batch_stats: Any,
    batch: Batch,
    mask: Array,
    key: Array,
    axis_name: str | None,
) -> tuple[Any, Any]:
    """Outputs with the statistics of the batch's rows of data, and the running statistics after them."""
    if axis_name:  # Each device draws for its own rows.
        key = jax.random.fold_in(key, lax.axis_index(axis_name))
    rngs = {"dropout": jax.random.fold_in(key, 1), "params": jax.random.fold_in(key, 2)}
    variables = {"params": params, "batch_stats": batch_stats}
    (outputs, _), updates = apply(
        learner.module, learner.inputs, variables, batch,
        train=True, mask=mask, rngs=rngs, mutable=["batch_stats"],
    )  # fmt: skip
    return outputs, updates.get("batch_stats", {})


def train_step(
    learner: Learner,
    state: TrainState,
    batch: Batch,
    rows: Array,
    mask: Array,
    fold: FoldConstants,
    axis_name: str | None = None,
) -> tuple[TrainState, Totals]:
    """One step of the optimiser on the mean loss of the rows whose mask is 1.

    Args:
        learner: What is trained, and how.
        state: The state before the step.
        batch: Examples as of the set: `frames` uint8 [batch, time, height, width, channel], `label` int32 [batch], ...
        rows: int32 [batch], their places in the set, for the random keys.
        mask: float32 [batch], 1 for a row of data, 0 for padding; at least one 1 over all devices.
        fold: What belongs to the fold.
        axis_name: The pmap axis that the batch is split over, if it is.

    Returns:
        The state after the step, and the totals of the whole batch as seen before the update.
    """

    def all_devices(x):
        return lax.psum(x, axis_name) if axis_name else x

    count = all_devices(mask.sum())
    key = step_key(learner.config, fold, state.step)
    batch = _augmented(learner, batch, rows, jax.random.fold_in(key, 0))

    def mean_loss(params):
        outputs, batch_stats = training_pass(
            learner, params, state.batch_stats, batch, mask, key, axis_name
        )
        losses = learner.task.loss(outputs, batch) * mask
        return losses.sum() / count, (outputs, batch_stats)

    (loss, (outputs, batch_stats)), grads = jax.value_and_grad(mean_loss, has_aux=True)(
        state.params
    )
    grads = kept(learner.trains, all_devices(grads), jax.tree.map(jnp.zeros_like, grads))
    updates, opt_state = learner.optimizer.update(grads, state.opt_state, state.params)
    rate = optimizers.learning_rate(learner.config, state.step, fold.steps)
    params = optax.apply_updates(state.params, jax.tree.map(lambda u: -rate * u, updates))
    correct = (learner.task.correct(outputs, batch) * mask).sum()
    totals = Totals(all_devices(loss) * count, all_devices(correct), count)
    new_state = TrainState(
        step=state.step + 1,
        params=kept(learner.trains, params, state.params),
        batch_stats=kept(learner.trains, batch_stats, state.batch_stats),
        opt_state=opt_state,
    )
    return new_state, totals


def kept(trains: Paths | None, new: Any, old: Any) -> Any:
    """`new` at the paths that are trained, `old` elsewhere."""
    if trains is None:
        return new

    def choose(path, a, b):
        return a if trains(jax.tree_util.keystr(path, simple=True, separator="/")) else b

    return jax.tree_util.tree_map_with_path(choose, new, old)


def train_steps(
    learner: Learner,
    state: TrainState,
    pool: Batch,
    indices: Array,
    rows: Array,
    mask: Array,
    active: Array,
    fold: FoldConstants,
    axis_name: str | None = None,
) -> tuple[TrainState, Totals]:
    """Several steps in one program, each batch gathered from a pool on the device.

    More than one step is a `lax.scan`. One step is no loop: XLA's CPU backend runs convolutions in a
    loop's body many times slower than outside.

    Args:
        learner: See `train_step`.
        state: The state before the first step.
        pool: Examples [clips, ...]; see `train_step`.
        indices: int32 [steps, batch], places in the pool.
        rows: int32 [steps, batch], their places in the set.
        mask: float32 [steps, batch].
        active: bool [steps], the same on all devices: False skips a step and leaves the state as it is.
        fold: See `train_step`.
        axis_name: See `train_step`.

    Returns:
        The state after the last step, and each step's totals, float32 [steps].
    """

    def take(state, indices, rows, mask):
        return train_step(learner, state, gathered(pool, indices), rows, mask, fold, axis_name)

    return over_steps(take, Totals.zero(), state, (indices, rows, mask), active)


def gathered(pool: Batch, indices: Array) -> Batch:
    """The pool's examples at some places."""
    return {name: array[indices] for name, array in pool.items()}


def over_steps(
    take: Callable, nothing: Any, state: Any, steps: tuple[Array, ...], active: Array
) -> tuple[Any, Any]:
    """`take(state, *step) -> (state, output)` step after step; `nothing` is an inactive step's output."""

    def one(state, step):
        *arguments, is_active = step
        return lax.cond(is_active, lambda s: take(s, *arguments), lambda s: (s, nothing), state)

    if len(active) > 1:
        return lax.scan(one, state, (*steps, active))
    taken = take(state, *(array[0] for array in steps))
    new, output = jax.tree.map(
        lambda new, old: jnp.where(active[0], new, old), taken, (state, nothing)
    )
    return new, jax.tree.map(lambda leaf: leaf[None], output)


def classify(learner: Learner, state: TrainState, batch: Batch) -> Array:
    """Class probabilities of examples with the running batch statistics: float32 [batch, classes]."""
    return learner.task.probabilities(_outputs(learner, state, scaled(batch)))


def score(learner: Learner, state: TrainState, pool: Batch, indices: Array, mask: Array) -> Totals:
    """`evaluate` on examples of a pool: indices int32 [rows], mask float32 [rows]."""
    return evaluate(learner, state, gathered(pool, indices), mask)


def evaluate(learner: Learner, state: TrainState, batch: Batch, mask: Array) -> Totals:
    """Totals of loss and correct answers over the rows whose mask is 1, with the running batch statistics."""
    batch = scaled(batch)
    outputs = _outputs(learner, state, batch)
    losses = learner.task.loss(outputs, batch)
    correct = learner.task.correct(outputs, batch)
    return Totals((losses * mask).sum(), (correct * mask).sum(), mask.sum())


def _outputs(learner: Learner, state: TrainState, batch: Batch) -> Any:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return apply(learner.module, learner.inputs, variables, batch)[0]
