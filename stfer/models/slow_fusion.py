"""Slow fusion: time is joined a little at every block (paper, section IV-B, Figure 7; Karpathy et al., 2014)."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from stfer.models.blocks import (
    Architecture,
    Block,
    Block3,
    Endpoints,
    head_of,
    named,
    shared_towers,
)
from stfer.models.layers.rearrangement import stack_frames


class SlowFusion(Architecture):
    """Four overlapping stacks of four frames, joined to two after block 1 and to one after block 2."""

    frames: ClassVar[int] = 10

    @nn.compact
    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips [batch, 10, height, width, channel]; see `Architecture`."""
        self.check_clips(clips)
        clips = self.normalized(clips)
        common = {"dtype": self.dtype, "axis_name": self.axis_name, "plain": self.plain}
        # Frames 0-3, 2-5, 4-7, 6-9: [stack, batch, height, width, 4 * channel].
        stacks = jnp.stack([stack_frames(clips[:, first : first + 4]) for first in (0, 2, 4, 6)])
        block1 = shared_towers(Block)(self.block1_features, (11, 11), 3, name="block1", **common)
        x, out1 = block1(stacks, train, mask)
        pairs = jnp.stack([jnp.concatenate([x[i], x[i + 1]], axis=-1) for i in (0, 2)])
        block2 = shared_towers(Block)(self.block2_features, (5, 5), name="block2", **common)
        x, out2 = block2(pairs, train, mask)
        fused = jnp.concatenate([x[0], x[1]], axis=-1)
        x, out3 = Block3(self.block3_features, self.dtype, self.plain, name="block3")(fused)
        logits, head = head_of(self)(x, train)
        out = named(block1=out1, block2=out2, block3=out3, head=head)
        return logits, {"stacks": jnp.moveaxis(stacks, 0, 1)} | out | {"logits": logits}
