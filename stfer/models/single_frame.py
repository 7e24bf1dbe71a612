"""Single frame: the apex alone through blocks 1-3 and the head (paper, section IV-A, Figure 4)."""

from typing import ClassVar

import flax.linen as nn
import jax

from stfer.models.blocks import Architecture, Endpoints, Head, Tower, named


class SingleFrame(Architecture):
    """One frame, no time: the baseline."""

    frames: ClassVar[int] = 1

    @nn.compact
    def __call__(
        self, clips: jax.Array, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips [batch, 1, height, width, channel]; see `Architecture`."""
        self.check_clips(clips)
        tower = Tower(
            self.block1_features,
            self.block2_features,
            self.block3_features,
            self.dtype,
            self.axis_name,
            name="tower",
        )
        x, out = tower(clips[:, 0], mask, train)
        logits, head = Head(self.num_classes, self.head_features, self.dtype, name="head")(x)
        return logits, out | named(head=head) | {"logits": logits}
