"""Convolution with bias and ReLU, in two and three dimensions (paper, section III-B).

`convolve` is one operation with one result on every platform, rearranged to what each does fast
(`stfer.models.layers.rearrangement`). A GPU gets XLA's convolutions in two dimensions only, and first layers with
enough channels for its matrix units. On a CPU, XLA's gradient by the kernel takes several times as long as the
convolution itself, so there float32 convolutions in two dimensions, where that costs little at stride 1, go through
`stfer.models.layers.winograd`, with their own gradient; those with large kernels and many channels go through
`stfer.models.layers.fourier`. Of the others, 1x1 kernels are matrix products, and the gradient by the kernel is that of
`stfer.models.layers.patches` with few channels in and that of `stfer.models.layers.taps` with few taps.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.typing import DTypeLike

from stfer.models.layers import fourier, patches, taps, winograd
from stfer.models.layers.rearrangement import (
    grows,
    input_at_stride_1,
    kernel_at_stride_1,
    stacked_kernel,
    windows,
)
from stfer.models.layers.towers import over_towers

MANY_CHANNELS = 64  # A GPU keeps the strides of layers that have them.
MATRIX_UNITS = 8  # Channels come in such multiples where a GPU's matrix units work on them.


def plain_convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """`convolve` as XLA's own operation, the reference of the faster forms."""
    if kernel.ndim == 5:
        return lax.conv_general_dilated(
            x, kernel, (1, stride, stride), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
        )
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Cross-correlate without padding.

    It has a reverse-mode derivative only, on every platform: `jax.jvp`, `jax.linearize` and `jax.hessian` raise a
    TypeError that names custom_vjp. Where they are needed, use `plain_convolve`, which has every derivative and the
    same values to rounding (an architecture does with `plain=True`). Inside `jax.shard_map` its gradient needs
    `check_vma=False`, as every custom derivative does whose kernel all devices share.

    Args:
        x: [batch, height, width, in] or [batch, time, height, width, in].
        kernel: [rows, columns, in, out] or [time, rows, columns, in, out].
        stride: step over height and width; the step over time is 1.

    Returns:
        [batch, (time,) height, width, out].
    """
    plain = functools.partial(plain_convolve, stride=stride)
    return _by_platform(_forward, _gpu_forward, plain, stride, x, kernel)


def convolve_towers(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """`convolve` inside `jax.vmap` over towers that share the kernel: all towers' rows as one batch.

    Mapping `convolve` gives the same numbers, but its gradient by the kernel as one product a tower. Differentiate
    the mapped function, and give its axis the name `TOWER_AXIS`: where none is mapped, this is `convolve`.
    """
    if not over_towers():
        return convolve(x, kernel, stride)
    one = custom_vmap(lambda x, kernel: convolve(x, kernel, stride))

    @one.def_vmap
    def together(axis_size, in_batched, x, kernel):
        if in_batched == [True, False]:
            return _as_one_batch(lambda x, kernel: convolve(x, kernel, stride), x, kernel), True
        axes = [0 if batched else None for batched in in_batched]
        return jax.vmap(lambda x, kernel: convolve(x, kernel, stride), axes)(x, kernel), True

    return one(x, kernel)


def _as_one_batch(operation: Callable, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """X [mapped, batch, ...] and one kernel for all."""
    y = operation(x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), kernel)
    return y.reshape(*x.shape[:2], *y.shape[1:])


def _convolve_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple:
    return convolve(x, kernel, stride), (x, kernel)


def _convolve_backward(stride: int, inputs: tuple, gradient: jax.Array) -> tuple:
    plain = functools.partial(_plain_backward, stride)
    return _by_platform(_backward, _gpu_backward, plain, stride, *inputs, gradient)


def _plain_backward(stride: int, x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple:
    return jax.vjp(functools.partial(plain_convolve, stride=stride), x, kernel)[1](gradient)


convolve.defvjp(_convolve_forward, _convolve_backward)


def _by_platform(
    cpu: Callable, gpu: Callable, default: Callable, stride: int, *arrays: jax.Array
) -> Any:
    """`cpu(stride, *arrays)` there and `gpu`'s there; other platforms and runtimes (ONNX) get XLA's own operations."""
    on_gpu = functools.partial(_in_turn(gpu), stride)
    return lax.platform_dependent(
        *arrays, cpu=functools.partial(cpu, stride), cuda=on_gpu, rocm=on_gpu, default=default
    )


def _in_turn(operation: Callable) -> Callable:
    """`operation(stride, *arrays)` that `jax.vmap` repeats for each fold, where it would make a grouped convolution.

    It has the derivatives of `operation`, which JAX does not find through the repetition by itself; they are not
    repeated in their turn.
    """

    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def whole(stride: int, *arrays: jax.Array) -> jax.Array | tuple:
        one = custom_vmap(functools.partial(operation, stride))

        @one.def_vmap
        def in_turn(axis_size, in_batched, *arrays):
            if in_batched == [True, False]:
                return _as_one_batch(one, *arrays), True

            def at(number: jax.Array) -> jax.Array | tuple:
                pairs = zip(arrays, in_batched, strict=True)
                return one(*(a[number] if batched else a for a, batched in pairs))

            results = lax.map(at, jnp.arange(axis_size))
            return results, jax.tree.map(lambda _: True, results)

        return one(*arrays)

    def backward(stride: int, arrays: tuple, gradient: jax.Array | tuple) -> tuple:
        return jax.vjp(functools.partial(operation, stride), *arrays)[1](gradient)

    whole.defvjp(lambda stride, *arrays: (whole(stride, *arrays), arrays), backward)
    return whole


def _over_windows(operation: Callable, stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A convolution over time by one in two dimensions over stacked frames."""
    y = operation(stride, windows(x, kernel.shape[0]), stacked_kernel(kernel))
    return y.reshape(x.shape[0], x.shape[1] - kernel.shape[0] + 1, *y.shape[1:])


def _gpu_forward(stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Windows over time as channels; strides too where channels are few, and those in whole matrix units."""
    if kernel.ndim == 5:
        return _over_windows(_gpu_forward, stride, x, kernel)
    channels = kernel.shape[2]
    if stride > 1 and channels < MANY_CHANNELS and not grows(kernel.shape, stride):
        x, kernel = input_at_stride_1(x, kernel.shape, stride), kernel_at_stride_1(kernel, stride)
        more, stride = -kernel.shape[2] % MATRIX_UNITS, 1
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, more)))
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, more), (0, 0)))
    return plain_convolve(x, kernel, stride)


def _gpu_backward(stride: int, x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple:
    return jax.vjp(functools.partial(_gpu_forward, stride), x, kernel)[1](gradient)


def _forward(stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    if not _float32(x, kernel):
        return plain_convolve(x, kernel, stride)
    if stride == 1 and fourier.pays(x.shape, kernel.shape):
        return fourier.convolve(x, kernel)
    if kernel.ndim == 5:
        return _over_windows(_forward, stride, x, kernel)
    if _keeps_stride(kernel.shape, stride):
        return _direct(x, kernel, stride)
    x, kernel = input_at_stride_1(x, kernel.shape, stride), kernel_at_stride_1(kernel, stride)
    if winograd.pays(x.shape, kernel.shape):
        return winograd.convolve(x, kernel)
    return _direct(x, kernel, 1)


def _direct(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """XLA's convolution, or for a 1x1 kernel its matrix product."""
    if kernel.shape[:2] == (1, 1):
        return x[:, ::stride, ::stride] @ kernel[0, 0]
    return plain_convolve(x, kernel, stride)


def _backward(stride: int, x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple:
    """Rearrange as forward, differentiate, and pull the gradients back through the rearrangement."""
    if not _float32(x, kernel):
        return _plain_backward(stride, x, kernel, gradient)
    if stride == 1 and fourier.pays(x.shape, kernel.shape):
        return jax.vjp(fourier.convolve, x, kernel)[1](gradient)

    keeps_stride = _keeps_stride(kernel.shape[-4:], stride)

    def rearranged(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        if kernel.ndim == 5:
            x, kernel = windows(x, kernel.shape[0]), stacked_kernel(kernel)
        if keeps_stride:
            return x, kernel
        return input_at_stride_1(x, kernel.shape, stride), kernel_at_stride_1(kernel, stride)

    (x, kernel), pull_back = jax.vjp(rearranged, x, kernel)
    gradient = gradient.reshape(-1, *gradient.shape[-3:])
    kept = stride if keeps_stride else 1
    if kept == 1 and winograd.pays(x.shape, kernel.shape):
        return pull_back(winograd.gradients(x, kernel, gradient))
    (by_x,) = jax.vjp(lambda x: _direct(x, kernel, kept), x)[1](gradient)
    return pull_back((by_x, _kernel_gradient(x, kernel, gradient, kept)))


def _kernel_gradient(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int
) -> jax.Array:
    if taps.pays(x.shape, kernel.shape):
        return taps.kernel_gradient(x, kernel.shape, gradient, stride)
    if stride == 1 and patches.pays(x.shape, kernel.shape):
        return patches.kernel_gradient(x, kernel.shape, gradient)
    return jax.vjp(lambda kernel: plain_convolve(x, kernel, stride), kernel)[1](gradient)[0]


def _keeps_stride(kernel_shape: Sequence[int], stride: int) -> bool:
    """Whether a CPU gets the stride as it is; three to five blocks a side are worth more growth, as Winograd's."""
    down, across = (-(-size // stride) for size in kernel_shape[:2])
    return not (down == across and 3 <= down <= 5) and grows(kernel_shape, stride)


def _float32(*arrays: jax.Array) -> bool:
    return all(array.dtype == jnp.float32 for array in arrays)


class Convolution(nn.Module):
    """Convolution, bias and activation; without padding unless asked.

    Attributes:
        features: channels out.
        kernel_size: [(time,) rows, columns].
        stride: step over height and width.
        padding: "VALID", or "SAME" for ceil(size / stride) outputs, an odd pixel of padding at the end.
        activation: ReLU, another function, or None for a linear layer.
        use_bias: whether there is one.
        kernel_init: the kernel's start.
        plain: XLA's own operation, which has forward-mode derivatives.
    """

    features: int
    kernel_size: Sequence[int]
    stride: int = 1
    dtype: DTypeLike = jnp.float32
    plain: bool = False
    padding: str = "VALID"
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.glorot_uniform()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map [batch, (time,) height, width, in] to [batch, (time,) height, width, features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        operation = plain_convolve if self.plain else convolve_towers
        if self.padding == "SAME":
            x = pad_same(x, self.kernel_size, self.stride)
        y = operation(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
            y = y + bias.astype(self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
        return y if self.activation is None else self.activation(y)


def pad_same(x: jax.Array, kernel_size: Sequence[int], stride: int = 1) -> jax.Array:
    """Zeros around height and width (and time) so that a step of 1 keeps their size, as SAME padding does."""
    first = x.ndim - 1 - len(kernel_size)
    padding = [(0, 0)] * x.ndim
    for axis, size in enumerate(kernel_size, start=first):
        step = stride if axis >= x.ndim - 3 else 1
        more = max((-(-x.shape[axis] // step) - 1) * step + size - x.shape[axis], 0)
        padding[axis] = (more // 2, more - more // 2)
    return jnp.pad(x, padding)
