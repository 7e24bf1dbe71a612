"""3D convolution: blocks 1 and 2 convolve over time as well (paper, section IV-C, Figure 8; Tran et al., 2015)."""

from typing import Any, ClassVar

import flax.linen as nn
import jax

from stfer.models.blocks import Architecture, Block, Block3, Endpoints, head_of, named


class Conv3D(Architecture):
    """Five frames become three after block 1 and one after block 2; then the time axis is dropped."""

    frames: ClassVar[int] = 5

    @nn.compact
    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips [batch, 5, height, width, channel]; see `Architecture`."""
        self.check_clips(clips)
        clips = self.normalized(clips)
        common: dict[str, Any] = {
            "dtype": self.dtype,
            "axis_name": self.axis_name,
            "plain": self.plain,
        }
        block1 = Block(self.block1_features, (3, 11, 11), 3, name="block1", **common)
        x, out1 = block1(clips, train, mask)
        block2 = Block(self.block2_features, (3, 5, 5), name="block2", **common)
        x, out2 = block2(x, train, mask)
        x, out3 = Block3(self.block3_features, self.dtype, self.plain, name="block3")(x[:, 0])
        logits, head = head_of(self)(x, train)
        out = named(block1=out1, block2=out2, block3=out3, head=head)
        return logits, out | {"logits": logits}
