"""Single frame: the apex alone through blocks 1-3 and the head (paper, section IV-A, Figure 4)."""

from typing import ClassVar

import flax.linen as nn
import jax

from stfer.models.blocks import Architecture, Endpoints, Head, named, tower_of


class SingleFrame(Architecture):
    """One frame, no time: the baseline."""

    frames: ClassVar[int] = 1

    @nn.compact
    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips [batch, 1, height, width, channel]; see `Architecture`."""
        self.check_clips(clips)
        tower = tower_of(self)
        x, out = tower(clips[:, 0], train, mask)
        logits, head = Head(self.num_classes, self.head_features, self.dtype, name="head")(x)
        return logits, out | named(head=head) | {"logits": logits}
