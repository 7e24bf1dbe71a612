"""The compiled side of training: one program for every fold, the set resident on the device or streamed.

A call trains a chunk of an epoch in one program (`stfer.training.step.train_steps`) with the state
donated, and after the epoch's last chunk scores the held-out rows; the host reads a few sums back.
On a GPU the chunk is the whole epoch, one `lax.scan`. On a CPU it is one step, because XLA runs
convolutions in a loop some twenty times slower there (BUILD_NOTES, "No loop on the CPU"); a step takes long enough
that the host's part does not show, and a stop request is heard between steps.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import psutil
from flax import linen as nn
from jax import Array

from stfer.training import step as steps_lib
from stfer.training.batches import Shape
from stfer.training.config import PRECISIONS, TrainConfig
from stfer.training.step import Moments, Totals, TrainState

_CLASSIFY_BATCH = 32
_LEAST_CLASSIFY_BATCH = 8


@dataclass(frozen=True)
class Clips:
    """The training clip of every sequence of a set.

    Attributes:
        shape: `(time, height, width, channel)` of a clip.
        labels: int32 [sequences].
        gather: From int rows [n] to uint8 clips [n, time, height, width, channel].
    """

    shape: tuple[int, int, int, int]
    labels: np.ndarray
    gather: Callable[[np.ndarray], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes that all clips take as uint8."""
        return len(self.labels) * int(np.prod(self.shape))


@dataclass(frozen=True)
class Call:
    """The arguments of one chunk of an epoch; see `stfer.training.step.train_steps`.

    Attributes:
        indices: int32 [steps, batch].
        mask: float32 [steps, batch].
        active: bool [steps].
        heldout: int32 [parts, heldout].
        heldout_mask: float32 [parts, heldout]; all 0 but in the last chunk of an epoch.
    """

    indices: np.ndarray
    mask: np.ndarray
    active: np.ndarray
    heldout: np.ndarray
    heldout_mask: np.ndarray


class Engine:
    """Compiled functions over one set of clips on one device; built once, used for every fold.

    Args:
        model: A module as `stfer.models.create_model` returns it.
        config: The settings.
        clips: The set.
        shape: The shape that covers every fold.
        resident: Keep the whole set on the device; None decides by the memory there is.
        steps_per_call: Steps of a chunk; None decides by the backend (see above).
    """

    lanes = 1
    first_call_seconds: float | None = None  # Of the first training call, compilation included.

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        clips: Clips,
        shape: Shape,
        resident: bool | None = None,
        steps_per_call: int | None = None,
    ):
        self.config = config
        self.shape = shape
        self.clips = clips
        on_cpu = jax.default_backend() == "cpu"
        self.resident = _fits(clips.nbytes) if resident is None else resident
        # A streamed chunk is sent to the device anew, so it stays small.
        self.steps_per_call = steps_per_call or (1 if on_cpu or not self.resident else shape.steps)
        # Padding costs time on a CPU, and next to none on a GPU.
        fitting = max(_LEAST_CLASSIFY_BATCH, shape.heldout) if on_cpu else _CLASSIFY_BATCH
        self._classify_batch = min(fitting, _CLASSIFY_BATCH)
        self._model = model
        self._optimizer = steps_lib.make_optimizer(config)
        self._pool: tuple[Array, Array] | None = None
        self._compile()

    def _compile(self) -> None:
        model, optimizer = self._model, self._optimizer
        self._init = jax.jit(
            functools.partial(steps_lib.init_state, model, optimizer, self.clips.shape)
        )
        self._train = jax.jit(
            functools.partial(steps_lib.train_steps, model, optimizer), donate_argnums=0
        )
        self._no_moments = jax.jit(steps_lib.no_moments)
        self._add_moments = jax.jit(
            functools.partial(steps_lib.add_moments, model), donate_argnums=0
        )
        self._use_moments = jax.jit(steps_lib.use_moments, donate_argnums=0)
        self._score = jax.jit(functools.partial(steps_lib.score, model))
        self._classify = jax.jit(functools.partial(steps_lib.classify, model))

    def _precision(self):
        return jax.default_matmul_precision(PRECISIONS[self.config.precision])

    def init(self, keys: list[Array]) -> TrainState:
        """Fresh states, one a lane; with one lane the state itself."""
        (key,) = keys
        with self._precision():
            return self._init(key)

    def stage(self, calls: list[Call]) -> tuple:
        """Bring a call's arguments to the device; may run ahead of `train` in another thread."""
        (call,) = calls
        training = None
        if call.active.any():
            training = (*self._pooled(call.indices), call.mask, call.active)
        scoring = [
            (*self._pooled(rows), mask)
            for rows, mask in zip(call.heldout, call.heldout_mask, strict=True)
            if mask.any()
        ]
        return jax.device_put((training, scoring))

    def train(
        self, state: TrainState, staged: tuple
    ) -> tuple[TrainState, list[tuple[Totals, Totals]]]:
        """Run a staged call; `state` is donated.

        Returns:
            The new state, and for each lane the totals of each step and of the held-out rows, on the host.
        """
        training, scoring = staged
        totals = Totals(*np.zeros(len(Totals._fields), np.float32))
        with self._precision():
            if training is not None:
                state, totals = self._train(state, *training)
            scored = [self._score(state, *part) for part in scoring]
        totals, scored = jax.device_get((totals, scored))
        return state, [(totals, _summed(scored))]

    def no_moments(self, state: TrainState) -> Moments:
        """See `stfer.training.step.no_moments`."""
        return self._no_moments(state)

    def add_moments(
        self, carry: tuple[TrainState, Moments], staged: tuple
    ) -> tuple[TrainState, Moments]:
        """Add the moments of a staged call's batches; `carry` is donated, its state comes back unchanged."""
        training, _ = staged
        if training is None:
            return carry
        with self._precision():
            return self._add_moments(carry, *training)

    def use_moments(self, carry: tuple[TrainState, Moments]) -> TrainState:
        """See `stfer.training.step.use_moments`; `carry` is donated."""
        return self._use_moments(*carry)

    def lane(self, state: TrainState, lane: int) -> TrainState:
        """The state of one lane."""
        del lane
        return state

    def join(self, states: list[TrainState]) -> TrainState:
        """The inverse of `lane` over all lanes."""
        (state,) = states
        return jax.device_put(state)

    def classify(self, state: TrainState, clips: np.ndarray) -> np.ndarray:
        """Class probabilities of uint8 clips [n, time, height, width, channel]: float32 [n, classes]."""
        return self.classify_groups(state, [clips])[0]

    def classify_groups(self, state: TrainState, groups: Iterable[np.ndarray]) -> list[np.ndarray]:
        """`classify` for several groups of clips, such as the evaluation clips of each sequence.

        Works through batches of one size, filled across groups, so that any number of clips uses one
        compiled program; groups are drawn as they are needed.
        """
        counts = []

        def clips():
            for group in groups:
                counts.append(len(group))
                yield from group

        size, parts = self._classify_batch, []
        for batch in itertools.batched(clips(), size):
            padding = [(0, size - len(batch))] + [(0, 0)] * batch[0].ndim
            with self._precision():
                probabilities = self._classify(state, np.pad(np.stack(batch), padding))
            parts.append(np.asarray(probabilities)[: len(batch)])
        return np.split(np.concatenate(parts), np.cumsum(counts)[:-1])

    def _resident_pool(self) -> tuple[Array, Array]:
        if self._pool is None:
            every_row = np.arange(len(self.clips.labels))
            self._pool = jax.device_put((self.clips.gather(every_row), self.clips.labels))
        return self._pool

    def _pooled(self, rows: np.ndarray) -> tuple[Array, Array, np.ndarray]:
        """The pool that rows of the set are taken from, its labels, and the rows as places in it."""
        return (*self._resident_pool(), rows) if self.resident else self._gathered(rows)

    def _gathered(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`_pooled` with a pool that holds just these rows, of one size for as many rows."""
        unique, place = np.unique(rows, return_inverse=True)
        pool = np.zeros((rows.size, *self.clips.shape), np.uint8)
        pool[: len(unique)] = self.clips.gather(unique)
        labels = np.zeros(rows.size, np.int32)
        labels[: len(unique)] = self.clips.labels[unique]
        return pool, labels, place.reshape(rows.shape).astype(np.int32)


def _summed(parts: Sequence[Totals]) -> Totals:
    """Totals of all parts together; zeros where there is none."""
    return Totals(*(np.sum(np.float32([part[i] for part in parts]), axis=0) for i in range(3)))


def _fits(nbytes: int) -> bool:
    """Whether a set of clips fits on the device beside a training: in at most a third of what is free there."""
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return nbytes <= min(psutil.virtual_memory().available, _left_to_group()) / 3
    memory = device.memory_stats() or {}
    # Without statistics (another allocator than JAX's own) nothing is known: small sets alone are kept.
    free = memory.get("bytes_limit", 3 << 30) - memory.get("bytes_in_use", 0)
    return nbytes <= free / 3


def _left_to_group(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> float:
    """Bytes that the process' control groups (a batch job, a container) may still take; infinite without a limit.

    Args:
        groups: The file that names the process' groups, a line a hierarchy (Linux, version 1 or 2).
        root: Where the hierarchies are mounted.
    """
    v1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    v2 = ("memory.max", "memory.current", "inactive_file")
    left = [float("inf")]
    with contextlib.suppress(OSError):
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top, names = (root / "memory", v1) if controllers else (root, v2)
            folder = top / path.lstrip("/")
            # A limit may be set at any level from the process' group up.
            levels = [folder, *folder.parents]
            left += [_left_at(level, *names) for level in levels[: levels.index(top) + 1]]
    return min(left)


def _left_at(folder: Path, limit: str, used: str, droppable: str) -> float:
    try:
        parts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        room = int((folder / limit).read_text()) - int((folder / used).read_text())
        return room + int(parts[droppable])  # files in memory, which the system lets go of
    except (OSError, ValueError, KeyError):  # no such group here, or no limit ("max")
        return float("inf")
