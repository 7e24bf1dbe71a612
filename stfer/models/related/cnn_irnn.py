"""CNN, IRNN and their fusion: Ebrahimi Kahou, Michalski, Konda, Memisevic and Pal, ICMI 2015 (the paper's [7]).

A convolutional network is trained on single frames; a recurrent network with identity start runs over the maps of its
second convolution; a small fusion network joins both. Three stages, each with the stages before it frozen.

    CNN: 44x44 of 48x48 grey, z-scored        W + b    IRNN
    conv 9x9, 32; pool 2; bias; ReLU; dropout  2,624   input: the second pooled map with bias, before ReLU, 11x11x32
    conv 5x5, 32; pool 2; bias; ReLU; dropout 25,632   h_t = relu(x_t Win + h_{t-1} Wrec), 200 units, no bias, h_0 = 0
    conv 5x5, 64; pool 2; bias; ReLU; dropout 51,264   logits from the last h: 774,400 + 40,000 + 201 C
    logits C from 5x5x64                     1,601 C
    Fusion: relu(dense 100) of the frames' probabilities in ten bins, relu(dense 50) of the IRNN's last h, concatenated;
    relu(dense 70), dropout .3, logits C.

Everything above is from the authors' code (saebrahimi/Emotion-Recognition-RNN); its audio branch (10 -> 10) is left
out, as no set here has sound. `Fusion` takes any number of branches; with the audio's the fusion has the code's 27,956
parameters at 6 classes. Our choice: ten frames equally spaced over the last fifteen, each a bin of its own (the code
averages longer clips into ten bins); one random 44x44 place and one flip a clip rather than a batch; the z-score's
mean and standard deviation of each pixel are those of the training clips seen so far. The code's L1 and L2,1 penalty
writes every branch's matrix over the one before; here it is on the block matrix that it evidently means.
"""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, named
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.dropout import Dropout
from stfer.models.layers.pooling import max_pool
from stfer.models.layers.running import RunningMoments
from stfer.models.related.inputs import check_inputs, grey, resized

# The code's dense and convolution kernels: uniform in +-1 / sqrt(fan in).
fan_in_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def uniform_around_zero(limit: float) -> nn.initializers.Initializer:
    """Uniform in [-limit, limit)."""
    uniform = nn.initializers.uniform(2 * limit)
    return lambda key, shape, dtype=jnp.float32: uniform(key, shape, dtype) - limit


class FrameCNN(nn.Module):
    """The convolutional network on single frames [batch, height, width, 1].

    Returns the logits and, as endpoint `conv2/bias`, the second pooled map before its ReLU.
    """

    num_classes: int
    dtype: DTypeLike
    features: Sequence[int] = (32, 32, 64)
    dropout: float = 0.25

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, Endpoints]:
        """Map [batch, height, width, 1] to logits [batch, classes]."""
        out = {}
        for number, (features, size) in enumerate(zip(self.features, (9, 5, 5), strict=True), 1):
            name = f"conv{number}"
            # The bias comes after pooling; a constant a channel, it could as well come before.
            x = Convolution(
                features, (size, size), dtype=self.dtype, padding="SAME", activation=None, name=name,
                use_bias=True, kernel_init=fan_in_uniform,
            )(x)  # fmt: skip
            x = out[f"{name}/bias"] = max_pool(x)
            x = out[f"{name}/relu"] = nn.relu(x)
            x = Dropout(self.dropout)(x, train=train)
        x = out["flatten"] = x.reshape(x.shape[0], -1)
        logits = nn.Dense(
            self.num_classes, dtype=jnp.float32, kernel_init=fan_in_uniform, name="logits"
        )(x)
        return logits, out | {"logits": logits}


class IRNN(nn.Module):
    """A recurrent layer of rectified linear units that starts as the identity (Le, Jaitly and Hinton 2015).

    h_t = relu(x_t Win + h_{t-1} Wrec),  Wrec starts as the identity
    """

    units: int = 200
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, start: jax.Array | None = None) -> jax.Array:
        """Map [batch, time, in] to all states [batch, time, units]; `start` [batch, units] is 0 if None."""
        inward = nn.Dense(
            self.units,
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.normal(0.001),
            name="input",
        )(x)
        recurrent = self.param(
            "recurrent_kernel", lambda key, shape: jnp.eye(*shape), (self.units, self.units)
        ).astype(self.dtype)
        state = jnp.zeros((x.shape[0], self.units), self.dtype) if start is None else start

        def step(state: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = nn.relu(inputs + state @ recurrent)
            return state, state

        return jnp.moveaxis(jax.lax.scan(step, state, jnp.moveaxis(inward, 1, 0))[1], 0, 1)


class Fusion(nn.Module):
    """Branches of some features each, a rectified layer a branch, a rectified layer on all, logits.

    Fields: `branches`, from name to width of its layer, in order; `features` of the joint layer; its `dropout`.
    """

    num_classes: int
    branches: Mapping[str, int]
    features: int = 70
    dropout: float = 0.3

    @nn.compact
    def __call__(self, inputs: Mapping[str, jax.Array], train: bool) -> tuple[jax.Array, jax.Array]:
        """Map features [batch, in] of each branch to logits [batch, classes] and the penalty []."""

        def layer(width, name):
            return nn.Dense(width, kernel_init=fan_in_uniform, name=name)

        parts = {
            name: nn.relu(layer(width, name)(inputs[name])) for name, width in self.branches.items()
        }
        x = nn.relu(layer(self.features, "joint")(jnp.concatenate(list(parts.values()), axis=-1)))
        x = Dropout(self.dropout)(x, train=train)
        logits = layer(self.num_classes, "logits")(x)
        if self.is_initializing():
            return logits, jnp.zeros(())
        params = self.variables["params"]
        return logits, fusion_penalty(
            [params[name]["kernel"] for name in self.branches],
            [params[name]["kernel"] for name in ("joint", "logits")],
        )


def fusion_penalty(
    branches: Sequence[jax.Array], others: Sequence[jax.Array], strength: float = 3e-5
) -> jax.Array:
    """The code's penalty: squared L2 of all matrices, and L1 and L2,1 of the branches' as one block-diagonal matrix.

        strength (sum W^2 + sum |B| + sum_rows sqrt(sum_columns B^2))

    A row of the block matrix B is an input of one branch, so L2,1 drops whole inputs.
    """
    squares = sum(jnp.square(kernel).sum() for kernel in (*branches, *others))
    l1 = sum(jnp.abs(kernel).sum() for kernel in branches)
    # The small constant keeps the gradient of a row of zeros finite.
    rows = sum(jnp.sqrt(jnp.square(kernel).sum(1) + 1e-12).sum() for kernel in branches)
    return jnp.asarray(strength * (squares + l1 + rows))


class CnnIrnn(nn.Module):
    """The three networks; `part` says whose outputs they are.

    Attributes:
        part: "cnn", float32 logits of every frame [batch, time, classes]; "irnn", logits [batch, classes]; "fusion",
            the pair (logits [batch, classes], penalty [batch]). Only the networks that the part needs have parameters.
        size, crop: pixels a side of a frame, and of the part of it that is seen.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    frames: int = 10
    part: str = "fusion"
    size: int = 48
    crop: int = 44
    conv_features: Sequence[int] = (32, 32, 64)
    units: int = 200

    @nn.compact
    def __call__(
        self, frames: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array | tuple[jax.Array, jax.Array], Endpoints]:
        """Classify frames [batch, time, height, width, channel] in [0, 1]; see the field `part`."""
        check_inputs("cnn_irnn", self.frames, frames)
        if self.part not in ("cnn", "irnn", "fusion"):
            raise ValueError(f"part is {self.part!r}; it must be cnn, irnn or fusion")
        # The later parts learn from what the trained network answers in evaluation.
        train_cnn = train and self.part == "cnn"
        x = resized(grey(frames), self.size)
        batch, time = x.shape[:2]
        x = self._standardised(x, train_cnn, mask)
        x = self._cropped(x, train_cnn)
        out = {"input": x}
        cnn = FrameCNN(self.num_classes, self.dtype, self.conv_features, name="cnn")
        logits, of_cnn = cnn(x.reshape(-1, *x.shape[2:]).astype(self.dtype), train_cnn)
        logits = logits.reshape(batch, time, -1)
        of_cnn = {
            name: value.reshape(batch, time, *value.shape[1:]) for name, value in of_cnn.items()
        }
        out |= named(cnn=of_cnn)
        if self.part == "cnn":
            return logits, out | {"logits": logits}
        maps = jax.lax.stop_gradient(of_cnn["conv2/bias"]).reshape(batch, time, -1)
        states = out["irnn/states"] = IRNN(self.units, self.dtype, name="irnn")(maps)
        last = nn.Dense(
            self.num_classes, kernel_init=uniform_around_zero(0.01), name="irnn_logits"
        )(states[:, -1].astype(jnp.float32))
        if self.part == "irnn":
            return last, out | {"logits": last}
        branches = {
            "convnet": nn.softmax(logits).reshape(batch, -1),
            "rnn": states[:, -1].astype(jnp.float32),
        }
        fusion = Fusion(self.num_classes, {"convnet": 100, "rnn": 50}, name="fusion")
        joint, penalty = fusion(jax.lax.stop_gradient(branches), train)
        return (joint, jnp.broadcast_to(penalty, (batch,))), out | {"logits": joint}

    @nn.nowrap
    def _standardised(self, x: jax.Array, train: bool, mask: jax.Array | None) -> jax.Array:
        """Every pixel less its mean over the training frames, divided by its standard deviation there."""
        rows = x.reshape(-1, *x.shape[2:])
        mask = None if mask is None else jnp.repeat(mask, x.shape[1])
        moments = RunningMoments(device_axis=self.axis_name, name="pixels")
        mean, variance = moments(rows, train, mask)
        return (x - mean[None, None]) * jax.lax.rsqrt(variance + 1e-4)[None, None]

    @nn.nowrap
    def _cropped(self, x: jax.Array, train: bool) -> jax.Array:
        """A random place and flip a clip in training, the middle else: [batch, time, crop, crop, 1]."""
        spare = self.size - self.crop
        if not train:
            start = spare // 2
            return x[:, :, start : start + self.crop, start : start + self.crop]
        place, flip = jax.random.split(self.make_rng("dropout"))
        places = jax.random.randint(place, (len(x), 2), 0, spare + 1)
        flips = jax.random.bernoulli(flip, shape=(len(x),))

        def one(clip: jax.Array, place: jax.Array, flipped: jax.Array) -> jax.Array:
            clip = jax.lax.dynamic_slice(
                clip, (0, place[0], place[1], 0), (clip.shape[0], self.crop, self.crop, 1)
            )
            return jnp.where(flipped, clip[:, :, ::-1], clip)

        return jax.vmap(one)(x, places, flips)


# The authors' code: plain SGD, each part with its own rate; the best epoch by validation. Epochs are the code's upper
# bounds; momentum .9 of the CNN alone.
PRESETS = {
    "cnn": {"optimizer": "momentum", "learning_rate": 1e-3, "batch_size": 128, "epochs": 700},
    "irnn": {
        "optimizer": "plain_sgd",
        "learning_rate": 5e-3,
        "batch_size": 64,
        "clip_norm": 1.0,
        "epochs": 1000,
    },
    "fusion": {
        "optimizer": "plain_sgd",
        "learning_rate": 0.1,
        "batch_size": 128,
        "clip_norm": 10.0,
        "epochs": 500,
    },
}
