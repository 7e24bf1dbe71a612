"""What the engines of several devices share: functions mapped with `jax.pmap`, and placing what they read."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stfer.data.examples import Examples
from stfer.training.batches import Shape
from stfer.training.engine import Call, Engine
from stfer.training.step import FoldConstants, Learner

AXIS = "batch"


class MappedEngine(Engine):
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
