"""Training on several devices with `jax.pmap`: a fold a device, or each batch split over all of them.

`FoldsEngine` stacks one train state a device; no device waits for another's numbers, so each fold is
trained as it would be alone. `BatchEngine` replicates one state; gradients, batch statistics and
metrics are sums over all devices (and all processes of `jax.distributed`), so a split batch trains as
the whole one would, up to the order of float32 sums. Both have `Engine`'s interface.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stfer.data.examples import Examples
from stfer.training import moments as moments_lib
from stfer.training import step as steps_lib
from stfer.training.batches import Shape
from stfer.training.engine import Call, Engine
from stfer.training.moments import Moments
from stfer.training.step import FoldConstants, Learner, Totals, TrainState

PARALLEL = ("auto", "folds", "batch", "none")
AXIS = "batch"


def resolve(parallel: str, many_folds: bool, devices: int | None = None) -> str:
    """What "auto" stands for: nothing on one device, else folds for many trainings, batch for a single one.

    Args:
        parallel: One of `PARALLEL`.
        many_folds: Whether there are several trainings to do.
        devices: How many there are; counted when None.

    Raises:
        ValueError: `parallel` is unknown.
    """
    if parallel not in PARALLEL:
        raise ValueError(f"parallel is {parallel!r}; it must be one of {', '.join(PARALLEL)}")
    if parallel != "auto":
        return parallel
    if (jax.device_count() if devices is None else devices) == 1:
        return "none"
    return "folds" if many_folds else "batch"


def make_engine(
    parallel: str, learner: Learner, examples: Examples, shape: Shape, resident: bool = True
) -> Engine:
    """Build the engine that `parallel` ("folds", "batch" or "none") names; see `Engine` for the rest."""
    kinds = {"none": Engine, "folds": FoldsEngine, "batch": BatchEngine}
    return kinds[parallel](learner, examples, shape, resident)


class _MappedEngine(Engine):
    """What the two engines share: one `Call` a device, stacked and placed before the step needs it."""

    def __init__(
        self,
        learner: Learner,
        examples: Examples,
        shape: Shape,
        resident: bool = True,
        steps_per_call: int | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        self._devices = list(devices or jax.devices())
        mesh = Mesh(np.array(self._devices), (AXIS,))
        self._split = NamedSharding(mesh, PartitionSpec(AXIS))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        super().__init__(learner, examples, shape, resident, steps_per_call)

    def _compile(self) -> None:
        super()._compile()
        if not self.pads:
            raise ValueError(
                f"the architecture {self.config.architecture} cannot be trained on several devices at once: its call "
                "lacks the argument mask, without which padding would enter its batch statistics; add mask=None and "
                "give it to stfer.models.layers.normalization.BatchNorm, or train with --parallel=none"
            )

    def _map(
        self, function: Callable, state_axis: int | None, arguments: int, **options
    ) -> Callable:
        """`jax.pmap` of `function(state, pool, *arguments)`.

        A resident pool is placed on every device once and passed with `in_axes=None`, which leaves it
        where it is; a streamed one is each device's own.
        """
        return jax.pmap(
            function,
            axis_name=AXIS,
            in_axes=(state_axis, None if self.resident else 0) + (0,) * arguments,
            devices=self._devices,
            **options,
        )

    def _stage(self, calls: list[Call]) -> tuple:
        """Place one call a device: the arguments of training, and of scoring each part of what is watched."""
        training = None
        if any(call.active.any() for call in calls):
            rows = [call.indices for call in calls]
            fields = ([call.mask for call in calls], [call.active for call in calls])
            fold = FoldConstants(
                *(self._place(list(part)) for part in zip(*(c.fold for c in calls), strict=True))
            )
            training = (
                *self._placed_pool(rows),
                self._place(rows),
                *map(self._place, fields),
                fold,
            )
        watched = zip(*(call.watched for call in calls), strict=True)
        return training, [self._staged_scoring(parts) for parts in watched]

    def _staged_scoring(self, parts: tuple[tuple[np.ndarray, np.ndarray], ...]) -> list[tuple]:
        """The arguments of scoring, part by part; `parts` holds rows and masks [parts, rows] a device."""
        staged = []
        for number in range(len(parts[0][0])):
            rows, masks = [p[0][number] for p in parts], [p[1][number] for p in parts]
            if any(mask.any() for mask in masks):
                staged.append((*self._placed_pool(rows), self._place(masks)))
        return staged

    def _placed_pool(self, rows: list[np.ndarray]) -> tuple[Any, Array]:
        """The pool, and places in it, for each device's rows."""
        if self.resident:
            return self._resident_pool(), self._place(rows)
        mine = [device.process_index == jax.process_index() for device in self._devices]
        gathered = [
            self._gathered(part) if own else None for part, own in zip(rows, mine, strict=True)
        ]
        names = next(found for found in gathered if found)[0]
        pool = {name: self._place([g and g[0][name] for g in gathered]) for name in names}
        return pool, self._place([g and g[1] for g in gathered])

    def _place(self, parts: Sequence[np.ndarray | None]) -> Array:
        """One part a device; those of other processes' devices may be None."""
        like = next(part for part in parts if part is not None)

        def own(index: tuple[slice, ...] | None) -> np.ndarray:
            assert index is not None
            part = parts[index[0].start or 0]
            assert part is not None  # Only this process's devices ask.
            return part[None]

        return jax.make_array_from_callback((len(parts), *like.shape), self._split, own)

    def _resident_pool(self) -> dict[str, Array]:
        if self._pool is None:
            self._pool = jax.device_put(self._every_example(), self._everywhere)
        return self._pool


class FoldsEngine(_MappedEngine):
    """One fold a device. Fewer folds than devices leave lanes idle: they repeat the first and are dropped."""

    def _compile(self) -> None:
        super()._compile()
        learner = self.learner
        self.lanes = len(self._devices)
        mapped = functools.partial(jax.pmap, axis_name=AXIS, devices=self._devices)
        self._init = mapped(
            functools.partial(steps_lib.init_state, learner, self.examples.empty(1))
        )
        steps = functools.partial(steps_lib.train_steps, learner)
        self._train = self._map(steps, 0, 5, donate_argnums=0)
        self._no_moments = mapped(moments_lib.no_moments)
        self._use_moments = mapped(
            functools.partial(moments_lib.use_moments, learner), donate_argnums=0
        )
        add = functools.partial(moments_lib.add_moments, learner)
        self._add_moments = self._map(add, 0, 5, donate_argnums=0)
        self._score = self._map(functools.partial(steps_lib.score, learner), 0, 2)

    def init(self, keys: list[Array]) -> TrainState:
        """Fresh states, stacked over the lanes; at most one key a lane."""
        with self._precision():
            return self._init(jax.numpy.stack(self._filled(keys)))

    def stage(self, calls: list[Call]) -> tuple:
        """See `Engine.stage`; at most one call a lane."""
        idle = dataclasses.replace(
            calls[0],
            mask=np.zeros_like(calls[0].mask),
            active=np.zeros_like(calls[0].active),
            watched=tuple((rows, np.zeros_like(mask)) for rows, mask in calls[0].watched),
        )
        return len(calls), self._stage(calls + [idle] * (self.lanes - len(calls)))

    def train(
        self, state: TrainState, staged: tuple
    ) -> tuple[TrainState, list[tuple[Totals, ...]]]:
        """See `Engine.train`."""
        count, placed = staged
        state, [found] = super().train(state, placed)

        def of(lane: int, totals: Totals) -> Totals:
            # Where nothing was trained or scored the totals are single zeros.
            return Totals(*(part[lane] if np.ndim(part) else part for part in totals))

        return state, [tuple(of(lane, totals) for totals in found) for lane in range(count)]

    def add_moments(
        self, carry: tuple[TrainState, Moments], staged: tuple
    ) -> tuple[TrainState, Moments]:
        """See `Engine.add_moments`."""
        _, placed = staged
        return super().add_moments(carry, placed)

    def lane(self, state: TrainState, lane: int) -> TrainState:
        """The state of one lane, on the first device (so that all lanes share one program to classify)."""
        device = self._devices[lane]

        def one(stacked: Array) -> Array:
            (shard,) = (part for part in stacked.addressable_shards if part.device == device)
            return jax.device_put(shard.data, self._devices[0])[0]

        return jax.tree.map(one, state)

    def join(self, states: list[TrainState]) -> TrainState:
        """The inverse of `lane` over the lanes in use."""
        hosts = self._filled(jax.device_get(states))
        return jax.tree.map(lambda *parts: self._place(list(parts)), *hosts)

    def _filled(self, values: list) -> list:
        if not 0 < len(values) <= self.lanes:
            raise ValueError(f"{len(values)} folds for {self.lanes} devices")
        return [*values, *values[:1] * (self.lanes - len(values))]


class BatchEngine(_MappedEngine):
    """One training whose batches are split over all devices; see the module's head."""

    def _compile(self) -> None:
        super()._compile()
        learner = self.learner
        if "axis_name" not in type(learner.module).__dataclass_fields__:
            raise ValueError(
                f"the architecture {self.config.architecture} cannot split a batch over devices: it lacks "
                "the field axis_name; train it with --parallel=folds or none"
            )
        self._init = jax.jit(
            functools.partial(steps_lib.init_state, learner, self.examples.empty(1)),
            out_shardings=self._everywhere,
        )
        split = dataclasses.replace(learner, module=learner.module.clone(axis_name=AXIS))
        steps = functools.partial(steps_lib.train_steps, split, axis_name=AXIS)
        self._train = self._map(steps, None, 5, out_axes=None, donate_argnums=0)
        add = functools.partial(moments_lib.add_moments, split, axis_name=AXIS)
        self._add_moments = self._map(add, None, 5, out_axes=None, donate_argnums=0)
        self._score = self._map(self._score_all, None, 2, out_axes=None)

    def _score_all(self, *arguments: Any) -> Totals:
        return lax.psum(steps_lib.score(self.learner, *arguments), AXIS)

    def stage(self, calls: list[Call]) -> tuple:
        """See `Engine.stage`: the call's rows are dealt out to the devices, padded to equal shares."""
        (call,) = calls
        rows, masks = self._shares(call.indices), self._shares(call.mask, padding=0)
        watched = [
            list(zip(self._shares(rows), self._shares(mask, padding=0), strict=True))
            for rows, mask in call.watched
        ]
        return self._stage(
            [
                dataclasses.replace(
                    call, indices=rows[i], mask=masks[i], watched=tuple(part[i] for part in watched)
                )
                for i in range(len(self._devices))
            ]
        )

    def _shares(self, array: np.ndarray, padding: float | None = None) -> list[np.ndarray]:
        """Cut the last axis into one equal part a device; without `padding` the first value fills up."""
        missing = -array.shape[-1] % len(self._devices)
        filler = (
            np.full((*array.shape[:-1], missing), padding, array.dtype)
            if padding is not None
            else np.repeat(array[..., :1], missing, -1)
        )
        return np.split(np.concatenate([array, filler], -1), len(self._devices), -1)

    def lane(self, state: TrainState, lane: int) -> TrainState:
        """The state, on one device."""
        del lane
        return jax.tree.map(lambda leaf: leaf.addressable_shards[0].data, state)

    def join(self, states: list[TrainState]) -> TrainState:
        """The inverse of `lane`."""
        (state,) = states
        return jax.device_put(state, self._everywhere)
