"""The z-buffer against a loop over pixels and triangles."""

import numpy as np
import pytest

from stfer.data.synthetic.rasterizer import interpolate, planes, rasterize


def barycentric(corners, point):
    """Weights of a point in a triangle by solving the linear system."""
    system = np.vstack([corners.T, np.ones(3)])
    return np.linalg.solve(system, [*point, 1.0])


def brute_force(corners, depth, height, width):
    triangle = np.full((height, width), -1)
    nearest = np.full((height, width), np.inf)
    for row in range(height):
        for column in range(width):
            for index in range(len(corners)):
                weights = barycentric(corners[index], (column + 0.5, row + 0.5))
                distance = weights @ depth[index]
                if weights.min() >= 0 and distance < nearest[row, column]:
                    triangle[row, column], nearest[row, column] = index, distance
    return triangle, nearest


@pytest.mark.parametrize("seed", range(4))
def test_matches_a_loop_over_pixels(seed):
    rng = np.random.default_rng(seed)
    height, width = 17, 23
    # Some triangles reach beyond the image on every side.
    corners = rng.uniform(-6, 28, (12, 3, 2))
    depth = rng.uniform(5, 9, (12, 3))
    triangle, nearest = rasterize(corners, depth, height, width)
    expected, distance = brute_force(corners, depth, height, width)
    np.testing.assert_array_equal(triangle.reshape(height, width), expected)
    np.testing.assert_allclose(nearest.reshape(height, width), distance, rtol=1e-4)


def test_neighbours_leave_no_hole_and_no_overlap():
    # A fan around a point inside a square covers each of its pixels exactly once.
    ring = np.array([[2, 2], [14, 2], [14, 14], [2, 14]], float)
    middle = np.array([7.3, 8.9])
    fan = np.array([[ring[i], ring[(i + 1) % 4], middle] for i in range(4)])
    covered = sum(
        (rasterize(fan[i : i + 1], np.ones((1, 3)), 16, 16)[0] >= 0).astype(int) for i in range(4)
    ).reshape(16, 16)
    expected = np.zeros((16, 16), int)
    expected[2:14, 2:14] = 1
    np.testing.assert_array_equal(covered, expected)


def test_values_are_interpolated_as_barycentric_weights_do():
    rng = np.random.default_rng(1)
    corners = np.array([[[1.0, 1.5], [18.0, 4.0], [6.0, 17.0]]])
    values = rng.normal(size=(1, 3, 5))
    triangle, _ = rasterize(corners, np.ones((1, 3)), 20, 20)
    place = np.flatnonzero(triangle >= 0)
    found = interpolate(planes(corners, values), triangle[place], place, 20)
    for index, pixel in enumerate(place):
        weights = barycentric(corners[0], (pixel % 20 + 0.5, pixel // 20 + 0.5))
        np.testing.assert_allclose(found[index], weights @ values[0], atol=1e-4)


def test_flat_triangles_and_an_empty_scene_draw_nothing():
    flat = np.array([[[1.0, 1.0], [5.0, 5.0], [9.0, 9.0]]])
    for corners in (flat, np.zeros((0, 3, 2))):
        triangle, nearest = rasterize(corners, np.ones((len(corners), 3)), 12, 12)
        assert (triangle[nearest == np.inf] == -1).all()
    assert np.isfinite(planes(flat, np.ones((1, 3, 2)))).all()
