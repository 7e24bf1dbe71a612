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
from flax import linen as nn
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stfer.training import step as steps_lib
from stfer.training.batches import Shape
from stfer.training.config import TrainConfig
from stfer.training.engine import Call, Clips, Engine
from stfer.training.step import Moments, Totals, TrainState

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
    parallel: str,
    model: nn.Module,
    config: TrainConfig,
    clips: Clips,
    shape: Shape,
    resident: bool | None = None,
) -> Engine:
    """Build the engine that `parallel` ("folds", "batch" or "none") names; see `Engine` for the rest."""
    kinds = {"none": Engine, "folds": FoldsEngine, "batch": BatchEngine}
    return kinds[parallel](model, config, clips, shape, resident)


class _MappedEngine(Engine):
    """What the two engines share: one `Call` a device, stacked and placed before the step needs it."""

    def __init__(
        self,
        model: nn.Module,
        config: TrainConfig,
        clips: Clips,
        shape: Shape,
        resident: bool | None = None,
        steps_per_call: int | None = None,
        devices: Sequence[jax.Device] | None = None,
    ):
        self._devices = list(devices or jax.devices())
        mesh = Mesh(np.array(self._devices), (AXIS,))
        self._split = NamedSharding(mesh, PartitionSpec(AXIS))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        super().__init__(model, config, clips, shape, resident, steps_per_call)

    def _map(
        self, function: Callable, state_axis: int | None, arguments: int, **options
    ) -> Callable:
        """`jax.pmap` of `function(state, pool, labels, *arguments)`.

        A resident pool is placed on every device once and passed with `in_axes=None`, which leaves it
        where it is; a streamed one is each device's own.
        """
        pool_axis = None if self.resident else 0
        return jax.pmap(
            function,
            axis_name=AXIS,
            in_axes=(state_axis, pool_axis, pool_axis) + (0,) * arguments,
            devices=self._devices,
            **options,
        )

    def _stage(self, calls: list[Call]) -> tuple:
        """Place one call a device: the arguments of training, and of scoring each held-out part."""

        def placed(rows: list[np.ndarray], *others: list[np.ndarray]) -> tuple[Array, ...]:
            return (*self._placed_pool(rows), *map(self._place, others))

        training = None
        if any(call.active.any() for call in calls):
            fields = ("indices", "mask", "active")
            training = placed(*([getattr(call, field) for call in calls] for field in fields))
        scoring = [
            placed(
                [call.heldout[part] for call in calls], [call.heldout_mask[part] for call in calls]
            )
            for part in range(len(calls[0].heldout))
            if any(call.heldout_mask[part].any() for call in calls)
        ]
        return training, scoring

    def _placed_pool(self, rows: list[np.ndarray]) -> tuple[Array, Array, Array]:
        """Pool, labels and places in it, for each device's rows."""
        if self.resident:
            return (*self._resident_pool(), self._place(rows))
        mine = [device.process_index == jax.process_index() for device in self._devices]
        gathered = [
            self._gathered(part) if own else (None,) * 3
            for part, own in zip(rows, mine, strict=True)
        ]
        pools, labels, places = map(list, zip(*gathered, strict=True))
        return self._place(pools), self._place(labels), self._place(places)

    def _place(self, parts: list[np.ndarray | None]) -> Array:
        """One part a device; those of other processes' devices may be None."""
        like = next(part for part in parts if part is not None)
        return jax.make_array_from_callback(
            (len(parts), *like.shape), self._split, lambda index: parts[index[0].start or 0][None]
        )

    def _resident_pool(self) -> tuple[Array, Array]:
        if self._pool is None:
            every_row = np.arange(len(self.clips.labels))
            self._pool = jax.device_put(
                (self.clips.gather(every_row), self.clips.labels), self._everywhere
            )
        return self._pool


class FoldsEngine(_MappedEngine):
    """One fold a device. Fewer folds than devices leave lanes idle: they repeat the first and are dropped."""

    def _compile(self) -> None:
        super()._compile()
        model, optimizer = self._model, self._optimizer
        self.lanes = len(self._devices)
        self._init = jax.pmap(
            functools.partial(steps_lib.init_state, model, optimizer, self.clips.shape),
            axis_name=AXIS,
            devices=self._devices,
        )
        steps = functools.partial(steps_lib.train_steps, model, optimizer)
        self._train = self._map(steps, 0, 3, donate_argnums=0)
        mapped = functools.partial(jax.pmap, axis_name=AXIS, devices=self._devices)
        self._no_moments = mapped(steps_lib.no_moments)
        self._use_moments = mapped(steps_lib.use_moments, donate_argnums=0)
        add = functools.partial(steps_lib.add_moments, model)
        self._add_moments = self._map(add, 0, 3, donate_argnums=0)
        self._score = self._map(functools.partial(steps_lib.score, model), 0, 2)

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
            heldout_mask=np.zeros_like(calls[0].heldout_mask),
        )
        return len(calls), self._stage(calls + [idle] * (self.lanes - len(calls)))

    def train(
        self, state: TrainState, staged: tuple
    ) -> tuple[TrainState, list[tuple[Totals, Totals]]]:
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
        fields = type(self._model).__dataclass_fields__
        if "axis_name" not in fields or not steps_lib.takes_mask(self._model):
            raise ValueError(
                f"the architecture {self.config.architecture} cannot split a batch over devices: it lacks "
                "the field axis_name or the argument mask; train it with --parallel=folds or none"
            )
        model, optimizer = self._model, self._optimizer
        self._init = jax.jit(
            functools.partial(steps_lib.init_state, model, optimizer, self.clips.shape),
            out_shardings=self._everywhere,
        )
        split = model.clone(axis_name=AXIS)
        steps = functools.partial(steps_lib.train_steps, split, optimizer, axis_name=AXIS)
        self._train = self._map(steps, None, 3, out_axes=None, donate_argnums=0)
        add = functools.partial(steps_lib.add_moments, split, axis_name=AXIS)
        self._add_moments = self._map(add, None, 3, out_axes=None, donate_argnums=0)
        self._score = self._map(self._score_all, None, 2, out_axes=None)

    def _score_all(self, *arguments: Any) -> Totals:
        return lax.psum(steps_lib.score(self._model, *arguments), AXIS)

    def stage(self, calls: list[Call]) -> tuple:
        """See `Engine.stage`: the call's rows are dealt out to the devices, padded to equal shares."""
        (call,) = calls
        shares = zip(
            self._shares(call.indices),
            self._shares(call.mask, padding=0),
            self._shares(call.heldout),
            self._shares(call.heldout_mask, padding=0),
            strict=True,
        )
        return self._stage(
            [
                Call(rows, mask, call.active, held, held_mask)
                for rows, mask, held, held_mask in shares
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
