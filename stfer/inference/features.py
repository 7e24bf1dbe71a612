"""How a trained model's network is run, clip by clip or with each frame's tower computed once.

Single frame, late fusion and the recurrent network send every frame through one shared tower before
anything joins the frames (paper, sections IV-A, IV-B and IV-D). Over a video that slides, a frame is in
many clips: its features are computed once, by the architecture's `encode`, and only its `join` runs on
each clip. The whole model is made of these two as well (`stfer.models.blocks.FrameByFrame`).

Both ways are a `Network`: `encode` turns frames into items, `classify` turns clips of items into
probabilities.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from stfer.training.config import PRECISIONS
from stfer.training.step import scale_frames

LARGEST_BATCH = 32


class Network:
    """A module and its variables, run on whole clips.

    Args:
        module: As `stfer.models.create_model` returns it.
        variables: `{"params": ..., "batch_stats": ...}`.
        precision: A key of `PRECISIONS`.
    """

    def __init__(self, module: nn.Module, variables: Mapping[str, Any], precision: str = "float32"):
        self._variables = jax.device_put(dict(variables))
        self._precision = PRECISIONS[precision]

        def probabilities(variables, clips):
            return jax.nn.softmax(module.apply(variables, scale_frames(clips), train=False)[0])

        self._whole = jax.jit(probabilities)

    def probabilities(self, clips: np.ndarray) -> np.ndarray:
        """Class probabilities of uint8 clips [n, time, height, width, channel]: float32 [n, classes]."""
        return self._batched(self._whole, clips)

    def encode(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What is kept of each uint8 frame [height, width, channel] until its clips are complete."""
        return list(frames)

    def classify(self, clips: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        """Class probabilities of clips of what `encode` returned: float32 [n, classes]."""
        return self.probabilities(np.stack([np.stack(clip) for clip in clips]))

    def _batched(self, function: Callable, rows: np.ndarray) -> np.ndarray:
        """Apply a compiled function in batches of a power of two, so that few programs serve any number."""
        parts = []
        for start in range(0, len(rows), LARGEST_BATCH):
            part = rows[start : start + LARGEST_BATCH]
            size = 1 << (len(part) - 1).bit_length()
            padding = [(0, size - len(part))] + [(0, 0)] * (rows.ndim - 1)
            with jax.default_matmul_precision(self._precision):
                result = function(self._variables, np.pad(part, padding))
            parts.append(np.asarray(result)[: len(part)])
        return np.concatenate(parts)


class TowerNetwork(Network):
    """A module whose frames meet only behind a shared tower: features once a frame."""

    def __init__(self, module: nn.Module, variables: Mapping[str, Any], precision: str = "float32"):
        super().__init__(module, variables, precision)

        def features(variables, frames):
            return module.apply(variables, scale_frames(frames)[:, None], method="encode")[0][:, 0]

        def probabilities(variables, features):
            return jax.nn.softmax(module.apply(variables, features, method="join")[0])

        self._features = jax.jit(features)
        self._behind = jax.jit(probabilities)

    def encode(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        return list(self._batched(self._features, np.stack(frames))) if len(frames) else []

    def classify(self, clips: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        return self._batched(self._behind, np.stack([np.stack(clip) for clip in clips]))


def network(module: nn.Module, variables: Mapping[str, Any], precision: str = "float32") -> Network:
    """The cheapest way to run a module over sliding clips."""
    kind = TowerNetwork if has_towers(type(module)) else Network
    return kind(module, variables, precision)


def has_towers(module: type[nn.Module]) -> bool:
    """Whether the module's call is what its `encode` and `join` give (`stfer.models.blocks.FrameByFrame`).

    A subclass that overrides `__call__` and leaves the two as they were may join its frames earlier.
    """
    if not (hasattr(module, "encode") and hasattr(module, "join")):
        return False

    def defined(name: str) -> int:
        return next(place for place, owner in enumerate(module.__mro__) if name in vars(owner))

    return defined("__call__") >= max(defined("encode"), defined("join"))
