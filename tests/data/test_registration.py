"""Mean faces and maps to them: known maps come back, the mean is the template, nothing of the held-out leaks."""

import numpy as np
import pytest

from stfer.data.faces.registration import affine, into_square, mean_shape, moved, similarity, warp


@pytest.fixture
def random():
    return np.random.default_rng(0)


def turn(angle, scale=1.0, shift=(0, 0)):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def test_known_maps_are_recovered(random):
    points = random.random((49, 2))
    known = np.array([[1.2, -0.3, 0.4], [0.1, 0.8, -0.2]])
    np.testing.assert_allclose(affine(points, moved(points, known)), known, atol=1e-12)
    known = turn(0.4, 1.7, (3, -2))
    np.testing.assert_allclose(similarity(points, moved(points, known)), known, atol=1e-12)
    assert np.linalg.det(affine(points, moved(points, known))[:, :2]) > 0


def test_a_similarity_never_mirrors(random):
    points = random.random((49, 2))
    assert np.linalg.det(similarity(points, points * (-1, 1))[:, :2]) > 0


def test_the_mean_of_one_shape_moved_about_is_that_shape(random):
    shape = random.random((49, 2))
    shapes = np.stack(
        [
            moved(shape, turn(angle, random.uniform(0.5, 2), random.random(2)))
            for angle in (-0.3, 0.3, 0.1, -0.1)
        ]
    )
    mean = mean_shape(shapes)
    np.testing.assert_allclose(moved(shape, similarity(shape, mean)), mean, atol=1e-9)
    np.testing.assert_allclose(mean.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(np.square(mean).sum(1).mean(), 1)


def test_registered_points_have_the_template_as_their_mean(random):
    base = random.random((49, 2))
    shapes = base + random.normal(0, 0.01, (200, 49, 2))
    template = into_square(mean_shape(shapes))
    registered = np.stack([moved(shape, affine(shape, template)) for shape in shapes])
    np.testing.assert_allclose(registered.mean(0), template, atol=0.003)
    assert template.min() == pytest.approx(0.1) or template.max() == pytest.approx(0.9)


def test_warping_puts_a_pixel_where_the_map_says(random):
    picture = np.zeros((100, 120), np.uint8)
    picture[38:43, 58:63] = 250  # around (60.5, 40.5)
    transform = np.array([[0.9, 0.1, 0.02], [-0.15, 1.1, 0.1]])
    result = warp(picture, transform, 300).astype(float)
    rows, columns = np.indices(result.shape) + 0.5
    centre = np.array([(result * columns).sum(), (result * rows).sum()]) / result.sum() / 300
    np.testing.assert_allclose(
        centre, moved(np.array([60.5 / 120, 40.5 / 100]), transform), atol=2e-3
    )


def test_noise_fills_only_what_lies_beyond(random):
    picture = np.full((50, 50, 3), 77, np.uint8)
    result = warp(picture, np.array([[0.5, 0, 0.25], [0, 0.5, 0.25]]), 40, random)
    assert (result[12:28, 12:28] == 77).all()
    assert len(np.unique(result[:9])) > 100
