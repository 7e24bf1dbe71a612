"""How the systems of the paper's section III are trained: their tasks, stages and published settings.

What each network is, and which of its numbers are published, stands in its file in `stfer.models.related`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from stfer.models.layers.crf import Chain, last_label_scores, log_likelihood
from stfer.models.related import cnn_irnn, dap3d, dtagn, inception, inception_resnet_crf, strnn
from stfer.training.config import register_preset
from stfer.training.stages import Stage, register_stages
from stfer.training.task import Batch, Task, register_task

_cross_entropy = optax.softmax_cross_entropy_with_integer_labels


@register_task("every_frame")
class EveryFrame(Task):
    """Logits of every frame, each of which has the sequence's label; probabilities are averaged over the frames."""

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Mean cross-entropy over time of logits [batch, time, classes]."""
        labels = jnp.broadcast_to(batch["label"][:, None], outputs.shape[:2])
        return _cross_entropy(outputs, labels).mean(1)

    def probabilities(self, outputs: Array) -> Array:
        """See `Task`."""
        return jax.nn.softmax(outputs).mean(1)


@register_task("joint")
@dataclass(frozen=True)
class Joint(Task):
    """Two networks and the sum of their logits, each with a loss; the sum predicts (Jung et al. 2015, equation 5).

    Attributes:
        weights: of the losses of the first, the second and the sum: 1, 1 and 0.1 (recalled of [5]).
    """

    weights: tuple[float, float, float] = (1.0, 1.0, 0.1)

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Weighted cross-entropies of logits [batch, 3, classes]."""
        labels = jnp.broadcast_to(batch["label"][:, None], outputs.shape[:2])
        return _cross_entropy(outputs, labels) @ jnp.asarray(self.weights)

    def probabilities(self, outputs: Array) -> Array:
        """See `Task`."""
        return jax.nn.softmax(outputs[:, -1])


@register_task("penalised")
class Penalised(Task):
    """Classification by a model that adds a penalty on its own weights: outputs (logits, penalty [batch])."""

    def loss(self, outputs: tuple[Array, Array], batch: Batch) -> Array:
        """Cross-entropy of logits [batch, classes], and the penalty."""
        logits, penalty = outputs
        return _cross_entropy(logits, batch["label"]) + penalty

    def probabilities(self, outputs: tuple[Array, Array]) -> Array:
        """See `Task`."""
        return jax.nn.softmax(outputs[0])


def frame_labels(labels: Array, time: int, classes: int) -> Array:
    """Which labels each frame of a sequence from neutral to apex may have, neutral being the last: a choice.

    The first third is neutral, the last third shows the expression, the frames between may be either. Of fewer than
    three frames the last one shows it, and all before are neutral.

    Args:
        labels: int32 [batch], the expressions.
        time: number of frames.
        classes: number of expressions.

    Returns:
        float32 [batch, time, classes + 1], 1 where a label is possible.
    """
    third = max(time // 3, 1)
    place = np.arange(time)
    shown = (place >= time - third).astype(np.float32)
    neutral = ((place < third) & (shown == 0)).astype(np.float32)
    between = 1 - shown - neutral
    expression = jax.nn.one_hot(labels, classes + 1)[:, None]
    calm = jax.nn.one_hot(jnp.full_like(labels, classes), classes + 1)[:, None]
    shown, neutral, between = (part[None, :, None] for part in (shown, neutral, between))
    return expression * (shown + between) + calm * (neutral + between)


@register_task("neutral_frames")
class NeutralFrames(Task):
    """Logits of every frame, of the expressions and neutral (last): frames between both are left out of the loss."""

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Mean cross-entropy of logits [batch, time, classes + 1] over the frames whose label is known."""
        allowed = frame_labels(batch["label"], outputs.shape[1], outputs.shape[2] - 1)
        known = allowed.sum(-1) == 1
        losses = _cross_entropy(outputs, allowed.argmax(-1))
        return (losses * known).sum(1) / known.sum(1)

    def probabilities(self, outputs: Array) -> Array:
        """Of the last frame's expressions."""
        return jax.nn.softmax(outputs[:, -1, :-1])


@register_task("crf")
class ChainTask(Task):
    """A chain over the frames' labels, of the expressions and neutral (last); see `frame_labels`.

    The loss is the negative log-likelihood of the known frames a frame, those between summed over. A sequence's
    probabilities are the softmax of the best path's score by its last label, so its class is the last label of
    Viterbi's path (neutral apart).
    """

    def loss(self, outputs: Chain, batch: Batch) -> Array:
        """Negative log-likelihood of chains with a leading batch axis, divided by the number of frames."""
        time, labels = outputs.unary.shape[1:]
        allowed = frame_labels(batch["label"], time, labels - 1)
        return -jax.vmap(log_likelihood)(outputs, allowed) / time

    def probabilities(self, outputs: Chain) -> Array:
        """See the class."""
        return jax.nn.softmax(jax.vmap(last_label_scores)(outputs)[:, :-1])


def _part(part: str, task: str, **settings: Any) -> dict[str, Any]:
    return {"model": {"part": part}, "task": task} | settings


def _network(**settings: Any) -> dict[str, Any]:
    return {"model": {"stage": "network"}, "task": "neutral_frames"} | settings


def _register(name: str, joint: Mapping, irnn: Mapping, chain: Mapping) -> None:
    """Stages of the three systems that have any; `name` is formatted with the system."""
    register_stages(name.format("dtagn"))(
        Stage(
            "appearance", {"architecture": "dtan", "task": "classification"} | joint.get("dtan", {})
        ),
        Stage(
            "geometry", {"architecture": "dtgn", "task": "classification"} | joint.get("dtgn", {})
        ),
        Stage(
            "joint",
            joint.get("dtagn", {}),
            start={"dtan": "appearance", "dtgn": "geometry"},
            trains=("dtan/logits/*", "dtgn/logits/*"),
        ),
    )
    register_stages(name.format("cnn_irnn"))(
        Stage("cnn", _part("cnn", "every_frame") | irnn.get("cnn", {})),
        Stage(
            "irnn",
            _part("irnn", "classification") | irnn.get("irnn", {}),
            start="cnn",
            trains=("irnn/*", "irnn_logits/*"),
        ),
        Stage(
            "fusion",
            _part("fusion", "penalised") | irnn.get("fusion", {}),
            start="irnn",
            trains=("fusion/*",),
        ),
    )
    register_stages(name.format("inception_resnet_crf"))(
        Stage("network", _network() | chain.get("network", {})),
        Stage("chain", chain.get("chain", {}), start="network", trains=("chain/*",)),
    )


# An architecture trains by the stages of its own name, with the run's settings; the published settings of each stage
# are stages of another name, which the preset of that name asks for.
_register("{}", {}, {}, {})
_register("{}_published", dtagn.PRESETS, cnn_irnn.PRESETS, inception_resnet_crf.PRESETS)
for _name in ("dtagn", "cnn_irnn", "inception_resnet_crf"):
    register_preset(f"{_name}_published", stages=f"{_name}_published")
_PUBLISHED: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("dtan", dtagn.PRESETS["dtan"]),
    ("dtgn", dtagn.PRESETS["dtgn"]),
    ("inception", inception.PRESETS["inception"]),
    ("dap3d", dap3d.PRESETS["dap3d"]),
    ("strnn", strnn.PRESETS["strnn"]),
)
for _name, _settings in _PUBLISHED:
    register_preset(f"{_name}_published", **_settings)
