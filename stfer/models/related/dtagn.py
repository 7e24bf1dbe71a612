"""DTAN, DTGN and their joint fine-tuning DTAGN: Jung, Lee, Yim, Park and Kim, ICCV 2015 (the paper's [5]).

The temporal appearance network sees three frames as input channels of a plain convolution, so every frame has a filter
of its own: f = relu(sum_t w_t * x_t + b). The temporal geometry network sees the landmarks of twelve frames. Both are
trained alone; then all but their last layers is frozen and these are trained on the sum of the logits.

    DTAN: 64x64x3 grey              weights     DTGN: 12 x 49 x 2               weights
    conv 5x5 VALID, 64     60x60      4,800     1176 (noise, dropout .1)
    LRN 5, max pool 2      30x30                dense 100 ReLU (dropout .1)     117,600
    conv 5x5 VALID, 64     26x26    102,400     dense 600 ReLU                   60,000
    LRN 3, max pool 2      13x13                logits C                          600 C
    dense 500 ReLU        (dropout .5) 5,408,000
    dense 500 ReLU        (dropout .5)   250,000
    logits C                               500 C

Published: the joint training and its drawing; 5950K weights on CK+ (7 classes; Kuo et al. 2018, Table 3): the layers
above have 5,950,500, to the last digit. Authors' code (a later rewrite): images of 3x64x64, geometry of 1176 values.
Recalled: kernel and pool sizes, LRN sizes, dropout .5, the loss weights 1, 1, 0.1, points relative to the nose and
divided by their spread, noise of 0.01. Our choice: AlexNet's constants of LRN; dropout .1 of the geometry (recalled
with little certainty); frames equally spaced over the last
fifteen (the paper's shortest sequence); the noise is in units of the crop.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, dense, named
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.dropout import Dropout
from stfer.models.layers.pooling import max_pool
from stfer.models.layers.response_norm import local_response_norm
from stfer.models.related.inputs import check_inputs, check_landmarks, grey, resized

NOSE_TIP = 13


class DTAN(nn.Module):
    """Temporal appearance network.

    Fields: `num_classes`, `dtype`; `frames` seen; `size` of a frame in pixels; widths; `dropout` of both dense layers.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    frames: int = 3
    size: int = 64
    conv_features: Sequence[int] = (64, 64)
    appearance_features: Sequence[int] = (500, 500)
    dropout: float = 0.5

    @nn.compact
    def __call__(
        self, frames: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify frames [batch, time, height, width, channel] in [0, 1]: float32 logits [batch, num_classes]."""
        check_inputs("dtan", self.frames, frames)
        out = {}
        x = resized(grey(frames), self.size)
        x = out["input"] = jnp.moveaxis(x[..., 0], 1, -1).astype(self.dtype)  # frames as channels
        for number, (features, neighbours) in enumerate(
            zip(self.conv_features, (5, 3), strict=True), start=1
        ):
            name = f"conv{number}"
            x = out[name] = Convolution(features, (5, 5), dtype=self.dtype, name=name)(x)
            x = out[f"norm{number}"] = local_response_norm(x, neighbours)
            x = out[f"pool{number}"] = max_pool(x)
        x = out["flatten"] = x.reshape(x.shape[0], -1)
        for number, features in enumerate(self.appearance_features, start=1):
            name = f"dense{number}"
            x = out[name] = nn.relu(dense(features, self.dtype, name)(x))
            x = Dropout(self.dropout)(x, train=train)
        logits = out["logits"] = dense(self.num_classes, jnp.float32, "logits")(x)
        return logits, out


def geometry(landmarks: jax.Array) -> jax.Array:
    """Points relative to the nose's tip, divided by their spread, each frame and each axis by itself.

        x_i = (x_i - x_nose) / std(x)

    Args:
        landmarks: [..., 49, 2].

    Returns:
        The same shape; where all points have one x (or y), that coordinate is 0.
    """
    spread = jnp.sqrt(jnp.maximum(landmarks.var(-2, keepdims=True), 1e-12))
    return (landmarks - landmarks[..., NOSE_TIP : NOSE_TIP + 1, :]) / spread


class DTGN(nn.Module):
    """Temporal geometry network.

    Fields: `num_classes`, `dtype`; `frames` seen; widths; `dropout` of the input and the first layer; `noise`, the
    standard deviation added to coordinates in training, as a fraction of the crop.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    frames: int = 12
    geometry_features: Sequence[int] = (100, 600)
    dropout: float = 0.1
    noise: float = 0.01

    @nn.compact
    def __call__(
        self, landmarks: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify landmarks [batch, time, 49, 2] in crop coordinates: float32 logits [batch, num_classes]."""
        check_landmarks("dtgn", landmarks, self.frames)
        out = {}
        if train and self.noise:
            key = self.make_rng("dropout")
            landmarks += self.noise * jax.random.normal(key, landmarks.shape, landmarks.dtype)
        x = out["geometry"] = geometry(landmarks).astype(self.dtype)
        x = x.reshape(x.shape[0], -1)
        for number, features in enumerate(self.geometry_features, start=1):
            name = f"dense{number}"
            x = Dropout(self.dropout)(x, train=train)
            x = out[name] = nn.relu(dense(features, self.dtype, name)(x))
        logits = out["logits"] = dense(self.num_classes, jnp.float32, "logits")(x)
        return logits, out


class DTAGN(nn.Module):
    """Both networks, with the sum of their logits.

    The outputs are the three rows of logits that the joint task wants: appearance, geometry, sum. Only the last one
    predicts. What the joint stage freezes is the stage's matter, not the module's.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    frames: int = 3
    landmark_frames: int = 12
    size: int = 64
    conv_features: Sequence[int] = (64, 64)
    appearance_features: Sequence[int] = (500, 500)
    geometry_features: Sequence[int] = (100, 600)

    @nn.compact
    def __call__(
        self,
        frames: jax.Array,
        landmarks: jax.Array,
        *,
        train: bool = False,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, Endpoints]:
        """Classify frames and landmarks: float32 logits [batch, 3, num_classes]."""
        appearance, out1 = DTAN(
            self.num_classes,
            self.dtype,
            self.frames,
            self.size,
            self.conv_features,
            self.appearance_features,
            name="dtan",
        )(frames, train=train)
        landmark_logits, out2 = DTGN(
            self.num_classes, self.dtype, self.landmark_frames, self.geometry_features, name="dtgn"
        )(landmarks, train=train)
        logits = appearance + landmark_logits
        out = named(dtan=out1, dtgn=out2) | {"logits": logits}
        return jnp.stack([appearance, landmark_logits, logits], axis=1), out


# Published settings: SGD with momentum, dropout, weight decay (recalled). Values: our choice.
PRESETS = {
    "dtan": {
        "optimizer": "momentum",
        "learning_rate": 0.01,
        "weight_decay": 5e-4,
        "schedule": "steps",
        "batch_size": 64,
        "epochs": 100,
    },
}
PRESETS["dtgn"] = PRESETS["dtan"]
PRESETS["dtagn"] = PRESETS["dtan"] | {"learning_rate": 0.001}
