"""Inception-ResNet with a linear-chain CRF over the frames: Hasani and Mahoor, FG 2017 (the paper's [4]).

Every frame goes through a shortened Inception-ResNet (Szegedy et al. 2017) with one module of each kind; its logits, of
the expressions and neutral, are the observations of a chain over the frames.

    block   branches (S = SAME, V = VALID; all with ReLU but "L")                              out
    stem    3x3/2 V 32; 3x3 V 32; 3x3 S 64                                                     147x147x64
            [maxpool 3/2 V] [3x3/2 V 96]                                                       73x73x160
            [1x1 64, 3x3 V 96] [1x1 64, 7x1 64, 1x7 64, 3x3 V 96]                              71x71x192
            [3x3/2 V 192] [maxpool 3/2 V], ReLU                                                35x35x384
    A       1x1 32; 1x1 32, 3x3 32; 1x1 32, 3x3 48, 3x3 64; all -> 1x1 384 L; + identity; ReLU 35x35x384
    redA    maxpool 3/2 V; 3x3/2 V 384; 1x1 256, 3x3 256, 3x3/2 V 384                          17x17x1152
    B       1x1 192; 1x1 128, 1x7 160, 7x1 192; -> 1x1 1152 L; + identity; ReLU                17x17x1152
    redB    maxpool 3/2 V; 1x1 256, 3x3/2 V 384; 1x1 256, 3x3/2 V 288;
            1x1 256, 3x3 288, 3x3/2 V 320                                                      8x8x2144
    C       1x1 192; 1x1 192, 1x3 224, 3x1 256; -> 1x1 2144 L; + identity; ReLU                8x8x2144
    head    average pool, dropout (keep 0.8), dense 1000, logits

Parameters: stem 604,864, A 137,328, redA 2,901,248, B 1,171,232, redB 3,928,064, C 2,087,872: 10,830,608, without
batch normalisation, of which the figure shows none. Published (Fig. 1, read line by line): every size above. The
figure prints "S" where only V gives its 147, and 128 features for A's last 1x1, the depth of the concatenation: 384 is
forced by the addition. The published head keeps 8x8x2144 after its pool and flattens it (`head="flat"`, 137 million
parameters more); `head="global"` averages over the map. Published (Fig. 2): seven observations a frame, one a label,
into the chain.

Our choice: the pool's window, 8x8; residuals are not scaled; the head is "flat" by default, to carry the paper's name;
ReLU after the first dense layer; the unary scores are an affine map of the logits that starts as the identity (119
parameters of the chain at 7 labels). Labels of frames were not found: see `stfer.training.tasks.ChainTask`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, dense
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.crf import Chain, ChainPotentials
from stfer.models.layers.dropout import Dropout
from stfer.models.layers.pooling_windows import max_pool_windows
from stfer.models.related.inputs import check_inputs, resized

# One convolution: features, rows, columns, stride, padding.
Layer = tuple[int, int, int, int, str]


def conv(features: int, rows: int, columns: int, padding: str = "SAME", stride: int = 1) -> Layer:
    """One convolution of a branch."""
    return features, rows, columns, stride, padding


A = (
    (conv(32, 1, 1),),
    (conv(32, 1, 1), conv(32, 3, 3)),
    (conv(32, 1, 1), conv(48, 3, 3), conv(64, 3, 3)),
)
B = (
    (conv(192, 1, 1),),
    (conv(128, 1, 1), conv(160, 1, 7), conv(192, 7, 1)),
)
C = (
    (conv(192, 1, 1),),
    (conv(192, 1, 1), conv(224, 1, 3), conv(256, 3, 1)),
)
REDUCTION_A = (
    (conv(384, 3, 3, "VALID", 2),),
    (conv(256, 1, 1), conv(256, 3, 3), conv(384, 3, 3, "VALID", 2)),
)
REDUCTION_B = (
    (conv(256, 1, 1), conv(384, 3, 3, "VALID", 2)),
    (conv(256, 1, 1), conv(288, 3, 3, "VALID", 2)),
    (conv(256, 1, 1), conv(288, 3, 3), conv(320, 3, 3, "VALID", 2)),
)


class Branches(nn.Module):
    """Rows of convolutions side by side on one input, concatenated on the channels; with `pool`, a max pool first."""

    rows: tuple[tuple[Layer, ...], ...]
    divide: int
    dtype: DTypeLike
    pool: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [batch, height, width, in] to the branches' outputs side by side."""
        ends = [max_pool_windows(x, 3, 2)] if self.pool else []
        for row, layers in enumerate(self.rows, start=1):
            y = x
            for place, (features, high, wide, stride, padding) in enumerate(layers, start=1):
                y = Convolution(
                    features // self.divide, (high, wide), stride, self.dtype, padding=padding,
                    name=f"branch{row}_conv{place}",
                )(y)  # fmt: skip
            ends.append(y)
        return jnp.concatenate(ends, axis=-1)


class Residual(nn.Module):
    """Branches, a linear 1x1 convolution back to the input's depth, added to the input, ReLU."""

    rows: tuple[tuple[Layer, ...], ...]
    divide: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [batch, height, width, in] to the same shape."""
        y = Branches(self.rows, self.divide, self.dtype, name="branches")(x)
        y = Convolution(x.shape[-1], (1, 1), dtype=self.dtype, activation=None, name="linear")(y)
        return nn.relu(x + y)


class Stem(nn.Module):
    """From a frame of 299 pixels to 35x35x384."""

    divide: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, Endpoints]:
        """Map [batch, height, width, 3] to [batch, height / 8.5, width / 8.5, 384]."""
        out = {}

        def branches(name: str, *rows: tuple[Layer, ...], pool: bool = False) -> Branches:
            return Branches(rows, self.divide, self.dtype, pool, name=name)

        first = (conv(32, 3, 3, "VALID", 2), conv(32, 3, 3, "VALID"), conv(64, 3, 3))
        x = out["stem1"] = branches("stem1", first)(x)
        x = out["stem2"] = branches("stem2", (conv(96, 3, 3, "VALID", 2),), pool=True)(x)
        plain = (conv(64, 1, 1), conv(96, 3, 3, "VALID"))
        long = (conv(64, 1, 1), conv(64, 7, 1), conv(64, 1, 7), conv(96, 3, 3, "VALID"))
        x = out["stem3"] = branches("stem3", plain, long)(x)
        x = nn.relu(branches("stem4", (conv(192, 3, 3, "VALID", 2),), pool=True)(x))
        out["stem4"] = x
        return x, out


class Trunk(nn.Module):
    """The whole network up to its last map, without the head."""

    divide: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, Endpoints]:
        """Map [batch, height, width, 3] to the last map; from 299 pixels [batch, 8, 8, 2144]."""
        common: dict[str, Any] = {"divide": self.divide, "dtype": self.dtype}
        x, out = Stem(**common, name="stem")(x)
        x = out["A"] = Residual(A, **common, name="A")(x)
        x = out["reduction_A"] = Branches(REDUCTION_A, **common, pool=True, name="reduction_A")(x)
        x = out["B"] = Residual(B, **common, name="B")(x)
        x = out["reduction_B"] = Branches(REDUCTION_B, **common, pool=True, name="reduction_B")(x)
        x = out["C"] = Residual(C, **common, name="C")(x)
        return x, out


class InceptionResNetCRF(nn.Module):
    """Trunk, head and chain; the outputs are a `Chain` of expressions and neutral over the frames.

    Attributes:
        frames: length of the chain.
        size: pixels a side that a frame is brought to; 75 is the least.
        head: "flat" (published) or "global".
        divide: divides the widths of the trunk's branches and of the dense layer, for quick trials.
        stage: "network" gives logits [batch, time, num_classes + 1] of every frame, neutral last; "chain" the
            potentials.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    frames: int = 10
    size: int = 299
    head: str = "flat"
    divide: int = 1
    stage: str = "chain"
    dropout: float = 0.2

    @nn.compact
    def __call__(
        self, frames: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[Chain | jax.Array, Endpoints]:
        """Potentials (or logits) of frames [batch, time, height, width, channel] in [0, 1]."""
        check_inputs("inception_resnet_crf", self.frames, frames)
        if self.head not in ("flat", "global") or self.stage not in ("network", "chain"):
            raise ValueError(
                f"head is {self.head!r} and stage is {self.stage!r}; they must be flat or global, and network"
                " or chain"
            )
        # The chain is trained on what the finished network answers.
        train_network = train and self.stage == "network"
        batch, time = frames.shape[:2]
        x = resized(frames, self.size)
        x = x.reshape(-1, *x.shape[2:]).astype(self.dtype)
        x, out = Trunk(self.divide, self.dtype, name="trunk")(x)
        x = self._head(x, train_network)
        logits = dense(self.num_classes + 1, jnp.float32, "logits")(x).reshape(batch, time, -1)
        out = {name: y.reshape(batch, time, *y.shape[1:]) for name, y in out.items()}
        out["logits"] = logits
        chain = ChainPotentials(name="chain")(jax.lax.stop_gradient(logits))
        if self.stage == "network":
            return logits, out
        return chain, out

    @nn.nowrap
    def _head(self, x: jax.Array, train: bool) -> jax.Array:
        """The dense layer's features [batch, 1000] of the last map."""
        x = x.mean((1, 2)) if self.head == "global" else means_around(x, 8)
        x = Dropout(self.dropout)(x, train=train)
        x = x.reshape(x.shape[0], -1)
        return nn.relu(dense(1000 // self.divide, self.dtype, "dense1")(x))


def means_around(x: jax.Array, side: int) -> jax.Array:
    """Mean of the pixels in a square around each, of those that are on the map.

    Args:
        x: [batch, height, width, channel].
        side: of the square, at most the map's; the odd pixel of an even one is below and to the right.
    """
    # The pixels on the map are a rectangle, so the mean is one of means: 16 terms for 8x8 pixels instead of 64.
    for window in ((min(side, x.shape[1]), 1), (1, min(side, x.shape[2]))):
        x = nn.avg_pool(x, window, (1, 1), "SAME", count_include_pad=False)
    return x


# Recalled of the sequel: SGD, momentum .9, decay 1e-4, rate .01. Epochs and batch: our choice.
PRESETS = {
    "network": {
        "optimizer": "momentum",
        "learning_rate": 0.01,
        "weight_decay": 1e-4,
        "batch_size": 16,
        "epochs": 100,
    },
    "chain": {"optimizer": "momentum", "learning_rate": 0.01, "batch_size": 16, "epochs": 100},
}
