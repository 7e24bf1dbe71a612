"""Our contender: the models of `stfer.models` with optax's Adam."""

from stfer.storage import freed_memory

freed_memory.keep_freed_memory()  # as every command does

import functools  # noqa: E402

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402
import systems  # noqa: E402
import worker  # noqa: E402
from jax import lax  # noqa: E402

from stfer.models import create_model  # noqa: E402
from stfer.training.programs import Program  # noqa: E402


class Ours:
    """`step` is one compiled call; `loop` is several steps, on a GPU one call, on a CPU a call a step.

    Every contender gets the same clips, float32 on the device: reading them, and masks of padded rows, are left out.
    """

    def build(self, settings: dict) -> int:
        """Initialise the model and random clips."""
        if settings["precision"] != "bfloat16":
            jax.config.update("jax_default_matmul_precision", settings["precision"])
        dtype = jnp.bfloat16 if settings["precision"] == "bfloat16" else jnp.float32
        name, batch, size = settings["arch"], settings["batch_size"], settings["size"]
        system = systems.SYSTEMS.get(name)
        fields = system.fields if system else settings.get("fields", {})
        classes = settings["num_classes"]
        self.model = create_model(name.partition(":")[0], classes, dtype, **fields)
        self.optimizer = optax.adam(1e-5, eps=1e-7)
        random = np.random.default_rng(0)
        clips = (batch, self.model.frames, size, size, 3)
        shapes = systems.shapes(name, batch).values() if system else [clips]
        self.clips = tuple(jnp.asarray(random.random(shape, np.float32)) for shape in shapes)
        self.labels = jnp.asarray(np.arange(batch) % classes)
        init = jax.jit(functools.partial(self.model.init, train=False))
        variables = init(jax.random.key(0), *(x[:1] for x in self.clips))
        params, batch_stats = variables["params"], variables.get("batch_stats", {})
        self.state = (params, batch_stats, self.optimizer.init(params), jax.random.key(1))
        self.compiled_forward = Program(jax.jit(self._forward))
        self.compiled_step = Program(jax.jit(self._step, donate_argnums=0))
        self.compiled_loop = jax.jit(self._loop, static_argnums=3, donate_argnums=0)
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    def _forward(self, state: tuple, clips: tuple) -> jax.Array:
        return self.model.apply({"params": state[0], "batch_stats": state[1]}, *clips)[0]

    def _step(self, state: tuple, clips: tuple, labels: jax.Array) -> tuple:
        params, batch_stats, moments, key = state
        key, dropout = jax.random.split(key)

        def loss(params):
            (outputs, _), updated = self.model.apply(
                {"params": params, "batch_stats": batch_stats},
                *clips,
                train=True,
                mutable=["batch_stats"],
                rngs={"dropout": dropout},
            )
            logits, *penalty = outputs if isinstance(outputs, tuple) else (outputs,)
            rows = labels.reshape(-1, *(1,) * (logits.ndim - 2))
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits, jnp.broadcast_to(rows, logits.shape[:-1])
            )
            return losses.mean() + sum(p.mean() for p in penalty), updated.get("batch_stats", {})

        (value, batch_stats), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = self.optimizer.update(gradients, moments, params)
        return (optax.apply_updates(params, updates), batch_stats, moments, key), value

    def _loop(self, state: tuple, clips: tuple, labels: jax.Array, steps: int) -> tuple:
        return lax.scan(lambda s, _: self._step(s, clips, labels), state, length=steps)

    def about(self) -> str:
        """Library and device."""
        return f"jax {jax.__version__}, {jax.devices()[0].device_kind}"

    def forward(self) -> None:
        """Logits of one batch."""
        jax.block_until_ready(self.compiled_forward(self.state, self.clips))

    def step(self) -> None:
        """One training step."""
        self.state, value = self.compiled_step(self.state, self.clips, self.labels)
        value.block_until_ready()
        freed_memory.give_back()  # as a training does

    def loop(self, steps: int) -> None:
        """Several training steps; on a GPU it waits for the last one only."""
        if jax.default_backend() == "cpu":
            for _ in range(steps):
                self.step()
            return
        self.state, values = self.compiled_loop(self.state, self.clips, self.labels, steps)
        values.block_until_ready()

    def matrix_product(self) -> float:
        """Rate of one large product."""
        size = 2048 if jax.default_backend() == "cpu" else 8192
        matrix = jnp.ones((size, size), self.model.dtype)
        product = jax.jit(jnp.dot)
        return worker.matrix_product_rate(lambda: product(matrix, matrix).block_until_ready(), size)

    def device_memory(self) -> int | None:
        """Peak bytes on an accelerator."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


if __name__ == "__main__":
    worker.serve(Ours())
