"""Two stages with frozen layers: features learned on the apex, then a head for two frames on top of them."""

import flax.linen as nn
import jax.numpy as jnp

from stfer.data.clips import ClipRule
from stfer.models import register
from stfer.training.stages import Stage, register_stages


@register("apex")
class Apex(nn.Module):
    """Features of the last frame, and logits."""

    num_classes: int = 6
    dtype: jnp.dtype = jnp.float32
    frames: int = 1

    @nn.compact
    def __call__(self, clips, *, train=False):
        features = nn.relu(nn.Dense(16, name="features")(clips.reshape(*clips.shape[:2], -1)))
        return nn.Dense(self.num_classes, name="logits")(features.reshape(len(clips), -1)), {}


@register("apex_then_pair", clips=ClipRule((-15, -1)))
class Pair(Apex):
    """The same features of two frames, and logits of their own."""

    frames: int = 2


register_stages("apex_then_pair")(
    Stage("features", settings={"architecture": "apex"}),
    Stage("head", start={"features": "features/features"}, trains=("logits/*",)),
)
