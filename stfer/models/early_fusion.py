"""Early fusion: ten frames stacked on the channels, then as a single frame (paper, section IV-B, Figure 5)."""

import flax.linen as nn
import jax

from stfer.models.blocks import Architecture, Endpoints, head_of, named, tower_of
from stfer.models.layers.rearrangement import stack_frames


class EarlyFusion(Architecture):
    """The first convolution sees all frames: 30 channels, frame 0's three colours first."""

    frames: int = 10

    @nn.compact
    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips [batch, frames, height, width, channel]; see `Architecture`."""
        self.check_clips(clips)
        clips = self.normalized(clips)
        stacked = stack_frames(clips)
        tower = tower_of(self)
        x, out = tower(stacked, train, mask)
        logits, head = head_of(self)(x, train)
        return logits, {"stacked": stacked} | out | named(head=head) | {"logits": logits}
