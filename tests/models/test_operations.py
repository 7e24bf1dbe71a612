"""The rewritten operations against XLA's own: values and gradients, odd sizes, ties, towers, GPU programs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import QUICK, TINY

from properties import examples
from stfer.models import create_model
from stfer.models.layers import convolution, fourier, patches, pooling, winograd
from stfer.models.layers.convolution import convolve, convolve_towers, plain_convolve
from stfer.models.layers.pooling import max_pool, plain_max_pool
from stfer.models.layers.towers import TOWER_AXIS

# x, kernel, stride: even, odd and unequal sides, one output, with and without enough tiles for the fast form.
CONVOLUTIONS = [
    ((2, 27, 27, 64), (5, 5, 64, 3), 1),
    ((3, 20, 23, 5), (5, 5, 5, 4), 1),
    ((9, 11, 12, 65), (3, 3, 65, 2), 1),
    ((2, 22, 31, 3), (4, 4, 3, 5), 1),
    ((1, 64, 63, 3), (11, 11, 3, 4), 3),
    ((2, 71, 60, 6), (11, 11, 6, 4), 3),
    ((3, 72, 70, 2), (11, 11, 2, 4), 3),
    ((2, 5, 50, 53, 3), (3, 11, 11, 3, 4), 3),
    ((2, 3, 19, 21, 23), (3, 5, 5, 23, 4), 1),
    ((2, 5, 5, 3), (5, 5, 3, 4), 1),
    ((2, 11, 11, 3), (11, 11, 3, 4), 3),
    ((3, 15, 20, 5), (7, 6, 5, 3), 1),
    ((2, 4, 12, 9, 3), (2, 8, 9, 3, 4), 1),
    ((1, 9, 9, 2), (9, 9, 2, 3), 1),
    ((3, 14, 13, 4), (3, 3, 4, 5), 2),
    ((40, 7, 7, 3), (2, 3, 3, 4), 2),
]


def slow(cases):
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]


@pytest.fixture
def small_work_too(monkeypatch):
    """Let the fast form take convolutions that are too small to be worth it, an image or so at a time."""
    monkeypatch.setattr(winograd, "PART_BYTES", 100_000)
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)
    monkeypatch.setattr(winograd, "LEAST_TILES", 1)
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(fourier, "OVERHEAD", 0)
    monkeypatch.setattr(patches, "LEAST_PRODUCTS", 0)


def normal(shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def assert_float32_close(actual, expected, label=""):
    """Equal to a few float32 roundings of the largest value."""
    assert actual.shape == expected.shape, label
    assert actual.dtype == expected.dtype, label
    error = np.abs(np.float64(actual) - np.float64(expected)).max()
    assert error <= 5e-6 * np.abs(expected).max(), (label, error)


def check_against_xla(x_shape, kernel_shape, stride):
    """Values and both gradients."""
    x, kernel = normal(x_shape), normal(kernel_shape, 1)

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(x, kernel, seed_gradient):
        fast, pull_fast = jax.vjp(lambda x, k: convolve(x, k, stride), x, kernel)
        plain, pull_plain = jax.vjp(lambda x, k: plain_convolve(x, k, stride), x, kernel)
        return (fast, *pull_fast(seed_gradient)), (plain, *pull_plain(seed_gradient))

    shape = jax.eval_shape(lambda: plain_convolve(x, kernel, stride)).shape
    fast, plain = both(x, kernel, normal(shape, 2))
    for label, actual, expected in zip(("y", "x", "kernel"), fast, plain, strict=True):
        assert_float32_close(actual, expected, label)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("x_shape", "kernel_shape", "stride"),
    [*(pytest.param(*c, marks=pytest.mark.slow) for c in CONVOLUTIONS[:-1]), CONVOLUTIONS[-1]],
)
@pytest.mark.usefixtures("small_work_too")
def test_convolution_and_its_gradients_equal_xla_s(x_shape, kernel_shape, stride):
    check_against_xla(x_shape, kernel_shape, stride)


@st.composite
def convolutions(draw):
    """Shapes of x and kernel, and a stride: two or three dimensions, any sides, taps and channels, all small."""
    time = draw(st.lists(st.integers(1, 3), max_size=1))  # the kernel's, where it has one
    sizes = draw(st.sampled_from([st.integers(1, 5), st.integers(6, 7)]))  # Winograd's, and larger
    taps = [draw(sizes) for _ in range(2)]
    if draw(st.booleans()):
        taps[1] = taps[0]
    sides = [size + draw(st.integers(0, 7)) for size in taps]
    batch, channels, features = (
        draw(st.integers(1, 5)),
        *(draw(st.integers(1, 3)) for _ in range(2)),
    )
    times = [size + draw(st.integers(0, 2)) for size in time]
    stride = draw(st.integers(1, 3))
    return (batch, *times, *sides, channels), (*time, *taps, channels, features), stride


@pytest.mark.slow
@examples(15)
@given(convolutions(), st.sampled_from([1, 20_000, 10**9]))
def test_any_convolution_and_its_gradients_equal_xla_s(case, part_bytes):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LEAST_WORK", "LEAST_TILES", "LEAST_CHANNELS"):
            patch.setattr(winograd, name, 0)
        patch.setattr(fourier, "OVERHEAD", 0)
        patch.setattr(patches, "LEAST_PRODUCTS", 0)
        for operation in (winograd, patches):
            patch.setattr(operation, "PART_BYTES", part_bytes)
        check_against_xla(*case)


def test_the_paper_s_larger_layers_take_the_fast_form():
    for size, kernel_size, channels in (
        (57, 4, 27),
        (27, 5, 96),
        (11, 3, 256),
        (9, 3, 384),
    ):
        kernel_shape = (kernel_size, kernel_size, channels, 256)
        assert winograd.pays((32, size, size, channels), kernel_shape)
    assert not winograd.pays((1, 11, 11, 256), (3, 3, 256, 384))


@pytest.mark.parametrize(("batch", "parts"), [(1, 1), (6, 3), (7, 4)])
def test_a_batch_goes_through_in_parts(batch, parts, monkeypatch):
    """With parts of one size, with a last part that is short, and in one part."""
    x, kernel, seed = normal((batch, 8, 9, 4)), normal((3, 3, 4, 5), 1), normal((batch, 6, 7, 5), 2)
    of_an_image = 4 * 25 * 2 * 3 * (4 + 5)  # bytes, tiles of 5x5 values, 2 x 3 tiles, channels
    monkeypatch.setattr(winograd, "PART_BYTES", 2 * of_an_image)
    assert winograd._in_parts(x, kernel)[0] == parts
    found = winograd.convolve(x, kernel), *winograd.gradients(x, kernel, seed)
    expected, pull_back = jax.vjp(plain_convolve, x, kernel)
    for mine, theirs in zip(found, (expected, *pull_back(seed)), strict=True):
        assert_float32_close(mine, theirs)


# Taps in whole blocks or not, more and fewer columns than a block, parts of one size, a short last part, one part.
@pytest.mark.parametrize(
    ("batch", "height", "width", "kernel_shape", "images"),
    [(4, 13, 12, (9, 9, 1, 2), 2), (7, 9, 10, (4, 7, 3, 2), 2), (3, 5, 4, (2, 3, 5, 1), 9)],
)
def test_the_gradient_by_a_kernel_of_few_channels(
    batch, height, width, kernel_shape, images, monkeypatch
):
    x = normal((batch, height, width, kernel_shape[2]))
    kernel = jnp.zeros(kernel_shape)
    value, pull_back = jax.vjp(lambda k: plain_convolve(x, k), kernel)
    seed = normal(value.shape, 1)
    parts = []

    def divide(batch, image_bytes, part_bytes):
        parts.append(-(-batch // images))
        return parts[-1], images

    monkeypatch.setattr(patches.batch_parts, "divide", divide)
    found = patches.kernel_gradient(x, kernel_shape, seed)
    assert_float32_close(found, pull_back(seed)[0])
    assert parts == [-(-batch // images)]


def test_first_layers_take_the_gradient_of_patches():
    assert patches.pays((320, 52, 52, 1), (9, 9, 1, 32))
    assert patches.pays((32, 64, 64, 3), (5, 5, 3, 64))
    for few in (
        ((320, 26, 26, 32), (5, 5, 32, 32)),  # channels are many
        ((1, 52, 52, 1), (9, 9, 1, 32)),  # pixels
    ):
        assert not patches.pays(*few), few


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(3, 3), (7, 6)])
@pytest.mark.usefixtures("small_work_too")
def test_the_gradient_of_a_gradient(sides, monkeypatch):
    monkeypatch.setattr(winograd, "PART_BYTES", 1)
    x, kernel = normal((3, 9, 10, 4)), normal((*sides, 4, 3), 1)

    def twice(convolve):
        def slope(x, kernel):
            return jax.grad(lambda k: jnp.square(convolve(x, k)).sum())(kernel)

        return jax.jit(jax.grad(lambda x, k: jnp.square(slope(x, k)).sum(), argnums=(0, 1)))

    for mine, theirs in zip(
        twice(convolve)(x, kernel), twice(plain_convolve)(x, kernel), strict=True
    ):
        assert_float32_close(mine, theirs)


def test_large_kernels_over_many_channels_take_the_transforms():
    assert fourier.pays((32, 7, 28, 28, 64), (3, 9, 9, 64, 234))
    assert fourier.pays((32, 24, 24, 64), (11, 11, 64, 64))
    for few in (
        ((32, 28, 28, 3), (9, 9, 3, 64)),  # input channels
        ((4, 28, 28, 64), (9, 9, 64, 64)),  # images to share the kernel's transform
        ((32, 27, 27, 96), (5, 5, 96, 256)),  # taps
    ):
        assert not fourier.pays(*few), few


def test_the_transforms_are_numpy_s():
    x = np.random.default_rng(0).normal(size=(2, 7, 10, 3)).astype(np.float32)
    for height, width in ((7, 10), (9, 13)):
        found = np.asarray(fourier._transform(x, height, width))  # [v, u, n, part, c]
        expected = np.fft.rfft2(x, (height, width), axes=(1, 2)).transpose(1, 2, 0, 3)
        np.testing.assert_allclose(found[..., 0, :] + 1j * found[..., 1, :], expected, atol=1e-4)
        back = np.asarray(fourier._inverse(found, width, 7, 10))
        np.testing.assert_allclose(back, x, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("small_work_too")
def test_convolution_over_towers_and_single_rows():
    x, kernel = normal((3, 6, 16, 15, 70)), normal((3, 3, 70, 2), 1)  # [tower, batch, ...]

    def total(convolve, x, kernel):
        return jnp.square(jax.vmap(convolve, (0, None), axis_name=TOWER_AXIS)(x, kernel)).sum()

    for take in (jax.grad, lambda f, argnums: jax.vmap(jax.grad(f, argnums), (0, None))):
        rows = x if take is jax.grad else x[:, None]
        expected, *others = (
            jax.jit(take(lambda x, k, f=f: total(f, x, k), argnums=(0, 1)))(rows, kernel)
            for f in (plain_convolve, convolve, convolve_towers)
        )
        for actual in others:
            jax.tree.map(assert_float32_close, actual, expected)


def test_towers_with_kernels_of_their_own():
    x, kernels = normal((3, 2, 9, 8, 5)), normal((3, 3, 3, 5, 2), 1)
    expected = jnp.stack([plain_convolve(*pair) for pair in zip(x, kernels, strict=True)])
    mapped = jax.vmap(convolve_towers, axis_name=TOWER_AXIS)
    assert_float32_close(mapped(x, kernels), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("small_work_too")
def test_no_towers_at_all():
    x, kernel = normal((2, 9, 8, 5)), normal((3, 3, 5, 2), 1)

    def loss(convolve):
        return jax.value_and_grad(lambda x, k: jnp.square(convolve(x, k)).sum(), (0, 1))

    jax.tree.map(
        assert_float32_close, loss(convolve_towers)(x, kernel), loss(plain_convolve)(x, kernel)
    )
    # In a map of another name too, which is none over towers.
    jax.tree.map(
        assert_float32_close,
        jax.vmap(loss(convolve_towers), (0, None))(x[:, None], kernel),
        jax.vmap(loss(plain_convolve), (0, None))(x[:, None], kernel),
    )


@pytest.mark.slow
def test_forward_mode_needs_xla_s_own_operations():
    x, kernel = normal((1, 6, 7, 2)), normal((3, 3, 2, 2), 1)
    for fast, plain in (
        (max_pool, plain_max_pool),
        (lambda x: convolve(x, kernel), lambda x: plain_convolve(x, kernel)),
    ):
        with pytest.raises(TypeError, match="custom_vjp"):
            jax.jvp(fast, (x,), (x,))
        # Both are homogeneous: f(x + a x) = (1 + a) f(x).
        value, tangent = jax.jvp(plain, (x,), (x,))
        assert_float32_close(tangent, value)


@pytest.mark.slow
def test_a_plain_architecture_has_forward_mode_derivatives(architecture, tiny):
    """Lowered only: what the derivatives are is shown for three kinds of network below."""
    case = tiny(architecture)

    def tangent(model):
        def logits(clips):
            return model.apply({"params": case.params, "batch_stats": case.batch_stats}, clips)[0]

        clips = case.clips[:1]
        return jax.jit(lambda: jax.jvp(logits, (clips,), (clips,))[1]).lower()

    assert tangent(create_model(architecture, **TINY, plain=True)).out_info.shape[0] == 1
    with pytest.raises(TypeError, match="custom_vjp"):
        tangent(case.model)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slow_fusion", "conv3d", "rnn"])  # towers, time, scan
def test_every_derivative_of_a_plain_architecture(name, tiny):
    """Along one direction: forward mode against reverse mode of the fast form, to the second derivative."""
    case = tiny(name)
    model = create_model(name, **TINY, plain=True)

    def loss(apply, step):
        def moved(leaf):
            return leaf + step * 0.1 * jnp.sin(jnp.arange(leaf.size)).reshape(leaf.shape)

        params = jax.tree.map(moved, case.params)
        variables = {"params": params, "batch_stats": case.batch_stats}
        logits, _ = apply(variables, case.clips[:1])
        return jnp.square(logits - 1).sum()

    @functools.partial(jax.jit, compiler_options=QUICK)
    def derivatives(step):
        plain, fast = (functools.partial(loss, m.apply) for m in (model, case.model))
        forward = *jax.jvp(plain, (step,), (1.0,)), jax.hessian(plain)(step)
        linear = jax.linearize(plain, step)[1](1.0)
        return forward, linear, (fast(step), jax.grad(fast)(step), jax.grad(jax.grad(fast))(step))

    forward, linear, reverse = derivatives(0.0)
    np.testing.assert_allclose(forward, reverse, rtol=1e-4)
    np.testing.assert_allclose(linear, forward[1], rtol=1e-5)
    assert abs(forward[2]) > 1e-3


@pytest.mark.parametrize(("tile", "size"), [(m, r) for m in (2, 3) for r in (3, 4, 5)])
def test_winograd_s_transforms_filter_exactly(tile, size):
    """F(m, r) on whole numbers, in fractions: the outputs are the filter's, without any rounding."""
    fractions = winograd.exact_transforms(tile, size)

    def times(matrix, vector):
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]

    taps = [3, -7, 2, 5, 11][:size]
    inputs = [1, 4, -2, 8, 5, 7, -6][: tile + size - 1]
    products = [
        a * b for a, b in zip(times(fractions[1], taps), times(fractions[2], inputs), strict=True)
    ]
    expected = [sum(inputs[i + k] * taps[k] for k in range(size)) for i in range(tile)]
    assert times(fractions[0], products) == expected


@pytest.mark.parametrize("size", [3, 4, 5])
def test_winograd_rounds_as_its_docstring_says(size, monkeypatch):
    """Against sums in float64, of 256 channels (96 for 5x5): the largest error over the largest output."""
    channels, largest = {3: (256, 2e-6), 4: (256, 3e-6), 5: (96, 5e-6)}[size]
    x, kernel = normal((2, 12, 12, channels)), normal((size, size, channels, 8), 1)
    taken = np.lib.stride_tricks.sliding_window_view(np.float64(x), (size, size), axis=(1, 2))
    exact = np.einsum("bhwcij,ijcf->bhwf", taken, np.float64(kernel), optimize=True)
    for tile in winograd.TILES:
        monkeypatch.setattr(winograd, "TILES", (tile,))
        error = np.abs(np.float64(winograd.convolve(x, kernel)) - exact).max()
        assert error < largest * np.abs(exact).max(), (tile, error / np.abs(exact).max())
    monkeypatch.undo()


@pytest.mark.parametrize("size", [3, 4, 5])
@pytest.mark.parametrize("scale", [1e-28, 1e28])
def test_winograd_keeps_float32_s_range(size, scale):
    """Where the plain sum's values and gradients are far from 0 and infinity, so are these."""
    x, kernel = normal((2, 12, 12, 4)), normal((size, size, 4, 5), 1)
    small = 0.02 * kernel
    seed = normal(plain_convolve(x, kernel).shape, 2)
    found = winograd.convolve(scale * x, small), *winograd.gradients(x, small, scale * seed)
    want = winograd.convolve(x, small), *winograd.gradients(x, small, seed)
    for actual, expected in zip(found, want, strict=True):
        np.testing.assert_allclose(np.float64(actual) / scale, expected, rtol=1e-3, atol=1e-4)


def test_winograd_takes_the_tile_with_the_fewest_products():
    """Of outputs 23 (5x5), 9, 7 and 5 a side (3x3): 8, 3, 3 and 2 tiles of 3; of 4 a side two of 2."""
    for side, size, tile in ((27, 5, 3), (11, 3, 3), (9, 3, 3), (7, 3, 3), (6, 3, 2)):
        assert winograd._Tiling((1, side, side, 8), size).tile == tile, (side, size)


def test_winograd_names_what_it_cannot_build():
    with pytest.raises(ValueError, match=r"F\(4, 5\) needs 7 points; there are sets of 3 to 6"):
        winograd.transforms(4, 5)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "shape",
    [
        (2, 7, 9, 3),
        *slow([(2, 6, 8, 3), (1, 2, 3, 5), (2, 3, 5, 4, 2), (4, 2, 2, 1)]),
    ],
)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [jnp.float32, *slow([jnp.bfloat16])])
def test_max_pool_and_its_gradient_equal_xla_s(shape, ties, dtype):
    x = normal(shape)
    x = (jnp.maximum(jnp.round(x), 0) if ties else x).astype(dtype)  # ReLU makes many zeros
    y, pull_back = jax.vjp(max_pool, x)
    expected, pull_back_plain = jax.vjp(plain_max_pool, x)
    np.testing.assert_array_equal(y, expected)
    gradient = (jnp.arange(1, y.size + 1) / 8).reshape(y.shape).astype(dtype)
    np.testing.assert_array_equal(pull_back(gradient)[0], pull_back_plain(gradient)[0])


def test_max_pool_gives_the_gradient_of_a_tie_to_the_first():
    x = jnp.full((1, 2, 2, 1), 3.0)
    gradient = jax.grad(lambda x: max_pool(x).sum())(x)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[1, 0], [0, 0]])


def test_a_second_derivative_of_a_tie_is_the_first_s_too():
    def of(pool):
        def squared(x):
            return jnp.square(pool(x)).sum()

        return jax.grad(lambda x: jnp.square(jax.grad(squared)(x)).sum())(
            jnp.full((1, 2, 4, 1), 0.5)
        )

    np.testing.assert_array_equal(of(max_pool), of(plain_max_pool))


def test_too_few_frames_for_a_kernel_are_named():
    with pytest.raises(ValueError, match="over 3 frames needs as many, not 2"):
        convolution._gpu_forward(1, normal((1, 2, 5, 5, 1)), normal((3, 2, 2, 1, 1)))


def test_no_window_loses_its_gradient_when_what_is_pooled_is_rounded_otherwise():
    # XLA may compute the pooled values anew in the backward pass, with other roundings.
    x = normal((2, 6, 7, 3))
    y, (_, winner) = jax.jit(pooling._max_pool_forward)(x)
    gradient = jnp.ones_like(y)
    (of_x,) = jax.jit(pooling._max_pool_backward)((x * 1.000001, winner), gradient)
    np.testing.assert_array_equal(of_x, jax.vjp(plain_max_pool, x)[1](gradient)[0])


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


@pytest.mark.gpu
@pytest.mark.slow
def test_a_whole_model_has_the_same_gradients_in_both_forms(tiny, monkeypatch):
    case = tiny("late_fusion")

    def gradients():
        def loss(params):
            logits, _, _ = case.training_pass(params, case.clips)
            return jnp.square(logits).sum()

        return jax.jit(jax.grad(loss), compiler_options=QUICK)(case.params)

    plain = gradients()
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)
    monkeypatch.setattr(winograd, "LEAST_TILES", 1)
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1)
    for actual, expected in zip(jax.tree.leaves(gradients()), jax.tree.leaves(plain), strict=True):
        error = np.abs(actual - expected).max()
        assert error <= 1e-4 * max(1e-3, np.abs(expected).max())
