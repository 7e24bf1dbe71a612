"""What is learned: a task turns a model's outputs and a batch into losses, and outputs into probabilities.

The default is classification. Softmax stands here alone: training, evaluation, prediction and export ask
the task for probabilities. A task from outside is a class with the same three methods:

    @register_task("my_task")
    class MyTask(Task):
        def loss(self, outputs, batch): ...
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from jax import Array

from stfer.registries import Registry
from stfer.training.config import TrainConfig

Batch = Mapping[str, Array]


class Task:
    """Base of all tasks; its own methods are those of classification, so a task overrides what differs.

    Attributes:
        streams: Names of the streams of a set that the loss needs beside the model's inputs, such as labels
            a frame; a batch then holds them at the frames of the model's first input.
    """

    streams: ClassVar[tuple[str, ...]] = ()

    def loss(self, outputs: Any, batch: Batch) -> Array:
        """The loss of each row.

        Args:
            outputs: What the model returned first: float32 logits [batch, classes] for a classifier.
            batch: The model's inputs, `label` int32 [batch], and the task's `streams`.

        Returns:
            float32 [batch].
        """
        raise NotImplementedError

    def probabilities(self, outputs: Any) -> Array:
        """Class probabilities of each row: float32 [batch, classes]."""
        return jax.nn.softmax(outputs)

    def correct(self, outputs: Any, batch: Batch) -> Array:
        """1 for each row whose most probable class is its label, else 0: float32 [batch]."""
        chosen = self.probabilities(outputs).argmax(-1)
        return (chosen == batch["label"]).astype(jnp.float32)


@dataclass(frozen=True)
class Classification(Task):
    """One class a clip: softmax cross-entropy.

    Attributes:
        label_smoothing: Share of the target spread evenly over all classes (Szegedy et al. 2016, section 7).
    """

    label_smoothing: float = 0.0

    def loss(self, outputs: Array, batch: Batch) -> Array:
        """Cross-entropy of logits [batch, classes] and `label`; see `Task`."""
        if not self.label_smoothing:
            return optax.softmax_cross_entropy_with_integer_labels(outputs, batch["label"])
        targets = jax.nn.one_hot(batch["label"], outputs.shape[-1])
        return optax.softmax_cross_entropy(
            outputs, optax.smooth_labels(targets, self.label_smoothing)
        )

    def correct(self, outputs: Array, batch: Batch) -> Array:
        """See `Task`; taken from the logits, whose order softmax keeps."""
        return (outputs.argmax(-1) == batch["label"]).astype(jnp.float32)


TASKS: Registry[Callable[[TrainConfig], Task]] = Registry("task")


def register_task(name: str) -> Callable[[Any], Any]:
    """Register a task under `name`: a `Task` class without arguments, or a function from settings to a task.

    Raises:
        ValueError: Another task has the name.
    """
    return TASKS.register(name)


@register_task("classification")
def classification(config: TrainConfig) -> Task:
    """Classification with the settings' label smoothing."""
    return Classification(config.label_smoothing)


def make_task(name: str, config: TrainConfig) -> Task:
    """The task of a name with the settings.

    Raises:
        ValueError: No task has the name.
    """
    entry = TASKS.find(name)
    return entry() if isinstance(entry, type) else entry(config)
