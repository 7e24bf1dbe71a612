"""Our whole trainings, as `experiments.loso` makes them: folds of a made set, some of them side by side on the device.

A contender of `worker` whose `loop` trains so many epochs of the first folds, start and held-out scoring included.
"""

from stfer.storage.freed_memory import keep_freed_memory

keep_freed_memory()  # as every command does

import itertools  # noqa: E402
import os  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import worker  # noqa: E402

from stfer.data.examples import Examples  # noqa: E402
from stfer.data.folds import folds  # noqa: E402
from stfer.training.batches import Shape  # noqa: E402
from stfer.training.checkpoints import FoldCheckpoints  # noqa: E402
from stfer.training.config import PRECISIONS, preset  # noqa: E402
from stfer.training.fit import fit  # noqa: E402
from stfer.training.parallel import make_engine  # noqa: E402
from stfer.training.step import make_learner  # noqa: E402


class Trainings:
    """The preset `paper` on random clips of the size of a real set."""

    def build(self, settings: dict) -> int:
        """Make the set and train one epoch, which compiles; returns the number of parameters."""
        config = preset(
            "paper",
            settings["arch"],
            precision=settings["precision"],
            batch_size=settings["batch_size"],
            model=settings["fields"],
        )
        learner = make_learner(config, settings["num_classes"])
        examples = _made(settings, learner.module.frames)
        subjects = [f"S{row % settings['subjects']:03d}" for row in range(settings["sequences"])]
        splits = folds("loso", subjects)
        beside = settings["folds_per_device"]
        shape = Shape.covering(splits, config.batch_size)
        how = "folds" if beside > 1 else "none"
        self.engine = make_engine(how, learner, examples, shape, True, beside)
        self.group = list(itertools.islice(itertools.cycle(splits), self.engine.lanes))[
            : len(splits)
        ]
        self.loop(1)
        leaves = jax.tree.leaves(self.state.params)
        return sum(leaf.size for leaf in leaves)

    def about(self) -> str:
        """Library and device."""
        return f"jax {jax.__version__}, {jax.devices()[0].device_kind}"

    def loop(self, steps: int) -> None:
        """So many epochs from fresh states."""
        self.engine.config = self.engine.config.replace(epochs=steps)
        with tempfile.TemporaryDirectory() as folder:
            saved = [FoldCheckpoints(Path(folder) / fold.held_out, {}) for fold in self.group]
            fitted = fit(self.engine, self.group, saved, checkpoint_seconds=float("inf"))
        self.state = jax.block_until_ready(fitted[0].state)

    def matrix_product(self) -> float:
        """Rate of one large product in the arithmetic of the training."""
        size = 2048 if jax.default_backend() == "cpu" else 8192
        config = self.engine.config
        matrix = jnp.ones((size, size), jnp.bfloat16 if config.precision == "bfloat16" else None)
        product = jax.jit(jnp.dot)
        with jax.default_matmul_precision(PRECISIONS[config.precision]):
            return worker.matrix_product_rate(
                lambda: product(matrix, matrix).block_until_ready(), size
            )

    def device_memory(self) -> int | None:
        """Peak bytes on an accelerator."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def _made(settings: dict, frames: int) -> Examples:
    """Random clips."""
    random = np.random.default_rng(0)
    shape = (frames, settings["size"], settings["size"], 3)
    clips = random.integers(0, 256, (settings["sequences"], *shape), np.uint8)
    labels = np.arange(settings["sequences"], dtype=np.int32) % settings["num_classes"]
    return Examples(labels, {"frames": (shape, clips.dtype)}, lambda rows: {"frames": clips[rows]})


if __name__ == "__main__":
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    worker.serve(Trainings())
