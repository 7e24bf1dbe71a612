"""Training on several devices with `jax.pmap`: folds side by side, or each batch split over all devices.

`FoldsEngine` stacks one train state a device, or several, over which the functions are mapped once more
with `jax.vmap`; no fold waits for another's numbers, so each is trained as it would be alone.
`BatchEngine` replicates one state; gradients, batch statistics and metrics are sums over all devices
(and all processes of `jax.distributed`), so a split batch trains as the whole one would, up to the order
of float32 sums. Both have `Engine`'s interface.
"""

import dataclasses
import functools
import itertools
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


def resolve(
    parallel: str, many_folds: bool, devices: int | None = None, folds_per_device: int = 1
) -> str:
    """What "auto" stands for: nothing on one device, else folds for many trainings, batch for a single one.

    Several folds a device are folds side by side on one device, too.

    Args:
        parallel: One of `PARALLEL`.
        many_folds: Whether there are several trainings to do.
        devices: How many there are; counted when None.
        folds_per_device: How many folds train on each.

    Raises:
        ValueError: `parallel` is unknown, or trains no folds side by side where several a device are asked for.
    """
    if parallel not in PARALLEL:
        raise ValueError(f"parallel is {parallel!r}; it must be one of {', '.join(PARALLEL)}")
    if folds_per_device > 1 and parallel not in ("auto", "folds"):
        raise ValueError(
            f"--folds_per_device={folds_per_device} trains folds side by side, which --parallel={parallel} does not; "
            "give --parallel=folds or auto"
        )
    if parallel != "auto":
        return parallel
    if many_folds and folds_per_device > 1:
        return "folds"
    if (jax.device_count() if devices is None else devices) == 1:
        return "none"
    return "folds" if many_folds else "batch"


def make_engine(
    parallel: str,
    learner: Learner,
    examples: Examples,
    shape: Shape,
    resident: bool = True,
    folds_per_device: int = 1,
) -> Engine:
    """Build the engine that `parallel` ("folds", "batch" or "none") names; see `Engine` for the rest.

    Args:
        parallel: As `resolve` returns it.
        learner: What is trained.
        examples: The set.
        shape: The shape that covers every fold.
        resident: Keep the whole set on the device, or stream batches to it.
        folds_per_device: Of "folds", how many train on each device.
    """
    if parallel == "folds":
        return FoldsEngine(learner, examples, shape, resident, folds_per_device=folds_per_device)
    kinds = {"none": Engine, "batch": BatchEngine}
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
                f"the architecture {self.config.architecture} cannot be trained on several devices, or several folds "
                "on one, at once: its call lacks the argument mask, without which padding would enter its batch "
                "statistics; add mask=None and give it to stfer.models.layers.normalization.BatchNorm, or train with "
                "--parallel=none and one fold a device"
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
