"""STRNN: counts, the scan against a double loop, corners by flipping, what a cell reaches, sparsity."""

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.models.related.strnn import (
    CORNERS,
    STRNN,
    SpatialPass,
    TemporalPass,
    cells,
    from_corner,
    scan_grid,
)

pytestmark = pytest.mark.slow

TINY = {"hidden": 3, "projections": 2, "merged": 4, "temporal_hidden": 3, "temporal_projections": 2}


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(0)


def test_counts():
    def count(rows, columns, size, **fields):
        x = jax.ShapeDtypeStruct((1, 9, rows, columns, size), jnp.float32)
        model = STRNN(**fields)
        init = lambda x: model.init(jax.random.key(0), x, method="classify")  # noqa: E731
        return counting.count(jax.eval_shape(init, x))

    assert count(7, 7, 512) == 108_676
    assert count(4, 4, 64) == 53_596
    model = STRNN()
    assert (
        counting.count(counting.shapes(model, counting.frames(model, 64))) == 53_596 + 4 * 48 * 10
    )


def test_cells_are_the_picture_s_squares(random):
    frames = random.random((2, 3, 16, 24, 1)).astype(np.float32)
    grid = cells(jnp.asarray(frames), 8)
    assert grid.shape == (2, 3, 2, 3, 64)
    np.testing.assert_array_equal(grid[1, 2, 1, 2].reshape(8, 8), frames[1, 2, 8:, 16:, 0])


def test_the_scan_is_a_double_loop(random):
    inputs = random.normal(size=(4, 5, 2, 3)).astype(np.float32)
    weights = random.normal(size=(3, 3)).astype(np.float32) / 3
    h = np.zeros((5, 6, 2, 3))  # with a border of zeros above and to the left
    for i in range(4):
        for j in range(5):
            around = h[i + 1, j] + h[i, j + 1] + h[i, j]
            h[i + 1, j + 1] = np.maximum(inputs[i, j] + around @ weights, 0)
    np.testing.assert_allclose(scan_grid(jnp.asarray(inputs), weights), h[1:, 1:], atol=1e-5)


def test_a_pass_on_a_flipped_frame_is_the_opposite_corner_s_pass(random):
    x = random.normal(size=(4, 5, 2, 6)).astype(np.float32)
    first = SpatialPass(CORNERS[0], 3, 2)
    variables = counting.started(first, x)
    _, h = jax.jit(first.apply)(variables, x)
    for corner in CORNERS:
        turned = from_corner(jnp.asarray(x), corner)
        _, other = jax.jit(SpatialPass(corner, 3, 2).apply)(variables, turned)
        np.testing.assert_allclose(from_corner(other, corner), h, atol=1e-6)


def test_without_recurrence_a_pass_sees_each_cell_alone(random):
    x = random.normal(size=(4, 5, 2, 6)).astype(np.float32)
    layer = SpatialPass(CORNERS[1], 3, 2)
    params = dict(counting.started(layer, x)["params"])
    params["recurrent_kernel"] = jnp.zeros((3, 3))
    _, h = jax.jit(layer.apply)({"params": params}, x)
    expected = np.maximum(
        x @ np.asarray(params["input"]["kernel"]) + np.asarray(params["input"]["bias"]), 0
    )
    np.testing.assert_allclose(h, expected, atol=1e-6)


@pytest.mark.parametrize("corner", CORNERS)
def test_a_cell_reaches_exactly_the_quadrant_behind_it(corner):
    x = jnp.ones((4, 5, 1, 2))
    layer = SpatialPass(corner, 2, 1)
    params = {
        "input": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        "recurrent_kernel": jnp.ones((2, 2)) / 6,
        "projection": jnp.ones((4, 5, 1)),
    }
    jacobian = jax.jit(jax.jacobian(lambda x: layer.apply({"params": params}, x)[1].sum((2, 3))))(x)
    reached = np.asarray(jnp.abs(jacobian).sum((-2, -1)))[:, :, 1, 3] > 0
    rows, columns = np.indices((4, 5))
    down, across = corner
    expected = (rows <= 1 if down else rows >= 1) & (columns <= 3 if across else columns >= 3)
    np.testing.assert_array_equal(reached, expected)


def test_backward_is_forward_on_reversed_time(random):
    m = random.normal(size=(2, 6, 4)).astype(np.float32)
    forward, backward = TemporalPass(False, 3, 2), TemporalPass(True, 3, 2)
    params = dict(counting.started(forward, m)["params"])
    reverse = dict(params) | {"projection": params["projection"][::-1]}
    np.testing.assert_allclose(
        jax.jit(backward.apply)({"params": reverse}, m),
        jax.jit(forward.apply)({"params": params}, m[:, ::-1]),
        atol=1e-6,
    )


def test_a_one_hot_projection_picks_its_cell(random):
    x = random.normal(size=(4, 5, 2, 6)).astype(np.float32)
    layer = SpatialPass(CORNERS[0], 3, 1)
    params = dict(counting.started(layer, x)["params"])
    params["projection"] = jnp.zeros((4, 5, 1)).at[2, 3, 0].set(1.0)
    mixtures, h = jax.jit(layer.apply)({"params": params}, x)
    np.testing.assert_array_equal(mixtures, h[2, 3])


def test_the_penalty_is_the_projections_l1_norm(random):
    model = STRNN(**TINY, frames=3, size=16, sparsity=(0.5, 2.0))
    clips = random.random((2, 3, 16, 16, 3)).astype(np.float32)
    variables = counting.started(model, clips)
    (logits, penalty), _ = model.apply(variables, clips)
    params = variables["params"]
    spatial = sum(np.abs(params[f"corner{n}"]["projection"]).sum() for n in (1, 2, 3, 4))
    temporal = sum(np.abs(params[name]["projection"]).sum() for name in ("forward", "backward"))
    np.testing.assert_allclose(penalty, [0.5 * spatial + 2 * temporal] * 2, rtol=1e-5)
    assert logits.shape == (2, 6)


def test_the_penalty_silences_a_cell_that_says_nothing(random):
    """One pass on two cells of which only the first tells the target: the other's weight goes to 0."""
    x = random.normal(size=(1, 2, 200, 1)).astype(np.float32)
    target = np.maximum(x[0, 0, :, 0], 0)
    layer = SpatialPass(CORNERS[0], 1, 1)
    params = {
        "input": {"kernel": jnp.ones((1, 1)), "bias": jnp.zeros(1)},
        "recurrent_kernel": jnp.zeros((1, 1)),
        "projection": jnp.full((1, 2, 1), 0.5),
    }

    def loss(projection):
        mixed, _ = layer.apply({"params": params | {"projection": projection}}, x)
        return jnp.square(mixed[:, 0] - target).mean() + 0.05 * jnp.abs(projection).sum()

    projection, step = params["projection"], jax.jit(jax.grad(loss))
    for _ in range(500):
        projection = projection - 0.05 * step(projection)
    first, second = projection[0, :, 0]
    assert first > 0.8
    assert abs(second) < 0.02
