"""Dropout: nothing extra is needed, each step has a key of its own."""

import flax.linen as nn
import jax.numpy as jnp

from stfer.models import register


@register("with_dropout")
class WithDropout(nn.Module):
    """One dense layer on the last frame, half of whose inputs are dropped in training."""

    num_classes: int = 6
    dtype: jnp.dtype = jnp.float32
    frames: int = 1

    @nn.compact
    def __call__(self, clips, *, train=False):
        """Map clips [batch, 1, height, width, 3] to logits [batch, num_classes]."""
        x = nn.Dropout(0.5, deterministic=not train)(clips.reshape(len(clips), -1))
        return nn.Dense(self.num_classes)(x), {}
