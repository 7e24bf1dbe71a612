"""The compiled side of training: one program for every fold, the set resident on the device or streamed.

A call trains a chunk of an epoch in one program (`stfer.training.step.train_steps`) with the state
donated, and after the epoch's last chunk scores the held-out rows; the host reads a few sums back.
On a GPU the chunk is the whole epoch, one `lax.scan`. On a CPU it is one step, because XLA runs
convolutions in a loop some twenty times slower there (BUILD_NOTES, "No loop on the CPU"); a step takes long enough
that the host's part does not show, and a stop request is heard between steps.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from stfer.data.examples import Arrays, Examples
from stfer.models.apply import takes_mask
from stfer.storage import freed_memory
from stfer.training import moments as moments_lib
from stfer.training import step as steps_lib
from stfer.training.batches import Shape
from stfer.training.config import PRECISIONS
from stfer.training.moments import Moments
from stfer.training.programs import Program
from stfer.training.step import FoldConstants, Learner, Totals, TrainState

_CLASSIFY_BATCH = 32
_LEAST_CLASSIFY_BATCH = 8


@dataclass(frozen=True)
class Call:
    """The arguments of one chunk of an epoch; see `stfer.training.step.train_steps`.

    Attributes:
        indices: int32 [steps, batch].
        mask: float32 [steps, batch].
        active: bool [steps].
        fold: What the step has to know of the fold.
        watched: The held-out rows, and the validation rows where there are any: each int32 [parts, rows] with a mask,
            float32 [parts, rows], that is all 0 but in the last chunk of an epoch.
    """

    indices: np.ndarray
    mask: np.ndarray
    active: np.ndarray
    fold: FoldConstants
    watched: tuple[tuple[np.ndarray, np.ndarray], ...]


class Engine:
    """Compiled functions over one set of examples on one device; built once, used for every fold.

    Args:
        learner: What is trained, and how.
        examples: The set.
        shape: The shape that covers every fold.
        resident: Keep the whole set on the device, or stream batches to it.
        steps_per_call: Steps of a chunk; None decides by the backend (see above).
    """

    _init: Callable[..., Any]
    _train: Callable[..., Any]
    _no_moments: Callable[..., Any]
    _add_moments: Callable[..., Any]
    _use_moments: Callable[..., Any]
    _score: Callable[..., Any]
    lanes = 1
    first_call_seconds: float | None = None  # Of the first training call, compilation included.
    waited_seconds: float | None = None  # For the arguments of all calls but the first.

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        shape: Shape,
        resident: bool = True,
        steps_per_call: int | None = None,
    ):
        self.learner = learner
        self.config = learner.config
        self.shape = shape
        self.examples = examples
        self.resident = resident
        on_cpu = jax.default_backend() == "cpu"
        # A module without a mask must not see padding: its short batches go alone, at their own size.
        self.pads = takes_mask(learner.module)
        # A streamed chunk is sent to the device anew, so it stays small.
        one_step = on_cpu or not resident or not self.pads
        self.steps_per_call = steps_per_call or (1 if one_step else shape.steps)
        # Padding costs time on a CPU, and next to none on a GPU.
        fitting = max(_LEAST_CLASSIFY_BATCH, shape.heldout) if on_cpu else _CLASSIFY_BATCH
        self._classify_batch = min(fitting, _CLASSIFY_BATCH)
        self._pool: dict[str, Array] | None = None
        self._compile()
        self._train = Program(self._train)

    def _compile(self) -> None:
        learner = self.learner
        self._init = jax.jit(
            functools.partial(steps_lib.init_state, learner, self.examples.empty(1))
        )
        self._train = jax.jit(functools.partial(steps_lib.train_steps, learner), donate_argnums=0)
        self._no_moments = jax.jit(moments_lib.no_moments)
        self._add_moments = jax.jit(
            functools.partial(moments_lib.add_moments, learner), donate_argnums=0
        )
        self._use_moments = jax.jit(
            functools.partial(moments_lib.use_moments, learner), donate_argnums=0
        )
        self._score = jax.jit(functools.partial(steps_lib.score, learner))
        self._classify = jax.jit(functools.partial(steps_lib.classify, learner))

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
            indices, mask = call.indices, call.mask
            if not self.pads:
                count = int(mask.sum())
                indices, mask = indices[:, :count], mask[:, :count]
            training = (*self._pooled(indices), indices, mask, call.active, call.fold)
        scoring = [
            [(*self._pooled(rows), mask) for rows, mask in zip(*part, strict=True) if mask.any()]
            for part in call.watched
        ]
        return jax.device_put((training, scoring))

    def train(
        self, state: TrainState, staged: tuple
    ) -> tuple[TrainState, list[tuple[Totals, ...]]]:
        """Run a staged call; `state` is donated.

        Returns:
            The new state, and for each lane the totals of each step and of each watched part, on the host.
        """
        training, scoring = staged
        totals = Totals(*np.zeros(len(Totals._fields), np.float32))
        with self._precision():
            if training is not None:
                state, totals = self._train(state, *training)
            scored = [[self._score(state, *part) for part in parts] for parts in scoring]
        totals, scored = jax.device_get((totals, scored))
        freed_memory.give_back()
        return state, [(totals, *map(_summed, scored))]

    def no_moments(self, state: TrainState) -> Moments:
        """See `stfer.training.moments.no_moments`."""
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
        """See `stfer.training.moments.use_moments`; `carry` is donated."""
        return self._use_moments(*carry)

    def lane(self, state: TrainState, lane: int) -> TrainState:
        """The state of one lane."""
        del lane
        return state

    def join(self, states: list[TrainState]) -> TrainState:
        """The inverse of `lane` over all lanes."""
        (state,) = states
        return jax.device_put(state)

    def classify(self, state: TrainState, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Class probabilities of a batch of examples [n, ...] a field: float32 [n, classes]."""
        return self.classify_groups(state, [batch])[0]

    def classify_groups(
        self, state: TrainState, groups: Iterable[Mapping[str, np.ndarray]]
    ) -> list[np.ndarray]:
        """`classify` for several groups of examples, such as the evaluation clips of each sequence.

        Works through batches of one size, filled across groups, so that any number of clips uses one
        compiled program; groups are drawn as they are needed.
        """
        counts = []

        def examples():
            for group in groups:
                count = len(next(iter(group.values())))
                counts.append(count)
                yield from ({name: a[i] for name, a in group.items()} for i in range(count))

        size, parts = self._classify_batch, []
        for batch in itertools.batched(examples(), size):
            padding = size - len(batch)
            stacked = {
                name: np.stack([*(one[name] for one in batch), *[np.zeros_like(like)] * padding])
                for name, like in batch[0].items()
            }
            with self._precision():
                probabilities = self._classify(state, stacked)
            parts.append(np.asarray(probabilities)[: len(batch)])
            freed_memory.give_back()
        return np.split(np.concatenate(parts), np.cumsum(counts)[:-1])

    def _resident_pool(self) -> dict[str, Array]:
        if self._pool is None:
            self._pool = jax.device_put(self._every_example())
        return self._pool

    def _every_example(self) -> Arrays:
        return self.examples.gather(np.arange(len(self.examples.labels)))

    def _pooled(self, rows: np.ndarray) -> tuple[Mapping[str, Array | np.ndarray], np.ndarray]:
        """The pool that rows of the set are taken from, and the rows as places in it."""
        return (self._resident_pool(), rows) if self.resident else self._gathered(rows)

    def _gathered(self, rows: np.ndarray) -> tuple[Arrays, np.ndarray]:
        """`_pooled` with a pool that holds just these rows, of one size for as many rows."""
        unique, place = np.unique(rows, return_inverse=True)
        pool = self.examples.empty(rows.size)
        for name, array in self.examples.gather(unique).items():
            pool[name][: len(unique)] = array
        return pool, place.reshape(rows.shape).astype(np.int32)


def _summed(parts: Sequence[Totals]) -> Totals:
    """Totals of all parts together; zeros where there is none."""
    return Totals(
        *(np.sum(np.array([part[i] for part in parts], np.float32), axis=0) for i in range(3))
    )
