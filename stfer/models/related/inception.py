"""Inception network on one registered face: Mollahosseini, Chan and Mahoor, WACV 2016 (the paper's [3]).

The last frame is warped by an affine map so that its landmarks fit the mean face of the training subjects, then goes
through two plain convolutions, three Inception modules (Szegedy et al. 2015, their 3a, 3b, 4a) and three dense layers.

    layer          kernel/stride, features                                        out          W + b
    conv1          7/2, 64                                                        24x24x64     3,200
    pool1          max 3/2                                                        12x12
    conv2          3/1, 192                                                       12x12x192    110,784
    pool2          max 3/2                                                        6x6
    inception3a    1x1 64; 96 -> 3x3 128; 16 -> 5x5 32; pool 3/1 -> 1x1 32        6x6x256      163,696
    inception3b    128; 128 -> 192; 32 -> 96; pool -> 64                          6x6x480      388,736
    pool3          max 3/2                                                        3x3
    inception4a    192; 96 -> 208; 16 -> 48; pool -> 64                           3x3x512      376,176
    pool4          max 3/2                                                        1x1x512
    dense1, dense2, logits      4096, 1024, C             2,101,248; 4,195,328; 1,025 C

Published (Fig. 1): order, kernel sizes, pools, 4096, 1024, ReLU; recalled: GoogLeNet's widths and stride 2 of conv1.
The 7,345,318 parameters at 6 classes agree with the "7.3m, 11 layers" that a survey (Li and Deng) gives for it; with
the text's fourth module they would be 7,794,478 (`extra_module`, GoogLeNet's 4b). Pools count a window that hangs over
the edge, as Caffe does. Our choice: no normalisation and no dropout (none was found); the mean face takes 0.8 of the
picture; in training, `crop=40` sees one of five places (four corners, middle) and a random flip, which is the paper's
tenfold augmentation drawn at random; settings of the optimiser beyond momentum .9 and decay 1e-4.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, dense, named
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.pooling_windows import max_pool_windows
from stfer.models.layers.registration import MeanFace, register_faces
from stfer.models.related.inputs import check_inputs, grey

SMALLEST = 32  # pixels a side that leave one after the last pool


class Widths(NamedTuple):
    """Features of an Inception module's branches: 1x1; 1x1 before 3x3; 1x1 before 5x5; 1x1 after the pool."""

    one: int
    three_in: int
    three: int
    five_in: int
    five: int
    pool: int


GOOGLENET = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
}


class InceptionModule(nn.Module):
    """Convolutions of three sizes and a pool side by side, concatenated on the channels."""

    widths: Widths
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [batch, height, width, in] to [batch, height, width, one + three + five + pool]."""

        def conv(x: jax.Array, features: int, size: int, name: str) -> jax.Array:
            return Convolution(features, (size, size), dtype=self.dtype, padding="SAME", name=name)(
                x
            )

        widths = self.widths
        one = conv(x, widths.one, 1, "one")
        three = conv(conv(x, widths.three_in, 1, "three_in"), widths.three, 3, "three")
        five = conv(conv(x, widths.five_in, 1, "five_in"), widths.five, 5, "five")
        pooled = max_pool_windows(x, 3, 1, margin=1)
        return jnp.concatenate([one, three, five, conv(pooled, widths.pool, 1, "pool")], axis=-1)


class Inception(nn.Module):
    """The network on one frame and its landmarks.

    Attributes:
        size: pixels a side of the registered face.
        crop: pixels a side of the part of it that is seen in training at one of five places; 0 sees it whole.
        extra_module: adds the fourth module that the paper's text speaks of.
        divide: divides all widths, for quick trials.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    frames: int = 1
    size: int = 48
    crop: int = 0
    extra_module: bool = False
    divide: int = 1

    @nn.compact
    def __call__(
        self,
        frames: jax.Array,
        landmarks: jax.Array,
        *,
        train: bool = False,
        mask: jax.Array | None = None,
    ) -> tuple[jax.Array, Endpoints]:
        """Classify frames [batch, 1, height, width, channel] with landmarks [batch, 1, 49, 2]."""
        check_inputs("inception", self.frames, frames, landmarks)
        if min(self.size, self.crop or self.size) < SMALLEST:
            raise ValueError(
                f"inception sees faces of at least {SMALLEST} pixels, not size {self.size} and crop {self.crop}"
            )
        points = landmarks[:, -1]
        mean_face = MeanFace(device_axis=self.axis_name, name="mean_face")(points, train, mask)
        faces = register_faces(grey(frames[:, -1]), points, mean_face, self.size)
        out = {"registered": faces}
        if train and self.crop:
            faces = self._cropped(faces)
        x = self._trunk(faces.astype(self.dtype), out)
        for number, features in enumerate((4096, 1024), start=1):
            name = f"dense{number}"
            x = out[name] = nn.relu(dense(features // self.divide, self.dtype, name)(x))
        logits = out["logits"] = dense(self.num_classes, jnp.float32, "logits")(x)
        return logits, out

    @nn.nowrap
    def _trunk(self, x: jax.Array, out: Endpoints) -> jax.Array:
        """Convolutions, modules and pools: [batch, features], from 48 or 40 pixels 512 of them."""

        def conv(x: jax.Array, features: int, size: int, stride: int, name: str) -> jax.Array:
            x = Convolution(
                features // self.divide, (size, size), stride, self.dtype, padding="SAME", name=name
            )(x)
            out.update(named(**{name: {"relu": x}}))
            return x

        def pool(x: jax.Array, name: str) -> jax.Array:
            x = out[name] = max_pool_windows(x, 3, 2, ceil=True)
            return x

        def module(x: jax.Array, name: str) -> jax.Array:
            widths = Widths(*(width // self.divide for width in GOOGLENET[name]))
            x = out[name] = InceptionModule(widths, self.dtype, name=f"inception{name}")(x)
            return x

        x = pool(conv(x, 64, 7, 2, "conv1"), "pool1")
        x = pool(conv(x, 192, 3, 1, "conv2"), "pool2")
        x = pool(module(module(x, "3a"), "3b"), "pool3")
        x = module(x, "4a")
        if self.extra_module:
            x = module(x, "4b")
        x = pool(x, "pool4")
        x = out["flatten"] = x.reshape(x.shape[0], -1)
        return x

    @nn.nowrap
    def _cropped(self, faces: jax.Array) -> jax.Array:
        """A corner or the middle of each face, at random, and a random flip: [batch, crop, crop, channel]."""
        place, flip = jax.random.split(self.make_rng("dropout"))
        spare = self.size - self.crop
        starts = jnp.array([(0, 0), (0, spare), (spare, 0), (spare, spare), (spare // 2,) * 2])
        starts = starts[jax.random.randint(place, (len(faces),), 0, 5)]

        def one(face: jax.Array, start: jax.Array, flipped: jax.Array) -> jax.Array:
            face = jax.lax.dynamic_slice(
                face, (start[0], start[1], 0), (self.crop, self.crop, face.shape[-1])
            )
            return jnp.where(flipped, face[:, ::-1], face)

        return jax.vmap(one)(faces, starts, jax.random.bernoulli(flip, shape=(len(faces),)))


# Recalled: momentum .9, decay 1e-4, 200 epochs, batch 250, a falling rate. Rate and its fall to 0: our choice.
PRESETS = {
    "inception": {
        "optimizer": "momentum",
        "learning_rate": 0.01,
        "weight_decay": 1e-4,
        "schedule": "linear",
        "batch_size": 250,
        "epochs": 200,
        "model": {"crop": 40},
    },
}
