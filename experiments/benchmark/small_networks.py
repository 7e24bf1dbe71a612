"""Networks of a few thousand parameters under names of the paper's six, for measuring all that is not a network.

`--modules=experiments.benchmark.small_networks` registers `small_single_frame` and the other five: each sees as many
frames as the one that it is named after, in one strided convolution.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from stfer import models
from stfer.models.layers.normalization import BatchNorm

NAMES = tuple(
    f"small_{name}"
    for name in ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")
)


class Small(nn.Module):
    """Frames side by side, a strided convolution, batch normalisation, a dense layer."""

    num_classes: int = 6
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    frames: int = 1

    @nn.compact
    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Map clips [batch, time, height, width, channel] to float32 logits [batch, num_classes]."""
        batch, time, height, width, channel = clips.shape
        x = jnp.moveaxis(clips, 1, 3).reshape(batch, height, width, time * channel)
        side = max(height // 4, 1)
        convolution = nn.Conv(8, (side, side), side, padding="VALID", dtype=self.dtype, name="conv")
        x = nn.relu(convolution(x))
        norm = BatchNorm(device_axis=self.axis_name, dtype=self.dtype, name="bn")
        x = norm(x, train=train, mask=mask)
        logits = nn.Dense(self.num_classes, name="logits")(x.reshape(batch, -1))
        return logits.astype(jnp.float32), {"logits": logits}


@models.register("small_single_frame")
class SmallSingleFrame(Small):
    """Of 1 frame."""

    frames: int = 1


@models.register("small_early_fusion")
class SmallEarlyFusion(Small):
    """Of 10 frames."""

    frames: int = 10


@models.register("small_late_fusion")
class SmallLateFusion(Small):
    """Of 2 frames."""

    frames: int = 2


@models.register("small_slow_fusion")
class SmallSlowFusion(Small):
    """Of 10 frames."""

    frames: int = 10


@models.register("small_conv3d")
class SmallConv3D(Small):
    """Of 5 frames."""

    frames: int = 5


@models.register("small_rnn")
class SmallRnn(Small):
    """Of 5 frames."""

    frames: int = 5
