"""What a GPU gets: its programs, which need no GPU to be looked at, and their values on whatever there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import normal

from stfer.models.layers import convolution, fourier
from stfer.models.layers.convolution import convolve, plain_convolve
from stfer.models.layers.pooling import max_pool


def test_too_few_frames_for_a_kernel_are_named():
    with pytest.raises(ValueError, match="over 3 frames needs as many, not 2"):
        convolution._gpu_forward(1, normal((1, 2, 5, 5, 1)), normal((3, 2, 2, 1, 1)))


def lowered(function, *arguments, platform):
    """The program of the gradients for a platform, which need not be there."""
    traced = jax.jit(jax.grad(lambda *a: function(*a).sum(), argnums=(0, 1))).trace(*arguments)
    return traced.lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.usefixtures("small_work_too")
def test_a_gpu_gets_xla_s_convolutions_and_no_platform_its_gradient_of_pooling():
    arguments = normal((2, 72, 72, 3)), normal((11, 11, 3, 4))
    gpu, cpu = (
        lowered(lambda x, kernel: max_pool(convolve(x, kernel, 3)), *arguments, platform=platform)
        for platform in ("cuda", "cpu")
    )
    assert "stablehlo.convolution" in gpu
    assert "stablehlo.dot_general" not in gpu
    assert "stablehlo.dot_general" in cpu
    assert "stablehlo.select_and_scatter" not in gpu + cpu


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_gpu_gets_first_layers_with_channels_in_whole_matrix_units(dtype):
    # Blocks of 3x3 pixels of 3 frames with 3 channels are 81 channels, and 88 with zeros.
    arguments = normal((2, 5, 72, 72, 3)).astype(dtype), normal((3, 11, 11, 3, 4)).astype(dtype)
    gpu = lowered(lambda x, kernel: convolve(x, kernel, 3), *arguments, platform="cuda")
    assert "tensor<4x4x88x4x" in gpu
    assert "tensor<3x11x11x3x4x" not in "".join(
        line for line in gpu.splitlines() if "stablehlo.convolution" in line
    )


def test_a_gpu_keeps_strides_of_many_channels():
    arguments = normal((1, 15, 15, 64)), normal((11, 11, 64, 2))
    gpu = lowered(lambda x, kernel: convolve(x, kernel, 3), *arguments, platform="cuda")
    assert "stride = [3, 3]" in gpu


def test_a_gpu_gets_folds_beside_each_other_in_turn():
    arguments = normal((4, 2, 9, 9, 3)), normal((4, 3, 3, 3, 2))
    gpu = lowered(lambda x, kernel: jax.vmap(convolve)(x, kernel), *arguments, platform="cuda")
    assert "stablehlo.while" in gpu
    assert "feature_group_count = 1 " in gpu
    assert "group_count = 4" not in gpu


@pytest.mark.parametrize(
    ("stride", "of_x", "of_kernel"), [(1, 0, 0), (3, 0, 0), (3, 0, None), (3, None, 0)]
)
def test_folds_in_turn_are_each_as_alone(stride, of_x, of_kernel):
    def loss(x, kernel):
        y = convolution._in_turn(convolution._gpu_forward)(stride, x, kernel)
        ours = convolution._in_turn(convolution._gpu_backward)(stride, x, kernel, jnp.sin(y))
        return sum(jnp.square(part).sum() for part in (y, *ours))

    def plain_loss(x, kernel):
        y, pull_back = jax.vjp(lambda *a: plain_convolve(*a, stride), x, kernel)
        return sum(jnp.square(part).sum() for part in (y, *pull_back(jnp.sin(y))))

    x, kernel = normal((3, 2, 9, 8, 3)), normal((3, 4, 4, 3, 2), seed=1)
    x, kernel = x if of_x == 0 else x[0], kernel if of_kernel == 0 else kernel[0]
    found, expected = (
        jax.vmap(jax.value_and_grad(function, (0, 1)), (of_x, of_kernel))(x, kernel)
        for function in (loss, plain_loss)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "stride"),
    [
        ((2, 20, 23, 3), (11, 11, 3, 4), 3),
        ((2, 9, 8, 3), (3, 3, 3, 4), 2),
        ((2, 4, 17, 16, 2), (3, 7, 7, 2, 3), 2),
        ((2, 5, 6, 7, 2), (3, 3, 2, 2, 3), 1),
    ],
)
def test_the_form_for_a_gpu_equals_xla_s(x_shape, kernel_shape, stride, dtype):
    """On whatever device the tests run."""
    x, kernel = normal(x_shape).astype(dtype), normal(kernel_shape).astype(dtype)
    expected = plain_convolve(x, kernel, stride)
    found = convolution._gpu_forward(stride, x, kernel)
    gradient = normal(expected.shape).astype(dtype)
    of_both = convolution._gpu_backward(stride, x, kernel, gradient)
    plain = jax.vjp(lambda x, kernel: plain_convolve(x, kernel, stride), x, kernel)[1](gradient)
    assert found.dtype == dtype
    limit = 1e-5 if dtype == jnp.float32 else 2e-2
    for one, other in zip((found, *of_both), (expected, *plain), strict=True):
        one, other = one.astype(jnp.float32), other.astype(jnp.float32)
        assert jnp.abs(one - other).max() <= limit * jnp.abs(other).max()


def test_a_gpu_gets_no_transform(monkeypatch):
    monkeypatch.setattr(fourier, "OVERHEAD", 0)
    arguments = normal((2, 9, 9, 3)), normal((7, 7, 3, 4))
    traced = jax.jit(jax.grad(lambda x, k: convolve(x, k).sum(), argnums=(0, 1))).trace(*arguments)
    assert "stablehlo.dot_general" not in traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.dot_general" in traced.lower(lowering_platforms=("cpu",)).as_text()
