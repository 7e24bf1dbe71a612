"""Folds side by side: one train state a device, or several, over which the functions are mapped with `jax.vmap`.

No fold waits for another's numbers, so each is trained as it would be alone.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array

from stfer.data.examples import Examples
from stfer.training import moments as moments_lib
from stfer.training import step as steps_lib
from stfer.training.batches import Shape
from stfer.training.engine import Call
from stfer.training.mapped import AXIS, MappedEngine
from stfer.training.moments import Moments
from stfer.training.step import FoldConstants, Learner, Totals, TrainState


class FoldsEngine(MappedEngine):
    """Folds side by side: `folds_per_device` of them on each device.

    A lane is a place for one fold; the lanes of the first device come first. Fewer folds than lanes leave some idle:
    they repeat the first fold and are dropped. Arrays have the axes [device, ...], and with several folds a device
    [device, fold, ...]; so one fold a device is the same program with and without that choice.

    Args:
        learner: See `Engine`, as are the next four.
        examples: The set.
        shape: The shape that covers every fold.
        resident: Where the set is.
        steps_per_call: Steps of a chunk.
        devices: Which devices; None for all.
        folds_per_device: How many folds train on each.
    """

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        shape: Shape,
        resident: bool = True,
        steps_per_call: int | None = None,
        devices: Sequence[jax.Device] | None = None,
        folds_per_device: int = 1,
    ):
        if folds_per_device < 1:
            raise ValueError(f"folds_per_device is {folds_per_device}; it must be at least 1")
        self.folds_per_device = folds_per_device
        super().__init__(learner, examples, shape, resident, steps_per_call, devices)

    def _compile(self) -> None:
        super()._compile()
        learner, beside = self.learner, self._beside
        self.lanes = len(self._devices) * self.folds_per_device
        mapped = functools.partial(jax.pmap, axis_name=AXIS, devices=self._devices)
        init = functools.partial(steps_lib.init_state, learner, self.examples.empty(1))
        self._init = mapped(beside(init))
        # The folds of a device share its pool of examples, which is the second argument.
        steps = beside(functools.partial(steps_lib.train_steps, learner), (0, None, 0, 0, 0, 0, 0))
        self._train = self._map(steps, 0, 5, donate_argnums=0)
        self._no_moments = mapped(beside(moments_lib.no_moments))
        use = beside(functools.partial(moments_lib.use_moments, learner))
        self._use_moments = mapped(use, donate_argnums=0)
        add = beside(functools.partial(moments_lib.add_moments, learner), (0, None, 0, 0, 0, 0, 0))
        self._add_moments = self._map(add, 0, 5, donate_argnums=0)
        score = beside(functools.partial(steps_lib.score, learner), (0, None, 0, 0))
        self._score = self._map(score, 0, 2)
        self._take = jax.jit(_take)

    def _beside(self, function: Callable, in_axes: Any = 0) -> Callable:
        """The function of one fold as one of all folds of a device."""
        return function if self.folds_per_device == 1 else jax.vmap(function, in_axes)

    def init(self, keys: list[Array]) -> TrainState:
        """Fresh states, stacked over the lanes; at most one key a lane."""
        stacked = jax.numpy.stack(self._filled(keys))
        if self.folds_per_device > 1:
            stacked = stacked.reshape(len(self._devices), self.folds_per_device)
        with self._precision():
            return self._init(stacked)

    def stage(self, calls: list[Call]) -> tuple:
        """See `Engine.stage`; at most one call a lane."""
        idle = dataclasses.replace(
            calls[0],
            mask=np.zeros_like(calls[0].mask),
            active=np.zeros_like(calls[0].active),
            watched=tuple((rows, np.zeros_like(mask)) for rows, mask in calls[0].watched),
        )
        every = calls + [idle] * (self.lanes - len(calls))
        return len(calls), self._stage([_side_by_side(group) for group in self._by_device(every)])

    def train(
        self, state: TrainState, staged: tuple
    ) -> tuple[TrainState, list[tuple[Totals, ...]]]:
        """See `Engine.train`."""
        count, placed = staged
        state, [found] = super().train(state, placed)

        def of(lane: int, totals: Totals) -> Totals:
            # Where nothing was trained or scored the totals are single zeros.
            return Totals(
                *(part[self._place_of(lane)] if np.ndim(part) else part for part in totals)
            )

        return state, [tuple(of(lane, totals) for totals in found) for lane in range(count)]

    def add_moments(
        self, carry: tuple[TrainState, Moments], staged: tuple
    ) -> tuple[TrainState, Moments]:
        """See `Engine.add_moments`."""
        _, placed = staged
        return super().add_moments(carry, placed)

    def lane(self, state: TrainState, lane: int) -> TrainState:
        """The state of one lane, on the first device (so that all lanes share one program to classify)."""
        number, *place = self._place_of(lane)
        device = self._devices[number]

        def own(stacked: Array) -> Array:
            (shard,) = (part for part in stacked.addressable_shards if part.device == device)
            return shard.data

        taken = self._take(jax.tree.map(own, state), (0, *place))
        return jax.device_put(taken, self._devices[0])

    def join(self, states: list[TrainState]) -> TrainState:
        """The inverse of `lane` over the lanes in use."""
        hosts = self._filled(jax.device_get(states))

        def placed(*lanes: np.ndarray) -> Array:
            return self._place([_stacked(group) for group in self._by_device(lanes)])

        return jax.tree.map(placed, *hosts)

    def _place_of(self, lane: int) -> tuple[int, ...]:
        """Where a lane is in an array over all lanes: its device, and its place among that device's folds."""
        return (lane,) if self.folds_per_device == 1 else divmod(lane, self.folds_per_device)

    def _by_device(self, lanes: Sequence[Any]) -> list[tuple[Any, ...]]:
        return list(itertools.batched(lanes, self.folds_per_device))

    def _filled(self, values: list) -> list:
        if not 0 < len(values) <= self.lanes:
            raise ValueError(f"{len(values)} folds for {self.lanes} lanes")
        return [*values, *values[:1] * (self.lanes - len(values))]


def _take(tree: Any, place: tuple[int, ...]) -> Any:
    return jax.tree.map(lambda leaf: leaf[place], tree)


def _stacked(parts: Sequence[np.ndarray], axis: int = 0) -> np.ndarray:
    """The arrays of a device's folds as one; of one fold itself."""
    return np.stack(parts, axis) if len(parts) > 1 else np.asarray(parts[0])


def _side_by_side(calls: Sequence[Call]) -> Call:
    """The calls of a device's folds as one, with an axis of folds: the first, after that of a scoring's parts."""
    watched = zip(*(call.watched for call in calls), strict=True)
    return Call(
        _stacked([call.indices for call in calls]),
        _stacked([call.mask for call in calls]),
        _stacked([call.active for call in calls]),
        FoldConstants(*map(_stacked, zip(*(call.fold for call in calls), strict=True))),
        tuple(
            (_stacked([rows for rows, _ in folds], 1), _stacked([mask for _, mask in folds], 1))
            for folds in watched
        ),
    )
