"""Convolution with bias and ReLU, in two and three dimensions (paper, section III-B).

`convolve` is one operation with one result on every platform. On a GPU it is XLA's convolution. On a CPU, XLA's
gradient by the kernel takes several times as long as the convolution itself, so there float32 convolutions are
rearranged to two dimensions and, where that costs little, to stride 1, and go through `stfer.models.layers.winograd`,
with their own gradient; those with large kernels and many channels go through `stfer.models.layers.fourier`.
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.typing import DTypeLike

from stfer.models.layers import fourier, winograd
from stfer.models.layers.towers import over_towers

MANY_CHANNELS = 64
# Of a kernel whose strides become channels: 1.2 for 11x11 at 3, 1.8 for 3x3 at 2.
MOST_GROWTH = 1.5


def plain_convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """`convolve` as XLA's own operation, the reference of the faster forms."""
    if kernel.ndim == 5:
        return lax.conv_general_dilated(
            x, kernel, (1, stride, stride), "VALID", dimension_numbers=("NDHWC", "DHWIO", "NDHWC")
        )
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """Cross-correlate without padding.

    float32 inputs have a reverse-mode derivative only, on every platform: `jax.jvp`, `jax.linearize` and `jax.hessian`
    raise a TypeError that names custom_vjp. Where they are needed, use `plain_convolve`, which has every derivative
    and the same values to float32 rounding (an architecture does with `plain=True`). Inside `jax.shard_map` its
    gradient needs `check_vma=False`, as every custom derivative does whose kernel all devices share.

    Args:
        x: [batch, height, width, in] or [batch, time, height, width, in].
        kernel: [rows, columns, in, out] or [time, rows, columns, in, out].
        stride: step over height and width; the step over time is 1.

    Returns:
        [batch, (time,) height, width, out].
    """
    if x.dtype != jnp.float32 or kernel.dtype != jnp.float32:
        return plain_convolve(x, kernel, stride)
    return _convolve(x, kernel, stride)


def convolve_towers(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """`convolve` inside `jax.vmap` over towers that share the kernel: all towers' rows as one batch.

    Mapping `convolve` gives the same numbers, but its gradient by the kernel as one product a tower. Differentiate
    the mapped function, and give its axis the name `TOWER_AXIS`: where none is mapped, this is `convolve`.
    """
    if not over_towers():
        return convolve(x, kernel, stride)
    one = custom_vmap(functools.partial(convolve, stride=stride))

    @one.def_vmap
    def together(axis_size, in_batched, x, kernel):
        if in_batched == [True, False]:
            rows = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
            y = convolve(rows, kernel, stride)
            return y.reshape(axis_size, x.shape[1], *y.shape[1:]), True
        axes = [0 if batched else None for batched in in_batched]
        return jax.vmap(functools.partial(convolve, stride=stride), axes)(x, kernel), True

    return one(x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_forward, stride=stride),
        default=functools.partial(plain_convolve, stride=stride),
    )


def _convolve_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple:
    return _convolve(x, kernel, stride), (x, kernel)


def _convolve_backward(stride: int, inputs: tuple, gradient: jax.Array) -> tuple:
    def plain(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple:
        return jax.vjp(functools.partial(plain_convolve, stride=stride), x, kernel)[1](gradient)

    cpu = functools.partial(_backward, stride=stride)
    return lax.platform_dependent(*inputs, gradient, cpu=cpu, default=plain)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    if stride == 1 and fourier.pays(x.shape, kernel.shape):
        return fourier.convolve(x, kernel)
    if kernel.ndim == 5:
        y = _forward(_windows(x, kernel.shape[0]), _stacked_kernel(kernel), stride)
        return y.reshape(x.shape[0], -1, *y.shape[1:])
    if _grows(kernel.shape, stride):
        return plain_convolve(x, kernel, stride)
    x, kernel = _input_at_stride_1(x, kernel.shape, stride), _kernel_at_stride_1(kernel, stride)
    # With few channels the transforms cost more than they save; the gradients' alternative is slower, so not there.
    if kernel.shape[2] >= MANY_CHANNELS and winograd.pays(x.shape, kernel.shape):
        return winograd.convolve(x, kernel)
    return plain_convolve(x, kernel)


def _backward(x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int) -> tuple:
    """Rearrange as forward, differentiate, and pull the gradients back through the rearrangement."""
    if stride == 1 and fourier.pays(x.shape, kernel.shape):
        return jax.vjp(fourier.convolve, x, kernel)[1](gradient)

    grows = _grows(kernel.shape[-4:], stride)

    def rearranged(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        if kernel.ndim == 5:
            x, kernel = _windows(x, kernel.shape[0]), _stacked_kernel(kernel)
        if grows:
            return x, kernel
        return _input_at_stride_1(x, kernel.shape, stride), _kernel_at_stride_1(kernel, stride)

    (x, kernel), pull_back = jax.vjp(rearranged, x, kernel)
    gradient = gradient.reshape(-1, *gradient.shape[-3:])
    if winograd.pays(x.shape, kernel.shape) and not grows:
        return pull_back(winograd.gradients(x, kernel, gradient))
    plain = functools.partial(plain_convolve, stride=stride if grows else 1)
    return pull_back(jax.vjp(plain, x, kernel)[1](gradient))


def stack_frames(x: jax.Array) -> jax.Array:
    """Frames side by side on the channels, the first frame's first: [batch, height, width, time * channel]."""
    return jnp.concatenate([x[:, time] for time in range(x.shape[1])], axis=-1)


def _windows(x: jax.Array, time: int) -> jax.Array:
    """Windows of `time` frames, stacked: [batch * window, height, width, time * in]."""
    starts = range(x.shape[1] - time + 1)
    x = jnp.stack([stack_frames(x[:, start : start + time]) for start in starts], axis=1)
    return x.reshape(-1, *x.shape[2:])


def _stacked_kernel(kernel: jax.Array) -> jax.Array:
    """A kernel over time as one over stacked frames: [rows, columns, time * in, out]."""
    time, rows, columns, channels, features = kernel.shape
    return kernel.transpose(1, 2, 0, 3, 4).reshape(rows, columns, time * channels, features)


def _grows(kernel_shape: Sequence[int], stride: int) -> bool:
    """Whether blocks of stride x stride pixels give the kernel more than `MOST_GROWTH` times its taps, for nothing.

    Three to five blocks a side are filtered as Winograd does, which saves more than that.
    """
    rows, columns = kernel_shape[:2]
    down, across = -(-rows // stride), -(-columns // stride)
    if down == across and 3 <= down <= 5:
        return False
    return down * across * stride**2 > MOST_GROWTH * rows * columns


def _input_at_stride_1(x: jax.Array, kernel_shape: Sequence[int], stride: int) -> jax.Array:
    """Blocks of stride x stride pixels as channels, as many as the outputs see."""
    if stride == 1:
        return x
    batch, height, width, channels = x.shape
    down, across = (
        (side - size) // stride - (-size // stride)
        for side, size in zip((height, width), kernel_shape[:2], strict=True)
    )  # outputs - 1 + taps
    x = x[:, : down * stride, : across * stride]
    padding = ((0, 0), (0, down * stride - x.shape[1]), (0, across * stride - x.shape[2]), (0, 0))
    x = jnp.pad(x, padding).reshape(batch, down, stride, across, stride, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, down, across, -1)


def _kernel_at_stride_1(kernel: jax.Array, stride: int) -> jax.Array:
    """The kernel for `_input_at_stride_1`'s blocks, with zeros where it does not fill the last one."""
    if stride == 1:
        return kernel
    rows, columns, channels, features = kernel.shape
    down, across = -(-rows // stride), -(-columns // stride)
    padding = ((0, down * stride - rows), (0, across * stride - columns), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, padding).reshape(down, stride, across, stride, channels, features)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(down, across, -1, features)


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
