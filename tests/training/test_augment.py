"""Augmentations: what they change, what they leave, and that points stay on the face."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from stfer.training.augment import Faces, make_augmentation, mirror
from stfer.training.augment.faces import _noise, blurred, warp

STILL = Faces(
    mirror=False, scale=(1.0, 1.0), stretch=0.0, degrees=0.0, shift=0.0, jitter_scale=0.0, jitter_degrees=0.0,
    jitter_shift=0.0, gamma=0.0, contrast=0.0, brightness=0.0, flicker=0.0, slope=0.0, colour=0.0, grey=0.0, blur=0.0,
    noise=0.0, erase=0.0,
)  # fmt: skip
VIEW = jax.jit(
    Faces(**(vars(STILL) | {"mirror": True, "scale": (0.9, 1.15), "degrees": 12.0, "shift": 0.04}))
)
FRAMES = np.random.default_rng(0).uniform(0.2, 0.8, (3, 20, 20, 3)).astype(np.float32)


@pytest.mark.slow
def test_strengths_of_nothing_change_nothing():
    found = jax.jit(STILL)({"frames": jnp.asarray(FRAMES)}, jax.random.key(0))
    np.testing.assert_allclose(found["frames"], FRAMES, atol=1e-5)


@pytest.mark.slow
def test_a_key_decides_and_another_key_gives_another_clip():
    change = jax.jit(Faces())
    first, again, other = (
        np.asarray(change({"frames": jnp.asarray(FRAMES)}, jax.random.key(k))["frames"])
        for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.05
    assert first.shape == FRAMES.shape
    assert 0 <= first.min() <= first.max() <= 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
def test_points_stay_on_what_they_mark(seed):
    """A bright spot at each of two points is, after the view has changed, where the points are said to be."""
    from stfer.data.faces.points import MIRRORED

    side, marks = 60, {12: (0.4, 0.35), 40: (0.6, 0.7)}
    points = np.zeros((1, 49, 2), np.float32)
    y, x = np.mgrid[:side, :side]
    for number, (across, down) in marks.items():
        points[0, number] = across, down
        spot = np.exp(-((x - across * (side - 1)) ** 2 + (y - down * (side - 1)) ** 2) / 8)
        frames = np.repeat(spot[None, ..., None], 3, -1).astype(np.float32)
        example = {"frames": jnp.asarray(frames), "landmarks": jnp.asarray(points)}
        found = VIEW(example, jax.random.key(seed))
        weights = np.asarray(found["frames"])[0, ..., 0]
        weights = np.where(weights > 0.2, weights, 0)
        place = np.array([(weights * x).sum(), (weights * y).sum()]) / weights.sum() / (side - 1)
        both = [np.asarray(found["landmarks"])[0, n] for n in (number, MIRRORED[number])]
        assert min(np.abs(place - one).max() for one in both) < 0.02


def test_a_mirrored_clip_and_its_points():
    from stfer.data.faces.points import mirror_points

    points = np.random.default_rng(1).random((3, 49, 2), np.float32)
    example = {"frames": jnp.asarray(FRAMES), "landmarks": jnp.asarray(points)}
    seen = set()
    for seed in range(8):
        found = mirror(example, jax.random.key(seed))
        flipped = not np.array_equal(found["frames"], FRAMES)
        seen.add(flipped)
        wanted = (FRAMES[:, :, ::-1], mirror_points(points)) if flipped else (FRAMES, points)
        np.testing.assert_allclose(found["frames"], wanted[0])
        np.testing.assert_allclose(found["landmarks"], wanted[1], atol=1e-6)
    assert seen == {True, False}


@pytest.mark.slow
def test_a_shift_of_whole_pixels_moves_pixels():
    frames = jnp.asarray(FRAMES)
    shift = jnp.broadcast_to(jnp.array([2 / 20, -3 / 20]), (3, 2))
    found = np.asarray(warp(frames, jnp.broadcast_to(jnp.eye(2), (3, 2, 2)), shift))
    np.testing.assert_allclose(found[:, 3:, :-2], FRAMES[:, :-3, 2:], atol=1e-5)


def test_an_unknown_strength_lists_those_that_there_are():
    with pytest.raises(ValueError, match="has no strength 'rotation'; it has mirror, scale"):
        make_augmentation("faces", {"rotation": 3})
    assert make_augmentation("none", {}) is None


def test_warping_equals_scipy_s_at_every_pixel():
    """Also where a place is a pixel's edge to rounding, which is another pixel's part when it is computed twice."""
    clips, side = 32, 170
    frames = np.random.default_rng(0).random((clips, 1, side, side, 3), np.float32)
    keys = jax.random.split(jax.random.key(0), clips)
    views = jax.vmap(lambda key: Faces()._view(key, 1)[:2])
    warped = jax.jit(jax.vmap(lambda frames, view: warp(frames, *view)))(frames, views(keys))
    y, x = np.meshgrid(*[np.arange(side) - (side - 1) / 2] * 2, indexing="ij")
    for clip, matrix, shift, found in zip(frames, *views(keys), warped, strict=True):
        places = np.stack([x, y], -1) @ np.float64(matrix[0]).T + np.float64(shift[0]) * side
        places = np.clip(places + (side - 1) / 2, 0, side - 1)
        rows_and_columns = [places[..., 1], places[..., 0]]
        for channel in range(3):
            wanted = map_coordinates(clip[0, ..., channel], rows_and_columns, order=1)
            np.testing.assert_allclose(found[0, ..., channel], wanted, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.05, 0.7, 2.0])
def test_blur_is_a_gaussian_of_what_is_inside(sigma):
    frames = np.random.default_rng(0).random((2, 20, 17, 3), np.float32)
    kernels = []
    for side in (20, 17):
        apart = np.arange(side)[:, None] - np.arange(side)[None]
        weights = np.exp(-0.5 * (apart / sigma) ** 2)
        kernels.append(weights / weights.sum(1, keepdims=True))
    wanted = np.einsum("ij,tjkc,lk->tilc", kernels[0], frames, kernels[1])
    found = jax.jit(blurred, static_argnums=2)(frames, sigma, 8)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


@pytest.mark.parametrize("time", [1, 6])
def test_noise_is_nearly_normal_and_every_frame_s_own(time):
    found = np.asarray(_noise(jax.random.key(2), time, 5000))
    assert found.shape == (time, 5000)
    limit = 6 / 5000**0.5  # six standard deviations of a mean
    assert np.abs(found.mean(1)).max() < limit
    assert np.abs(found.var(1) - 1).max() < 2**0.5 * limit
    assert 0.02 < (np.abs(found) > 2).mean() < 0.07  # of a normal number 0.046
    for one, other in itertools.combinations(found, 2):
        assert abs((one * other).mean()) < limit


def test_no_two_frames_of_a_clip_have_the_same_noise():
    found = jax.vmap(lambda key: _noise(key, 10, 64))(jax.random.split(jax.random.key(0), 200))
    for one, other in itertools.combinations(np.moveaxis(np.asarray(found), 1, 0), 2):
        assert (one != other).any(axis=1).all()
    # More frames than places: they repeat, and none reaches beyond the field.
    assert _noise(jax.random.key(0), 9, 4).shape == (9, 4)


def test_a_grey_clip_has_its_luma_in_all_channels():
    change = Faces(**(vars(STILL) | {"grey": 1.0}))
    found = np.asarray(change({"frames": jnp.asarray(FRAMES)}, jax.random.key(0))["frames"])
    luma = FRAMES @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(found, np.repeat(luma[..., None], 3, -1), atol=1e-5)
