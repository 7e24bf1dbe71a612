"""A function as plain array operations, for converters that know only these.

JAX traces a network to a jaxpr, in which calls, derivatives of our own, branches by platform and loops over time nest
further jaxprs. Here all of them are written out: calls by their body, branches by platform by their default (XLA's own
operations), loops step by step. Pooling becomes slices and their maximum or sum, and a
convolution over time one over space for each frame of its kernel.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core

# What nests a body that can take the place of the call, and the parameter that holds it.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "custom_vmap_call": "call",
}

# Poolings: what a place beyond the edge counts as, and how a window's values are joined.
_POOLS: dict[str, tuple[float, Callable]] = {
    "reduce_window_max": (-float("inf"), lax.max),
    "reduce_window_sum": (0.0, lax.add),
}


def inlined(function: Callable, shapes: Sequence[jax.ShapeDtypeStruct]) -> Callable:
    """The same function of arrays, whose trace has neither calls nor loops nor branches by platform.

    Args:
        function: From arrays to one array.
        shapes: Of the arrays; dimensions can be symbolic (`jax.export.symbolic_shape`).
    """
    closed = jax.make_jaxpr(function)(*shapes)

    def plain(*arrays: Any) -> Any:
        (result,) = _evaluate(closed.jaxpr, closed.consts, arrays)
        return result

    return plain


def _evaluate(jaxpr: Any, consts: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr, with everything nested written out."""
    known: dict[Any, Any] = {}
    known.update(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, arrays, strict=True))

    def read(place: Any) -> Any:
        return place.val if isinstance(place, core.Literal) else known[place]

    for equation in jaxpr.eqns:
        results = _run(equation, [read(place) for place in equation.invars])
        known.update(zip(equation.outvars, results, strict=True))
    return [read(place) for place in jaxpr.outvars]


def _run(equation: Any, inputs: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _CALLS:
        return _body(params[_CALLS[name]], inputs)
    if name == "platform_index":
        return [0]  # Of no use: the branch is chosen below.
    if name == "cond" and params.get("branches_platforms") is not None:
        default = params["branches_platforms"].index(None)
        return _body(params["branches"][default], inputs[1:])
    if name == "scan":
        return _steps(params, inputs)
    if name == "optimization_barrier":
        return inputs
    if name == "pad":
        return [_padded(inputs[0], inputs[1], params["padding_config"])]
    if name in _POOLS:
        return [_pooled(*_POOLS[name], inputs[0], params)]
    if name == "conv_general_dilated" and inputs[0].ndim == 5:
        return [_convolved_over_time(inputs[0], inputs[1], params)]
    results = equation.primitive.bind(*inputs, **params)
    return results if equation.primitive.multiple_results else [results]


def _body(nested: Any, inputs: Sequence[Any]) -> list[Any]:
    return _evaluate(getattr(nested, "jaxpr", nested), getattr(nested, "consts", ()), inputs)


def _padded(x: Any, value: Any, config: Sequence[tuple[int, int, int]]) -> Any:
    """Padding as a concatenation: the converter's own takes no batch of any size."""
    for axis, (low, high, interior) in enumerate(config):
        if interior:
            raise NotImplementedError("padding between values")
        if (low, high) == (0, 0):
            continue
        x = lax.slice_in_dim(x, max(-low, 0), x.shape[axis] + min(high, 0), axis=axis)
        around = [
            lax.broadcast(value, (*x.shape[:axis], max(count, 0), *x.shape[axis + 1 :]))
            for count in (low, high)
        ]
        parts = [part for part in (around[0], x, around[1]) if part.shape[axis] != 0]
        x = lax.concatenate(parts, axis)
    return x


def _pooled(start: float, combine: Callable, x: Any, params: dict[str, Any]) -> Any:
    """A pooling as the maximum or sum of shifted slices: onnxruntime pools over two of four axes, and not over any."""
    window, strides = params["window_dimensions"], params["window_strides"]
    if set(params["base_dilation"]) | set(params["window_dilation"]) != {1}:
        raise NotImplementedError("pooling over windows with holes")
    if any(sum(sides) for sides in params["padding"]):
        value = jnp.asarray(start, x.dtype)
        x = _padded(x, value, [(*sides, 0) for sides in params["padding"]])
    total = None
    for place in itertools.product(*map(range, window)):
        part = x
        for axis, (first, size, stride) in enumerate(zip(place, window, strides, strict=True)):
            if size > 1 or stride > 1:
                end = first + (x.shape[axis] - size) // stride * stride + 1
                part = lax.slice_in_dim(part, first, end, stride, axis)
        total = part if total is None else combine(total, part)
    return total


def _convolved_over_time(x: Any, kernel: Any, params: dict[str, Any]) -> Any:
    """A convolution over time and space as a sum of convolutions over space, one a frame of the kernel."""
    spec = params["dimension_numbers"]
    if (
        (spec.lhs_spec, spec.rhs_spec) != ((0, 4, 1, 2, 3), (4, 3, 0, 1, 2))
        or params["window_strides"][0] != 1
        or tuple(params["padding"][0]) != (0, 0)
        or set(params["lhs_dilation"]) | set(params["rhs_dilation"]) != {1}
        or (params["feature_group_count"], params["batch_group_count"]) != (1, 1)
    ):
        raise NotImplementedError("this convolution over time")
    frames = x.shape[1] - kernel.shape[0] + 1
    total = None
    for time in range(kernel.shape[0]):
        part = lax.slice_in_dim(x, time, time + frames, axis=1)
        part = lax.conv_general_dilated(
            lax.reshape(part, (x.shape[0] * frames, *x.shape[2:])),
            lax.index_in_dim(kernel, time, 0, keepdims=False),
            params["window_strides"][1:],
            params["padding"][1:],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=params["precision"],
        )
        total = part if total is None else total + part
    assert total is not None  # A kernel has a frame.
    return lax.reshape(total, (x.shape[0], frames, *total.shape[1:]))


def _steps(params: dict[str, Any], inputs: list[Any]) -> list[Any]:
    """A loop over the first axis of its inputs, step by step."""
    if "ft_in" in params:  # as JAX has it from 0.12 on
        constants, state, over = map(list, params["ft_in"].update(inputs).unpack())
    else:
        constants = inputs[: params["num_consts"]]
        state = inputs[len(constants) : len(constants) + params["num_carry"]]
        over = inputs[len(constants) + len(state) :]
    carried = len(state)
    steps = range(params["length"])
    outputs = []
    for step in reversed(steps) if params["reverse"] else steps:
        slices = (lax.index_in_dim(array, step, 0, keepdims=False) for array in over)
        results = _body(params["jaxpr"], [*constants, *state, *slices])
        state = results[:carried]
        outputs.append(results[carried:])
    if params["reverse"]:
        outputs.reverse()
    stacked = (
        lax.concatenate([lax.expand_dims(part, (0,)) for part in parts], 0)
        for parts in zip(*outputs, strict=True)
    )
    return [*state, *stacked]
