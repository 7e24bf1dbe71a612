"""Training on several devices with `jax.pmap`: folds side by side, or each batch split over all devices.

`stfer.training.side_by_side.FoldsEngine` trains folds as each would be trained alone.
`BatchEngine` replicates one state; gradients, batch statistics and metrics are sums over all devices
(and all processes of `jax.distributed`), so a split batch trains as the whole one would, up to the order
of float32 sums. Both have `Engine`'s interface.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax import lax

from stfer.data.examples import Examples
from stfer.training import moments as moments_lib
from stfer.training import step as steps_lib
from stfer.training.batches import Shape
from stfer.training.engine import Call, Engine
from stfer.training.mapped import AXIS, MappedEngine
from stfer.training.side_by_side import FoldsEngine
from stfer.training.step import Learner, Totals, TrainState

PARALLEL = ("auto", "folds", "batch", "none")


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


class BatchEngine(MappedEngine):
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
