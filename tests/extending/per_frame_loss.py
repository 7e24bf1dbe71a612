"""A loss of one's own on per-frame labels: the set has a stream `frame_label` int32 [frames], 0 for calm."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from stfer.models import register
from stfer.training.task import Task, register_task


@register_task("per_frame")
class PerFrame(Task):
    """Cross-entropy of every frame; the clip's class is what its frames say on average, calm left out."""

    streams = ("frame_label",)

    def loss(self, outputs, batch):
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, batch["frame_label"])
        return losses.mean(axis=1)

    def probabilities(self, outputs):
        return jax.nn.softmax(outputs[..., 1:].mean(axis=1))


@register("frame_by_frame", task="per_frame")
class FrameByFrame(nn.Module):
    """Logits [batch, time, calm and the classes] of four frames."""

    num_classes: int = 6
    dtype: jnp.dtype = jnp.float32
    frames: int = 4

    @nn.compact
    def __call__(self, clips, *, train=False):
        return nn.Dense(1 + self.num_classes)(clips.reshape(*clips.shape[:2], -1)), {}
