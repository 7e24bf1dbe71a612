"""Single frame: the apex alone through blocks 1-3 and the head (paper, section IV-A, Figure 4)."""

from typing import ClassVar

import jax

from stfer.models.blocks import Endpoints, FrameByFrame, head_of, named, tower_of


class SingleFrame(FrameByFrame):
    """One frame, no time: the baseline."""

    frames: ClassVar[int] = 1

    def setup(self) -> None:
        """Build the tower and the head."""
        self.tower = tower_of(self)
        self.head = head_of(self)

    def encode(
        self, frames: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """The features [batch, 1, features] of frames [batch, 1, height, width, channel]."""
        features, out = self.tower(self.normalized(frames[:, 0]), train, mask)
        return features[:, None], out

    def join(self, features: jax.Array, *, train: bool = False) -> tuple[jax.Array, Endpoints]:
        """Classify the features [batch, 1, features]."""
        logits, out = self.head(features[:, 0], train)
        return logits, named(head=out)
