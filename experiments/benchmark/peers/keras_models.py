"""The Keras contender on TensorFlow: the paper's section IV's six networks, trained by a compiled `tf.function`."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import keras
import tensorflow as tf
import worker
from keras import layers
from worker import FRAMES


def block(channels: int, shape: tuple, features: int, size: int, stride: int = 1, time: int = 0):
    """Convolution, ReLU, batch normalisation, pooling as a model on [..., height, width, channels]."""
    if time:
        convolution = layers.Conv3D(
            features, (time, size, size), (1, stride, stride), activation="relu"
        )
        pool = layers.MaxPooling3D((1, 2, 2))
    else:
        convolution = layers.Conv2D(features, size, stride, activation="relu")
        pool = layers.MaxPooling2D(2)
    return keras.Sequential(
        [keras.Input((*shape, channels)), convolution, layers.BatchNormalization(), pool]
    )


def block3(channels: int, shape: tuple):
    """Three 3x3 convolutions, pooling, flattened."""
    convolutions = [layers.Conv2D(features, 3, activation="relu") for features in (384, 384, 256)]
    return keras.Sequential(
        [keras.Input((*shape, channels)), *convolutions, layers.MaxPooling2D(2), layers.Flatten()]
    )


def head(x, num_classes: int):
    """Two dense layers of 4096, logits."""
    for _ in range(2):
        x = layers.Dense(4096, activation="relu")(x)
    return layers.Dense(num_classes, dtype="float32")(x)


def network(arch: str, num_classes: int, size: int):
    """One of the six as a functional model of clips [batch, time, height, width, channel]."""
    clips = keras.Input((FRAMES[arch], size, size, 3))
    frames = [clips[:, time] for time in range(FRAMES[arch])]
    half = ((size - 11) // 3 + 1) // 2
    quarter = (half - 4) // 2
    if arch == "conv3d":
        x = block(3, (5, size, size), 96, 11, 3, 3)(clips)
        x = block(96, (3, half, half), 256, 5, 1, 3)(x)[:, 0]
        return keras.Model(clips, head(block3(256, (quarter, quarter))(x), num_classes))
    concatenate = layers.Concatenate()
    if arch == "slow_fusion":
        first = block(12, (size, size), 96, 11, 3)
        second = block(192, (half, half), 256, 5)
        x = [first(concatenate(frames[i : i + 4])) for i in (0, 2, 4, 6)]
        x = [second(concatenate(x[i : i + 2])) for i in (0, 2)]
        x = block3(512, (quarter, quarter))(concatenate(x))
        return keras.Model(clips, head(x, num_classes))
    if arch == "early_fusion":
        frames = [concatenate(frames)]
    first = block(frames[0].shape[-1], (size, size), 96, 11, 3)
    second = block(96, (half, half), 256, 5)
    third = block3(256, (quarter, quarter))
    towers = [third(second(first(frame))) for frame in frames]
    if arch == "rnn":
        x = keras.ops.stack(towers, axis=1)
        x = layers.GRU(5, reset_after=False)(x)
        return keras.Model(clips, layers.Dense(num_classes, dtype="float32")(x))
    x = concatenate(towers) if len(towers) > 1 else towers[0]
    return keras.Model(clips, head(x, num_classes))


class Keras:
    """The contender. Towers are separate calls of shared layers, as Keras users write them."""

    def about(self) -> str:
        """Libraries and device."""
        devices = tf.config.list_physical_devices("GPU")
        name = tf.config.experimental.get_device_details(devices[0]) if devices else {}
        return f"keras {keras.__version__}, tensorflow {tf.__version__}, {name.get('device_name', 'cpu')}"

    def build(self, settings: dict) -> int:
        """Initialise the network and random clips."""
        self.precision = settings["precision"]
        tf.config.experimental.enable_tensor_float_32_execution(self.precision == "tensorfloat32")
        if self.precision == "bfloat16":
            keras.mixed_precision.set_global_policy("mixed_bfloat16")
        arch, size, batch = settings["arch"], settings["size"], settings["batch_size"]
        self.model = network(arch, settings["num_classes"], size)
        self.clips = tf.random.uniform((batch, FRAMES[arch], size, size, 3))
        self.labels = tf.range(batch) % settings["num_classes"]
        self.optimizer = keras.optimizers.Adam(1e-5, epsilon=1e-7)
        self.optimizer.build(self.model.trainable_variables)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.compiled_forward = tf.function(lambda clips: self.model(clips, training=False))
        self.compiled_step = tf.function(self._step)
        return sum(int(tf.size(variable)) for variable in self.model.trainable_variables)

    def _step(self, clips: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(clips, training=True))
        variables = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def forward(self) -> None:
        """Logits of one batch."""
        self.compiled_forward(self.clips).numpy()

    def step(self) -> None:
        """One training step."""
        self.loop(1)

    def loop(self, steps: int) -> None:
        """Several training steps."""
        for _ in range(steps):
            self.compiled_step(self.clips, self.labels).numpy()

    def matrix_product(self) -> float:
        """Rate of one large product."""
        size = 8192 if tf.config.list_physical_devices("GPU") else 2048
        dtype = tf.bfloat16 if self.precision == "bfloat16" else tf.float32
        matrix = tf.ones((size, size), dtype)
        return worker.matrix_product_rate(
            lambda: tf.reduce_max(tf.matmul(matrix, matrix)[:1, :1]).numpy(), size
        )

    def device_memory(self) -> int | None:
        """Peak bytes on an accelerator."""
        if not tf.config.list_physical_devices("GPU"):
            return None
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]


if __name__ == "__main__":
    worker.serve(Keras())
