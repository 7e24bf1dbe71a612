"""The compiled side of training: one program for every fold, the set resident on the device or streamed.

A call trains a chunk of an epoch in one program (`stfer.training.step.train_steps`) with the state
donated, and after the epoch's last chunk scores the held-out rows; the host reads a few sums back.
On a GPU the chunk is the whole epoch, one `lax.scan`. On a CPU it is one step, because XLA runs
convolutions in a loop some twenty times slower there (BUILD_NOTES, "No loop on the CPU"); a step takes long enough
that the host's part does not show, and a stop request is heard between steps.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import jax
import numpy as np
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
        heldout: int32 [heldout].
        heldout_mask: float32 [heldout]; all 0 but in the last chunk of an epoch.
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
        if self.resident:
            pool, labels = self._resident_pool()
        else:
            call, pool, labels = self._gathered(call)
        training = (call.indices, call.mask, call.active) if call.active.any() else None
        heldout = (call.heldout, call.heldout_mask) if call.heldout_mask.any() else None
        return jax.device_put((pool, labels, training, heldout))

    def train(
        self, state: TrainState, staged: tuple
    ) -> tuple[TrainState, list[tuple[Totals, Totals]]]:
        """Run a staged call; `state` is donated.

        Returns:
            The new state, and for each lane the totals of each step and of the held-out rows, on the host.
        """
        pool, labels, training, heldout = staged
        totals = scored = Totals(*np.zeros(len(Totals._fields), np.float32))
        with self._precision():
            if training is not None:
                state, totals = self._train(state, pool, labels, *training)
            if heldout is not None:
                scored = self._score(state, pool, labels, *heldout)
        return state, [jax.device_get((totals, scored))]

    def no_moments(self, state: TrainState) -> Moments:
        """See `stfer.training.step.no_moments`."""
        return self._no_moments(state)

    def add_moments(
        self, carry: tuple[TrainState, Moments], staged: tuple
    ) -> tuple[TrainState, Moments]:
        """Add the moments of a staged call's batches; `carry` is donated, its state comes back unchanged."""
        pool, labels, training, _ = staged
        if training is None:
            return carry
        with self._precision():
            return self._add_moments(carry, pool, labels, *training)

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

    def _gathered(self, call: Call) -> tuple[Call, np.ndarray, np.ndarray]:
        """A call whose pool holds just its own rows, in one shape for all calls."""
        heldout = (
            call.heldout
            if call.heldout_mask.any()
            else np.full_like(call.heldout, call.indices[0, 0])
        )
        rows = np.concatenate([call.indices.ravel(), heldout])
        unique, place = np.unique(rows, return_inverse=True)
        pool = np.zeros((len(rows), *self.clips.shape), np.uint8)
        pool[: len(unique)] = self.clips.gather(unique)
        labels = np.zeros(len(rows), np.int32)
        labels[: len(unique)] = self.clips.labels[unique]
        size = call.indices.size
        local = Call(
            place[:size].reshape(call.indices.shape).astype(np.int32),
            call.mask,
            call.active,
            place[size:].astype(np.int32),
            call.heldout_mask,
        )
        return local, pool, labels


def _fits(nbytes: int) -> bool:
    """Whether a set of clips fits on the device beside a training (at most a third of its memory)."""
    device = jax.local_devices()[0]
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:  # A CPU: the memory that is free now, as the system says it.
        import os

        limit = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return nbytes <= limit / 3
