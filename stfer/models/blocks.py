"""The blocks that all six architectures share (paper, section IV-A and Figure 4; widths of Table I).

A block is convolution, ReLU, batch normalisation, pooling, in this order. Each returns `(features, endpoints)`.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from stfer.models.layers.contrast import WHOLE_CLIPS, normalized
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.dropout import Dropout
from stfer.models.layers.normalization import BatchNorm
from stfer.models.layers.pooling import max_pool, plain_max_pool
from stfer.models.layers.towers import TOWER_AXIS, over_towers

Endpoints = dict[str, jax.Array]


def smallest_size() -> int:
    """The fewest pixels a side that leave one pixel after block 3 (128)."""
    size = 1 * 2 + 3 * 2  # block 3: pool 2x2, three convolutions 3x3
    size = size * 2 + 4  # block 2: pool 2x2, convolution 5x5
    size = size * 2  # block 1: pool 2x2
    return (size - 1) * 3 + 11  # block 1: convolution 11x11, stride 3


class Architecture(nn.Module):
    """The fields that every architecture has; an architecture adds `frames` and its wiring.

    Attributes:
        num_classes: length of the logits.
        dtype: type of the computation; parameters, batch statistics and logits are float32.
        axis_name: a mapped axis (`jax.pmap`, `jax.shard_map`) over which batch statistics are joint, or None.
        block1_features, block2_features, block3_features, head_features: widths. The paper's text, which its Table I
            contradicts, has `block2_features=384, block3_features=(384, 256, 256)`.
        plain: convolve and pool with XLA's own operations instead of those of `stfer.models.layers`, which are faster.
            Forward-mode derivatives (`jax.jvp`, `jax.linearize`, `jax.hessian`) need it.
        normalize: what is done to the frames first: a key of `stfer.models.layers.contrast.NORMALIZATIONS`. The paper
            does nothing.
        dropout: share of the features that is dropped in training before each dense layer; the paper drops none.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    block1_features: int = 96
    block2_features: int = 256
    block3_features: Sequence[int] = (384, 384, 256)
    head_features: Sequence[int] = (4096, 4096)
    plain: bool = False
    normalize: str = "none"
    dropout: float = 0.0

    def normalized(self, frames: jax.Array) -> jax.Array:
        """Frames [..., height, width, channel] in [0, 1] as the field `normalize` asks."""
        return normalized(frames, self.normalize)

    def check_clips(self, clips: jax.Array) -> None:
        """Raise ValueError unless clips are [batch, frames, height, width, channel] and large enough."""
        name = type(self).__name__
        if clips.ndim != 5:
            raise ValueError(
                f"{name} takes clips [batch, time, height, width, channel], not an array of shape {clips.shape}"
            )
        if clips.shape[1] != self.frames:
            raise ValueError(f"{name} takes clips of {self.frames} frames, not {clips.shape[1]}")
        if min(clips.shape[2:4]) < smallest_size():
            raise ValueError(
                f"{name} takes frames of at least {smallest_size()}x{smallest_size()} pixels, not"
                f" {clips.shape[2]}x{clips.shape[3]}"
            )


class Block(nn.Module):
    """One convolution with ReLU, batch normalisation, 2x2 max pooling (blocks 1 and 2)."""

    features: int
    kernel_size: Sequence[int]
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    plain: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, mask: jax.Array | None
    ) -> tuple[jax.Array, Endpoints]:
        """Map [batch, (time,) height, width, in] to [batch, (time,) height, width, features]."""
        out = {}
        x = out["conv"] = Convolution(
            self.features, self.kernel_size, self.stride, self.dtype, self.plain, name="conv"
        )(x)
        x = out["bn"] = BatchNorm(
            axis_names=(TOWER_AXIS,) if over_towers() else (),
            device_axis=self.axis_name,
            dtype=self.dtype,
            name="bn",
        )(x, train=train, mask=mask)
        x = out["pool"] = (plain_max_pool if self.plain else max_pool)(x)
        return x, out


class Block3(nn.Module):
    """Three 3x3 convolutions with ReLU, one 2x2 max pooling, flattened."""

    features: Sequence[int] = (384, 384, 256)
    dtype: DTypeLike = jnp.float32
    plain: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, Endpoints]:
        """Map [batch, height, width, in] to [batch, height * width * features[-1]]."""
        out = {}
        for number, features in enumerate(self.features, start=1):
            name = f"conv{number}"
            convolution = Convolution(features, (3, 3), 1, self.dtype, self.plain, name=name)
            x = out[name] = convolution(x)
        x = out["pool"] = (plain_max_pool if self.plain else max_pool)(x)
        x = out["flatten"] = x.reshape(x.shape[0], -1)
        return x, out


class Tower(nn.Module):
    """Blocks 1, 2 and 3: what a single frame, a stack of frames or each of several frames goes through."""

    block1_features: int
    block2_features: int
    block3_features: Sequence[int]
    dtype: DTypeLike
    axis_name: str | None
    plain: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool, mask: jax.Array | None
    ) -> tuple[jax.Array, Endpoints]:
        """Map [batch, height, width, in] to [batch, features]."""
        common: dict[str, Any] = {
            "dtype": self.dtype,
            "axis_name": self.axis_name,
            "plain": self.plain,
        }
        x, out1 = Block(self.block1_features, (11, 11), 3, name="block1", **common)(x, train, mask)
        x, out2 = Block(self.block2_features, (5, 5), name="block2", **common)(x, train, mask)
        x, out3 = Block3(self.block3_features, self.dtype, self.plain, name="block3")(x)
        return x, named(block1=out1, block2=out2, block3=out3)


class Head(nn.Module):
    """Dense layers with ReLU, then the logits; a share `dropout` of what each sees is dropped in training."""

    num_classes: int
    features: Sequence[int] = (4096, 4096)
    dtype: DTypeLike = jnp.float32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, Endpoints]:
        """Map [batch, in] to float32 logits [batch, num_classes]."""
        out = {}
        for number, features in enumerate(self.features, start=1):
            name = f"dense{number}"
            x = Dropout(self.dropout)(x, train=train)
            x = out[name] = nn.relu(dense(features, self.dtype, name)(x))
        x = Dropout(self.dropout)(x, train=train)
        return dense(self.num_classes, jnp.float32, "logits")(x), out


def head_of(architecture: "Architecture") -> Head:
    """The head of an architecture's widths, named "head"."""
    return Head(
        architecture.num_classes,
        architecture.head_features,
        architecture.dtype,
        architecture.dropout,
        name="head",
    )


def dense(features: int, dtype: DTypeLike, name: str | None = None) -> nn.Dense:
    """A dense layer with Keras' initial values: Glorot uniform kernel, zero bias."""
    kernel_init = nn.initializers.glorot_uniform()
    return nn.Dense(
        features, dtype=dtype, kernel_init=kernel_init, dot_general=_barred_product, name=name
    )


def _barred_product(
    x: jax.Array, kernel: jax.Array, dimension_numbers: Any, **options: Any
) -> jax.Array:
    """`lax.dot_general` behind a barrier, whose transpose is one over the gradients by x and by the kernel.

    So an update of the kernel, which waits for its gradient, waits for the gradient by x, too, which reads the kernel
    as it was. Without it XLA:CPU copies the kernel in each training step: half a gigabyte of Inception-ResNet's.
    """
    x, kernel = lax.optimization_barrier((x, kernel))
    return lax.dot_general(x, kernel, dimension_numbers, **options)


def shared_towers(module: type[nn.Module]) -> type[nn.Module]:
    """Lift a block or tower to run on [tower, batch, ...] with one set of parameters and joint batch statistics.

    Features come out as [tower, batch, ...], endpoints as [batch, tower, ...].
    """
    return nn.vmap(
        module,
        in_axes=(0, None, None),
        out_axes=(0, 1),
        variable_axes={"params": None, "batch_stats": None},
        split_rngs={"params": False},
        axis_name=TOWER_AXIS,
    )


def tower_of(architecture: Architecture, shared: bool = False) -> nn.Module:
    """The tower of an architecture's widths, named "tower"; with `shared`, lifted by `shared_towers`."""
    module = shared_towers(Tower) if shared else Tower
    return module(
        architecture.block1_features,
        architecture.block2_features,
        architecture.block3_features,
        architecture.dtype,
        architecture.axis_name,
        architecture.plain,
        name="tower",
    )


class FrameByFrame(Architecture):
    """An architecture whose frames meet only behind a tower that they share.

    The whole is `join(encode(clips))`. Over a video a frame is in many clips: `stfer.inference` encodes each frame once
    and joins the features of each clip. A subclass adds `frames`, what stands behind the tower, and `join`. One that
    overrides `__call__` is run on whole clips, unless it overrides `encode` and `join` with it.
    """

    def setup(self) -> None:
        """Build the tower that all frames share."""
        self.tower = tower_of(self, shared=True)

    def normalized(self, frames: jax.Array) -> jax.Array:
        """As `Architecture.normalized`; raises ValueError for what needs the frames of a whole clip."""
        if self.normalize in WHOLE_CLIPS:
            raise ValueError(
                f"{type(self).__name__} sees each frame alone, and normalize={self.normalize} needs all frames of a "
                "clip: use local_contrast"
            )
        return super().normalized(frames)

    def encode(
        self, frames: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """The features of each frame, which nothing of the others enters when `train` is False.

        Args:
            frames: float [batch, time, height, width, channel] in [0, 1]; any time.
            train: whether batch normalisation takes the statistics of these frames.
            mask: [batch], 0 for rows that do not count.

        Returns:
            [batch, time, features], and the tower's endpoints [batch, time, ...].
        """
        frames = self.normalized(frames)
        features, out = self.tower(jnp.moveaxis(frames, 1, 0), train, mask)
        return jnp.moveaxis(features, 0, 1), out

    def join(self, features: jax.Array, *, train: bool = False) -> tuple[jax.Array, Endpoints]:
        """From a clip's features [batch, frames, features] to float32 logits [batch, num_classes], and endpoints."""
        raise NotImplementedError

    def __call__(
        self, clips: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify clips [batch, frames, height, width, channel]; see `Architecture`."""
        self.check_clips(clips)
        features, out = self.encode(clips, train=train, mask=mask)
        logits, behind = self.join(features, train=train)
        return logits, out | behind | {"logits": logits}


def named(**groups: Endpoints) -> Endpoints:
    """Join endpoint dicts, each name prefixed with its group: `named(a={"b": x})` is `{"a/b": x}`."""
    return {
        f"{group}/{name}": value for group, out in groups.items() for name, value in out.items()
    }
