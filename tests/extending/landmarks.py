"""Landmarks as a second input: the last frame, and the points of the last eight frames."""

import flax.linen as nn
import jax.numpy as jnp

from stfer.data.clips import ClipRule, last_frames
from stfer.models import register


@register(
    "with_landmarks",
    inputs=("frames", "landmarks"),
    clips={"frames": ClipRule((-1,)), "landmarks": last_frames(8)},
)
class WithLandmarks(nn.Module):
    """Features of the picture and of the points' movement, side by side."""

    num_classes: int = 6
    dtype: jnp.dtype = jnp.float32
    frames: int = 1
    features: int = 16

    @nn.compact
    def __call__(self, clips, landmarks, *, train=False):
        """Map clips [batch, 1, height, width, 3] and points [batch, 8, points, 2] to logits."""
        moved = (landmarks - landmarks[:, :1]).reshape(len(landmarks), -1)
        picture = nn.relu(nn.Dense(self.features)(clips.reshape(len(clips), -1)))
        motion = nn.relu(nn.Dense(self.features)(moved))
        logits = nn.Dense(self.num_classes)(jnp.concatenate([picture, motion], axis=-1))
        return logits, {"picture": picture, "motion": motion}
