"""Optimisers and learning-rate schedules by name, composed from optax.

A schedule knows its fold's own number of steps, though one compiled program serves all folds: an optimiser here
is an optax transformation without a learning rate, and the step multiplies by the rate of `learning_rate`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from stfer.registries import Registry
from stfer.training.config import TrainConfig

OPTIMIZERS: Registry[Callable[[TrainConfig], optax.GradientTransformation]] = Registry("optimizer")
SCHEDULES: Registry[Callable[[Array], Array]] = Registry("schedule")


def register_optimizer(name: str) -> Callable[[Any], Any]:
    """Register a function from settings to an optax transformation of gradients, without a learning rate."""
    return OPTIMIZERS.register(name)


def register_schedule(name: str) -> Callable[[Any], Any]:
    """Register a function from the share of the training after warm-up, 0 to 1, to a factor of the rate."""
    return SCHEDULES.register(name)


@register_optimizer("adam")
def adam(config: TrainConfig) -> optax.GradientTransformation:
    """Adam (Kingma & Ba 2015)."""
    return optax.scale_by_adam(eps=config.adam_epsilon)


@register_optimizer("adamw")
def adamw(config: TrainConfig) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""
    return optax.chain(adam(config), _decay(config))


@register_optimizer("sgd")
def sgd(config: TrainConfig) -> optax.GradientTransformation:
    """Stochastic gradient descent with Nesterov's momentum 0.9 (Sutskever et al. 2013)."""
    return optax.chain(_decay(config), optax.trace(decay=0.9, nesterov=True))


@register_optimizer("momentum")
def momentum(config: TrainConfig) -> optax.GradientTransformation:
    """Stochastic gradient descent with classical momentum 0.9 (Polyak 1964), as Caffe and Theano code has it."""
    return optax.chain(_decay(config), optax.trace(decay=0.9))


@register_optimizer("plain_sgd")
def plain_sgd(config: TrainConfig) -> optax.GradientTransformation:
    """Stochastic gradient descent without momentum."""
    return _decay(config)


def _decay(config: TrainConfig) -> optax.GradientTransformation:
    return optax.add_decayed_weights(
        config.weight_decay, mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
    )


@register_schedule("constant")
def constant(share: Array) -> Array:
    """The same rate to the end."""
    return jnp.ones_like(share)


@register_schedule("cosine")
def cosine(share: Array) -> Array:
    """Half a cosine from 1 to 0 (Loshchilov & Hutter 2017)."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * share))


@register_schedule("linear")
def linear(share: Array) -> Array:
    """Straight from 1 to 0."""
    return 1.0 - share


@register_schedule("steps")
def steps(share: Array) -> Array:
    """A tenth after half of the training, a hundredth after three quarters."""
    return jnp.where(share < 0.5, 1.0, jnp.where(share < 0.75, 0.1, 0.01))


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """The settings' optimiser with clipping, without its learning rate.

    Raises:
        ValueError: The optimiser is unknown.
    """
    optimizer = OPTIMIZERS.find(config.optimizer)(config)
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)
    return optimizer


def learning_rate(
    config: TrainConfig, step: Array, steps_an_epoch: Array | np.ndarray | np.integer
) -> Array | float:
    """The learning rate of a step.

    Args:
        config: The settings: `learning_rate`, `schedule`, `warmup_epochs`, `epochs`.
        step: int32 [], from 0.
        steps_an_epoch: int32 [], the fold's own.

    Raises:
        ValueError: The schedule is unknown.
    """
    schedule = SCHEDULES.find(config.schedule)
    if schedule is constant and not config.warmup_epochs:
        return config.learning_rate
    warmup = config.warmup_epochs * steps_an_epoch
    total = config.epochs * steps_an_epoch
    rising = jnp.minimum(1.0, (step + 1) / jnp.maximum(warmup, 1.0))
    share = jnp.clip((step - warmup) / jnp.maximum(total - warmup, 1.0), 0.0, 1.0)
    return config.learning_rate * rising * schedule(share)
