"""Calling a model with a batch: the one place that scales frames and names a model's arguments.

Training, evaluation, prediction and export go through `scaled` and `apply`.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

Batch = Mapping[str, jax.Array]


def scaled(batch: Batch) -> dict[str, jax.Array]:
    """The batch with `frames` as float32 in [0, 1] where they are uint8 in 0..255; all else as it is."""
    frames = batch.get("frames")
    if frames is None or frames.dtype != jnp.uint8:
        return dict(batch)
    return dict(batch) | {"frames": scale_frames(frames)}


def scale_frames(frames: jax.Array) -> jax.Array:
    """uint8 frames in 0..255 to float32 in [0, 1]."""
    return frames.astype(jnp.float32) / 255.0


def takes_mask(module: nn.Module) -> bool:
    """Whether the module's call has a `mask` argument (ours have; one from outside may not)."""
    return "mask" in inspect.signature(type(module).__call__).parameters


def apply(
    module: nn.Module,
    inputs: Sequence[str],
    variables: Mapping[str, Any],
    batch: Batch,
    *,
    train: bool = False,
    mask: jax.Array | None = None,
    **options: Any,
) -> Any:
    """`module.apply` on the named inputs of a scaled batch.

    Args:
        module: Called `(*inputs, train=..., mask=...)`; `mask` only where it has that argument.
        inputs: Names of its inputs, in its order.
        variables: `{"params": ..., "batch_stats": ...}`.
        batch: See `scaled`; may hold more than the inputs.
        train: Whether it trains.
        mask: float32 [batch], 0 for rows of padding.
        **options: Further arguments of `module.apply`, such as `rngs` and `mutable`.

    Returns:
        What the module returns, `(outputs, endpoints)`; with `mutable`, and the updated collections.
    """
    if mask is not None and takes_mask(module):
        options["mask"] = mask
    return module.apply(variables, *(batch[name] for name in inputs), train=train, **options)
