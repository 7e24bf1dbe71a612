"""Late fusion: two distant frames, joined after block 3 (paper, section IV-B, Figure 6)."""

import jax

from stfer.models.blocks import Endpoints, FrameByFrame, Head, named


class LateFusion(FrameByFrame):
    """Two towers with shared weights; their flattened features are concatenated before the head."""

    frames: int = 2

    def setup(self) -> None:
        super().setup()
        self.head = Head(self.num_classes, self.head_features, self.dtype)

    def join(self, features: jax.Array) -> tuple[jax.Array, Endpoints]:
        """Concatenate the features [batch, frames, features] of a clip and classify them."""
        fused = features.reshape(features.shape[0], -1)
        logits, out = self.head(fused)
        return logits, {"fused": fused} | named(head=out)
