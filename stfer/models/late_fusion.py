"""Late fusion: two distant frames, joined after block 3 (paper, section IV-B, Figure 6)."""

import jax

from stfer.models.blocks import Endpoints, FrameByFrame, head_of, named


class LateFusion(FrameByFrame):
    """Two towers with shared weights; their flattened features are concatenated before the head."""

    frames: int = 2

    def setup(self) -> None:
        """Build the shared tower and what joins its two outputs."""
        super().setup()
        self.head = head_of(self)

    def join(self, features: jax.Array, *, train: bool = False) -> tuple[jax.Array, Endpoints]:
        """Concatenate the features [batch, frames, features] of a clip and classify them."""
        fused = features.reshape(features.shape[0], -1)
        logits, out = self.head(fused, train)
        return logits, {"fused": fused} | named(head=out)
