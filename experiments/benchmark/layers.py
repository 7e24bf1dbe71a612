"""Where the time of a step goes: each layer of the single-frame network alone, in our form and in XLA's own.

python -m experiments.benchmark --what=layers

The augmentation of a batch stands beside them, for clips of one frame and of ten.
"""

import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from stfer.models.layers.convolution import convolve, plain_convolve
from stfer.models.layers.normalization import BatchNorm
from stfer.models.layers.pooling import max_pool, plain_max_pool
from stfer.training.augment import make_augmentation


def _normalize(x: jax.Array) -> jax.Array:
    layer = BatchNorm()
    variables = layer.init(jax.random.key(0), x[:1])
    return layer.apply(variables, x, train=True, mutable=["batch_stats"])[0]


def layers(batch: int, size: int) -> list[tuple[str, Callable, Callable | None, list[tuple]]]:
    """Name, our function, XLA's own (None where it is ours too), and the shapes of the arguments."""
    found = []

    def add(name: str, ours: Callable, plain: Callable | None, *shapes: tuple) -> None:
        found.append((name, ours, plain, list(shapes)))

    def conv(name: str, side: int, taps: int, channels: int, features: int, stride: int = 1) -> int:
        add(
            f"{name} {taps}x{taps}, {channels} to {features}",
            lambda x, k: convolve(x, k, stride),
            lambda x, k: plain_convolve(x, k, stride),
            (batch, side, side, channels),
            (taps, taps, channels, features),
        )
        return (side - taps) // stride + 1

    def pool(name: str, side: int, channels: int) -> int:
        add(f"{name} 2x2", max_pool, plain_max_pool, (batch, side, side, channels))
        return side // 2

    side = conv("block1 conv", size, 11, 3, 96, 3)
    add("block1 batch norm", _normalize, None, (batch, side, side, 96))
    side = pool("block1 pool", side, 96)
    side = conv("block2 conv", side, 5, 96, 256)
    add("block2 batch norm", _normalize, None, (batch, side, side, 256))
    side = pool("block2 pool", side, 256)
    side = conv("block3 conv1", side, 3, 256, 384)
    side = conv("block3 conv2", side, 3, 384, 384)
    side = conv("block3 conv3", side, 3, 384, 256)
    side = pool("block3 pool", side, 256)
    add("head dense1", jnp.dot, None, (batch, side * side * 256), (side * side * 256, 4096))
    add("head dense2", jnp.dot, None, (batch, 4096), (4096, 4096))
    return found


def seconds(function: Callable, arguments: list[jax.Array], repeats: int) -> float:
    """Median time of a compiled call."""
    compiled = jax.jit(function)
    jax.block_until_ready(compiled(*arguments))
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure(batch: int, size: int, repeats: int) -> list[dict]:
    """Seconds of each layer forward, and forward with all its gradients (the first layer's by its kernel only)."""
    random, rows = np.random.default_rng(0), []
    for name, ours, plain, shapes in layers(batch, size):
        arguments = [jnp.asarray(random.random(shape, np.float32)) for shape in shapes]
        wanted = (1,) if not rows else tuple(range(len(arguments)))
        row = {"layer": name}
        for form, function in (("ours", ours), ("xla", plain)):
            if function is not None:
                # Squares, so that the gradient that comes back is no constant.
                total = lambda *a, f=function: jnp.square(f(*a)).sum()  # noqa: E731
                row[form] = seconds(function, arguments, repeats)
                row[f"{form}_gradients"] = seconds(
                    jax.value_and_grad(total, wanted), arguments, repeats
                )
        rows.append(row)
    return rows


def augmentations(batch: int, size: int, repeats: int) -> list[dict]:
    """Seconds of the augmentation `faces` on a batch of clips of one and of ten frames."""
    change = jax.vmap(make_augmentation("faces", {}))
    keys = jax.random.split(jax.random.key(0), batch)
    rows = []
    for frames in (1, 10):
        clips = np.random.default_rng(0).random((batch, frames, size, size, 3), np.float32)
        taken = seconds(
            lambda clips, keys: change({"frames": clips}, keys)["frames"],
            [jnp.asarray(clips), keys],
            repeats,
        )
        rows.append({"layer": f"augmentation faces, {frames} frames", "ours": taken})
    return rows


def print_rows(rows: list[dict]) -> None:
    """Print the table in milliseconds."""
    columns = ("ours", "xla", "ours_gradients", "xla_gradients")
    titles = ("forward", "XLA's", "with gradients", "XLA's")
    print(f"{'median ms':<32}" + "".join(f"{title:>16}" for title in titles))
    for row in rows:
        cells = (f"{row[name] * 1e3:.1f}" if name in row else "-" for name in columns)
        print(f"{row['layer']:<32}" + "".join(f"{cell:>16}" for cell in cells))
