"""3DCNN-DAP: counts, sizes, convolutions by SciPy, the deformation by a loop, what each part sees."""

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from stfer.models.related.dap3d import ANCHORS, DAP3D, displacements, part_filters

TINY = {"frames": 5, "size": 36, "generic_features": 3, "filters": 1, "num_classes": 2}


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def small(random):
    """A tiny model, compiled, its variables and clips; maps of C3's pool are 1 x 1 x 1 a filter."""
    model = DAP3D(**TINY | {"size": 44})
    clips = random.random((2, 5, 44, 44, 1)).astype(np.float32)
    return jax.jit(model.apply), counting.started(model, clips), clips


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"filters": 1}, 1_463_770),
        ({"filters": 1, "frames": 7}, 1_370_170),
        ({"filters": 1, "frames": 5}, 1_276_570),
        ({"filters": 2}, 2_911_372),
        ({}, 4_358_974),
        ({"filters": 4}, 5_806_576),
        ({"filters": 1, "num_classes": 7}, 1_750_720),
    ],
)
def test_counts(fields, expected):
    model = DAP3D(**fields)
    assert counting.count(counting.shapes(model, counting.frames(model, 64))) == expected


def test_the_sizes_of_the_figure():
    model = DAP3D(filters=1)
    inputs = counting.frames(model, 170)
    _, out = jax.eval_shape(model.apply, counting.shapes(model, inputs), inputs)
    sizes = {name: out[name].shape[1:] for name in ("C1", "S2", "C3", "S4", "P6")}
    assert sizes == {
        "C1": (7, 56, 56, 64),
        "S2": (7, 28, 28, 64),
        "C3": (5, 20, 20, 78),
        "S4": (5, 10, 10, 78),
        "P6": (13, 6),
    }


@pytest.mark.slow
def test_convolutions_are_correlations_summed_over_maps(small):
    apply, variables, clips = small
    _, out = apply(variables, clips)
    for name, x in (("C1", clips), ("C3", np.asarray(out["S2"]))):
        kernel, bias = (np.asarray(variables["params"][name][leaf]) for leaf in ("kernel", "bias"))
        for feature in (0, kernel.shape[-1] - 1):
            total = sum(
                signal.correlate(x[0, ..., i], kernel[..., i, feature], mode="valid")
                for i in range(x.shape[-1])
            )
            expected = np.maximum(total + bias[feature], 0)
            np.testing.assert_allclose(out[name][0, ..., feature], expected, atol=1e-4)


@pytest.mark.slow
def test_the_deformation_is_the_quadratic_of_a_loop(small):
    apply, variables, clips = small
    _, out = apply(variables, clips)
    weights = np.asarray(variables["params"]["D5"])
    batch, time, rows, columns, features = out["S4"].shape
    before = np.asarray(out["S4"]).reshape(batch, time, rows, columns, 13, -1)
    for part, (x, y) in enumerate(ANCHORS):
        for t in range(time):
            for row in range(rows):
                for column in range(columns):
                    dx = 2 * ((column + 0.5) / columns - x)
                    dy = 2 * ((row + 0.5) / rows - y)
                    dz = (t - (time - 1) / 2) / max(time / 2, 1)
                    phi = np.array([dx, dy, dz, dx**2, dy**2, dz**2])
                    np.testing.assert_allclose(
                        out["D5"][0, t, row, column, part],
                        before[0, t, row, column, part] + weights[part] @ phi,
                        atol=1e-5,
                    )
    assert features == 26


def test_without_weights_nothing_is_deformed(small):
    apply, variables, clips = small
    params = dict(variables["params"])
    params["D5"] = jnp.zeros_like(params["D5"])
    _, out = apply({"params": params}, clips)
    np.testing.assert_array_equal(out["D5"].reshape(out["S4"].shape), out["S4"])


def test_a_detection_away_from_its_anchor_costs(random):
    phi = displacements((1, 20, 20), jnp.array([[0.5, 0.5]]))
    score = np.asarray(phi @ jnp.array([0, 0, 0, -1.0, -1.0, -1.0]))[0, 0]
    distances = np.hypot(*(np.indices((20, 20)) + 0.5 - 10))
    order = np.argsort(distances.ravel())
    assert (np.diff(score.ravel()[order]) < 1e-5).all()


def test_a_part_s_scores_depend_on_its_own_maps_alone(small):
    apply, variables, clips = small
    _, before = apply(variables, clips)
    params = jax.tree.map(lambda leaf: leaf, variables["params"])
    features = TINY["num_classes"]
    changed = slice(4 * features, 5 * features)  # the maps of part 4
    params["C3"]["bias"] = params["C3"]["bias"].at[changed].add(1.0)
    _, after = apply({"params": params}, clips)
    moved = np.abs(np.asarray(after["P6"] - before["P6"])).max((0, 2)) > 1e-6
    np.testing.assert_array_equal(np.flatnonzero(moved), [4])


def test_part_filters_are_class_wise_centroids(random):
    maps = random.normal(size=(6, 4, 14, 14, 2))
    labels = np.array([0, 0, 0, 1, 1, 1])
    maps[3:, :, :9, :9] += 50 * random.normal(size=(9, 9, 2))  # what class 1 has around the part
    kernels = part_filters(maps, labels, 2, 1, [(0.2, 0.2)])
    assert kernels.shape == (3, 9, 9, 2, 2)
    patches = np.stack([maps[3:, t : t + 3, :9, :9] for t in range(2)], 1).reshape(-1, 3 * 81 * 2)
    expected = patches.mean(0) - patches.mean()
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(kernels[..., 1].ravel(), expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(kernels.reshape(-1, 2), axis=0), 1, rtol=1e-5)
