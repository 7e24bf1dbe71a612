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

from stfer.data.clips import ClipRule
from stfer.models.apply import apply, scale_frames, scaled
from stfer.models.registry import FRAMES
from stfer.training.config import PRECISIONS
from stfer.training.task import Classification, Task

LARGEST_BATCH = 32


class Network:
    """A module and its variables, run on whole clips.

    Args:
        module: As `stfer.models.create_model` returns it.
        variables: `{"params": ..., "batch_stats": ...}`.
        precision: A key of `PRECISIONS`.
        inputs: Names of what the module is called with, in order.
        task: Makes probabilities of its outputs.
    """

    def __init__(
        self,
        module: nn.Module,
        variables: Mapping[str, Any],
        precision: str = "float32",
        inputs: Sequence[str] = (FRAMES,),
        task: Task | None = None,
    ):
        self._variables = jax.device_put(dict(variables))
        self._precision = PRECISIONS[precision]
        self._task = task or Classification()

        def probabilities(variables, batch):
            outputs, _ = apply(module, inputs, variables, scaled(batch))
            return self._task.probabilities(outputs)

        self._whole = jax.jit(probabilities)

    def of_batch(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Class probabilities of clips of all inputs, [n, time, ...] each: float32 [n, classes]."""
        return self._batched(self._whole, dict(batch))

    def probabilities(self, clips: np.ndarray) -> np.ndarray:
        """Class probabilities of uint8 clips [n, time, height, width, channel]: float32 [n, classes]."""
        return self.of_batch({FRAMES: clips})

    def encode(self, frames: Sequence[Any]) -> list[Any]:
        """What is kept of each uint8 frame [height, width, channel] until its clips are complete."""
        return list(frames)

    def classify(self, clips: Sequence[Sequence[Any]]) -> np.ndarray:
        """Class probabilities of clips of what `encode` returned: float32 [n, classes]."""
        return self.probabilities(np.stack([np.stack(clip) for clip in clips]))

    def _batched(self, function: Callable, rows: Any) -> np.ndarray:
        """Apply a compiled function in batches of a power of two, so that few programs serve any number.

        `rows` is an array, or a dict of arrays, with the same first axis.
        """
        parts = []
        for start in range(0, len(jax.tree.leaves(rows)[0]), LARGEST_BATCH):
            part = jax.tree.map(lambda array, s=start: array[s : s + LARGEST_BATCH], rows)
            count = len(jax.tree.leaves(part)[0])
            size = 1 << (count - 1).bit_length()

            def padded(array: np.ndarray, more: int = size - count) -> np.ndarray:
                return np.pad(array, [(0, more)] + [(0, 0)] * (array.ndim - 1))

            with jax.default_matmul_precision(self._precision):
                result = function(self._variables, jax.tree.map(padded, part))
            parts.append(np.asarray(result)[:count])
        return np.concatenate(parts)


class TowerNetwork(Network):
    """A module whose frames meet only behind a shared tower: features once a frame."""

    def __init__(
        self,
        module: nn.Module,
        variables: Mapping[str, Any],
        precision: str = "float32",
        task: Task | None = None,
    ):
        super().__init__(module, variables, precision, task=task)

        def features(variables, frames):
            return module.apply(variables, scale_frames(frames)[:, None], method="encode")[0][:, 0]

        def probabilities(variables, features):
            return self._task.probabilities(module.apply(variables, features, method="join")[0])

        self._features = jax.jit(features)
        self._behind = jax.jit(probabilities)

    def encode(self, frames: Sequence[Any]) -> list[Any]:
        """The tower's features of each frame."""
        return list(self._batched(self._features, np.stack(frames))) if len(frames) else []

    def classify(self, clips: Sequence[Sequence[Any]]) -> np.ndarray:
        """Class probabilities of clips of such features, float32 [clips, classes]."""
        return self._batched(self._behind, np.stack([np.stack(clip) for clip in clips]))


class JointNetwork(Network):
    """A module of several inputs, or of landmarks: each frame's item is a dict of what the inputs hold of it.

    Args:
        module: As of `Network`.
        variables: As of `Network`.
        precision: As of `Network`.
        rules: From each input's name, in order, to which frames of a sequence it sees. A clip for `classify` holds the
            frames of `joint_rule(rules)`.
        task: As of `Network`.
    """

    def __init__(
        self,
        module: nn.Module,
        variables: Mapping[str, Any],
        precision: str,
        rules: Mapping[str, ClipRule],
        task: Task | None = None,
    ):
        super().__init__(module, variables, precision, tuple(rules), task)
        order = {offset: place for place, offset in enumerate(joint_rule(rules).offsets)}
        self._places = {
            name: [order[offset] for offset in rule.offsets] for name, rule in rules.items()
        }

    def classify(self, clips: Sequence[Sequence[Any]]) -> np.ndarray:
        """Class probabilities of clips of dicts, float32 [clips, classes]."""
        return self.of_batch(
            {
                name: np.stack(
                    [np.stack([clip[place][name] for place in places]) for clip in clips]
                )
                for name, places in self._places.items()
            }
        )


def joint_rule(rules: Mapping[str, ClipRule]) -> ClipRule:
    """The frames that any of the inputs sees; it slides where all inputs slide alike."""
    alike = set(rules.values())
    if len(alike) == 1:
        return alike.pop()
    return ClipRule(tuple(sorted({offset for rule in alike for offset in rule.offsets})))


def network(
    module: nn.Module,
    variables: Mapping[str, Any],
    precision: str = "float32",
    rules: Mapping[str, ClipRule] | None = None,
    task: Task | None = None,
) -> Network:
    """The cheapest way to run a module over sliding clips; see `Network` and `JointNetwork`.

    Args:
        module: As of `Network`.
        variables: As of `Network`.
        precision: As of `Network`.
        rules: From each input's name, in order, to its clip rule; None for frames alone.
        task: As of `Network`.
    """
    if rules is not None and tuple(rules) != (FRAMES,):
        return JointNetwork(module, variables, precision, rules, task)
    towers = has_towers(type(module))
    return (TowerNetwork if towers else Network)(module, variables, precision, task=task)


def has_towers(module: type[nn.Module]) -> bool:
    """Whether the module's call is what its `encode` and `join` give (`stfer.models.blocks.FrameByFrame`).

    A subclass that overrides `__call__` and leaves the two as they were may join its frames earlier.
    """
    if not (hasattr(module, "encode") and hasattr(module, "join")):
        return False

    def defined(name: str) -> int:
        return next(place for place, owner in enumerate(module.__mro__) if name in vars(owner))

    return defined("__call__") >= max(defined("encode"), defined("join"))
