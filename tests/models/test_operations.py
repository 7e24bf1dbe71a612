"""The rewritten convolution against XLA's own: values and gradients, odd sizes, towers, all derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import assert_float32_close, normal
from hypothesis import given
from hypothesis import strategies as st
from small_work import lift_limits
from tiny_models import QUICK, TINY

from properties import examples
from stfer.models import create_model
from stfer.models.layers import winograd
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
    ((3, 12, 13, 3), (2, 5, 3, 4), 1),
    ((2, 3, 12, 13, 2), (2, 5, 2, 2, 4), 1),
]


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
        lift_limits(patch, part_bytes)
        check_against_xla(*case)


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
    lift_limits(monkeypatch)
    for actual, expected in zip(jax.tree.leaves(gradients()), jax.tree.leaves(plain), strict=True):
        error = np.abs(actual - expected).max()
        assert error <= 1e-4 * max(1e-3, np.abs(expected).max())
