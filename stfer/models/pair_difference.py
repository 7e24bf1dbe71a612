"""A small network of a calm face and a later one: local contrast of both, and their difference. Ours, not the paper's.

What a person looks like is in both frames and cancels in the difference; what the light does is taken out by the local
contrast. With `frames=1` the same network sees a single frame and no reference.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, dense
from stfer.models.layers.contrast import grey, normalized
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.dropout import Dropout
from stfer.models.layers.normalization import BatchNorm
from stfer.models.layers.pooling import max_pool

SMALLEST = 56  # pixels a side: of a smaller frame nothing is left after the last convolution


class PairDifference(nn.Module):
    """Four convolutions and a dense layer on the reference, the frame, and the frame less the reference, all grey.

    Each block is convolution, ReLU, batch normalisation, and mostly 2x2 max pooling. Of 96 pixels the inner 72 are
    looked at; 5x5 places with 192 features are left of them.

    Attributes:
        num_classes: length of the logits.
        dtype: type of the computation; parameters, batch statistics and logits are float32.
        axis_name: a mapped axis over which batch statistics are joint, or None.
        frames: 2 for (reference, frame), 1 for a single frame.
        features: widths of the convolutions; the first is 5x5 with stride 2, the others 3x3.
        pooled: numbers of the convolutions that 2x2 max pooling follows.
        border: share of the side that is cut off all around, after the local contrast: hair, ears and background. An
            augmentation that moves the frame before has real pixels to bring in.
        head_features: width of the dense layer.
        dropout: share of the features that is dropped in training before the dense layer and before the logits.
        normalize: a key of `stfer.models.layers.contrast.NORMALIZATIONS`.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    frames: int = 2
    features: Sequence[int] = (32, 64, 128, 192)
    pooled: Sequence[int] = (2, 3)
    border: float = 0.125
    head_features: int = 128
    dropout: float = 0.3
    normalize: str = "local_contrast"

    @nn.compact
    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips.

        Args:
            clips: float [batch, frames, height, width, 3 or 1] in [0, 1]; the reference first.
            train: normalise by the batch and drop features; needs `rngs={"dropout": key}`.
            mask: [batch], 0 for padding.

        Returns:
            float32 logits [batch, num_classes] and the endpoints.

        Raises:
            ValueError: the clips have another number of frames or channels, or are too small.
        """
        if clips.ndim != 5 or clips.shape[1] != self.frames or clips.shape[-1] not in (1, 3):
            raise ValueError(
                f"PairDifference takes clips [batch, {self.frames}, height, width, 3 or 1], not an array of shape "
                f"{clips.shape}"
            )
        if min(clips.shape[2:4]) < SMALLEST:
            raise ValueError(
                f"PairDifference takes frames of at least {SMALLEST}x{SMALLEST} pixels, not "
                f"{clips.shape[2]}x{clips.shape[3]}"
            )
        pictures = self._inner(normalized(grey(clips), self.normalize))
        channels = [pictures[:, time] for time in range(self.frames)]
        if self.frames == 2:
            channels.append(channels[1] - channels[0])
        out = {"pictures": pictures}
        x = jnp.concatenate(channels, axis=-1)
        for number, features in enumerate(self.features, start=1):
            size, stride = ((5, 5), 2) if number == 1 else ((3, 3), 1)
            name = f"conv{number}"
            x = out[name] = Convolution(features, size, stride, self.dtype, name=name)(x)
            x = out[f"bn{number}"] = BatchNorm(
                device_axis=self.axis_name, dtype=self.dtype, name=f"bn{number}"
            )(x, train=train, mask=mask)
            if number in self.pooled:
                x = out[f"pool{number}"] = max_pool(x)
        x = out["flatten"] = x.reshape(x.shape[0], -1)
        x = Dropout(self.dropout)(x, train=train)
        x = out["dense"] = nn.relu(dense(self.head_features, self.dtype, "dense")(x))
        x = Dropout(self.dropout)(x, train=train)
        logits = dense(self.num_classes, jnp.float32, "logits")(x)
        return logits, out | {"logits": logits}

    def _inner(self, pictures: jax.Array) -> jax.Array:
        """[..., height, width, channel] without the border."""
        height, width = pictures.shape[-3:-1]
        down, across = round(height * self.border), round(width * self.border)
        return pictures[..., down : height - down, across : width - across, :]
