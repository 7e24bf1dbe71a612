"""Late fusion: two distant frames, joined after block 3 (paper, section IV-B, Figure 6)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from stfer.models.blocks import Architecture, Endpoints, Head, named, tower_of


class LateFusion(Architecture):
    """Two towers with shared weights; their flattened features are concatenated before the head."""

    frames: int = 2

    @nn.compact
    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips [batch, frames, height, width, channel]; see `Architecture`."""
        self.check_clips(clips)
        towers = tower_of(self, shared=True)
        x, out = towers(jnp.moveaxis(clips, 1, 0), train, mask)  # [tower, batch, features]
        fused = jnp.concatenate(list(x), axis=-1)
        logits, head = Head(self.num_classes, self.head_features, self.dtype, name="head")(fused)
        return logits, out | {"fused": fused} | named(head=head) | {"logits": logits}
