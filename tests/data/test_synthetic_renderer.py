"""Frames: eyes between the lids, teeth between the lips, the face centred, shadows, the camera."""

import dataclasses

import numpy as np
import pytest

from stfer.data.synthetic import openings
from stfer.data.synthetic.appearance import paint, skin_colour
from stfer.data.synthetic.camera import (
    EYE_ROW,
    HEIGHT,
    SUPERSAMPLING,
    WIDTH,
    develop,
    draw_session,
)
from stfer.data.synthetic.expressions import Performance
from stfer.data.synthetic.hair import hair_colour
from stfer.data.synthetic.head_format import PARTS
from stfer.data.synthetic.identities import draw_identity
from stfer.data.synthetic.lights import Light
from stfer.data.synthetic.renderer import Portrait
from stfer.data.synthetic.shadows import visibility
from stfer.data.synthetic.texture import places
from stfer.data.synthetic.wrinkles import wrinkled

SHAPE = (HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING)


def session(**changes):
    drawn = draw_session(np.random.default_rng(1), np.random.default_rng(2), "lamp")
    return dataclasses.replace(drawn, **changes)


def still(units=(), weights=()):
    """A performance of one frame that looks into the camera."""
    zero = np.zeros((1, 3), np.float32)
    weights = np.array([weights], np.float32).reshape(1, len(units))
    gaze, progress = np.zeros((1, 2), np.float32), np.zeros(1, np.float32)
    return Performance(tuple(units), weights, zero, zero, gaze, progress)


@pytest.fixture(scope="module")
def identity():
    return draw_identity(np.random.default_rng(5))


@pytest.fixture(scope="module")
def appearance(identity):
    return paint(identity)


def draw(portrait, units):
    """Image, parts and depth of the body, and the posed vertices, with face units applied."""
    vertices = portrait.vertices + portrait.head.displacement(units)
    posed = (vertices - portrait.origin).astype(np.float32)
    normals = portrait.head.normals(posed)
    return *portrait._body(posed, normals, units), posed, normals


def test_a_frame_is_an_rgb_image(identity, appearance):
    frame = Portrait(identity, appearance, session(grey=False)).frame(
        still(), 0, np.random.default_rng(0)
    )
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert frame.dtype == np.uint8
    assert frame.std() > 10


def test_the_face_is_centred_on_the_eye_joints(identity, appearance):
    portrait = Portrait(identity, appearance, session())
    joints = [
        portrait.vertices[portrait.head.anchors[f"joint-{side}-eye"]].mean(0) for side in "lr"
    ]
    screen, _ = portrait.session.project(np.stack(joints) - portrait.origin)
    np.testing.assert_allclose(
        screen.mean(0), [SHAPE[1] / 2, EYE_ROW * SHAPE[0]], atol=1.5 * SUPERSAMPLING
    )


def test_eyes_are_drawn_only_around_sockets(identity, appearance):
    portrait = Portrait(identity, appearance, session())
    image, parts, *_ = draw(portrait, {})
    sockets = parts == PARTS.index("socket")
    assert 200 < sockets.sum() < 6000
    eyeballs = [portrait._eyeball(portrait.vertices - portrait.origin, side) for side in "lr"]
    before = image.copy()
    openings.draw_eyes(image, sockets, eyeballs, np.zeros(2), appearance, portrait.session)
    changed = np.argwhere((image != before).any(-1))
    socket = np.argwhere(sockets)
    nearest = [np.abs(socket - pixel).max(1).min() for pixel in changed[::7]]
    assert max(nearest) <= 8  # The lashes' blur reaches a few pixels, drawn at double size.
    assert (image[sockets] != before[sockets]).any(-1).mean() > 0.95


@pytest.mark.parametrize("target", ["eye-trans-out", "eye-trans-up", "eye-scale-incr"])
def test_the_iris_stays_on_the_eye_when_eye_targets_move_it(identity, appearance, target):
    # The iris must be found where camera geometry puts the front of the moved eyeball.
    moved = {f"{side}-{target}": 0.6 for side in "lr"}
    person = dataclasses.replace(identity, shape={**identity.shape, **moved})
    look = dataclasses.replace(
        appearance,
        iris=np.array([0.0, 0.0, 0.0]),  # Black on white: easy to find.
        texture=np.full_like(appearance.texture, 255),
        lashes=-0.9,
    )
    even = np.zeros((9, 3), np.float32)
    even[0] = 1
    light = Light("even", np.array([0, 0, 1], np.float32), np.zeros(3, np.float32), even)
    portrait = Portrait(person, look, session(light=light))
    image, parts, *_ = draw(portrait, {"eyeWideLeft": 1, "eyeWideRight": 1})
    sockets = parts == PARTS.index("socket")
    eyeballs = [portrait._eyeball(portrait.vertices - portrait.origin, side) for side in "lr"]
    openings.draw_eyes(image, sockets, eyeballs, np.zeros(2), look, portrait.session)
    for centre, radius in eyeballs:
        front = centre + np.array([0, 0, radius])
        (x, y), _ = (value[0] for value in portrait.session.project(front[None]))
        rows, columns = np.nonzero(sockets & (image.max(-1) < 0.06))
        near = np.hypot(columns - x, rows - y) < 25
        assert near.sum() > 60
        # Lids may cover its top or bottom, so only the column is exact.
        assert abs(columns[near].mean() - x) < 2.0


def test_teeth_show_only_where_the_mouth_is_open(identity, appearance):
    portrait = Portrait(identity, appearance, session())
    for units in ({"jawOpen": 1.0}, {"jawOpen": 0.6, "mouthSmileLeft": 1, "mouthSmileRight": 1}):
        image, parts, depth, posed, normals = draw(portrait, units)
        interior = parts == PARTS.index("mouth")
        assert interior.sum() > 500
        before = image.copy()
        openings.draw_mouth(image, interior, depth, portrait.head, posed, normals, portrait.session)
        np.testing.assert_array_equal(image[~interior], before[~interior])
        assert (image[interior] > before[interior] + 0.05).any()


def test_a_closed_mouth_stays_closed(identity, appearance):
    portrait = Portrait(identity, appearance, session())
    image, _, depth, posed, normals = draw(portrait, {})
    before = image.copy()
    nothing = np.zeros(SHAPE, bool)
    openings.draw_mouth(image, nothing, depth, portrait.head, posed, normals, portrait.session)
    np.testing.assert_array_equal(image, before)


def test_an_expression_changes_the_face_and_not_the_chest(identity, appearance):
    portrait = Portrait(identity, appearance, session(sensor_noise=0.0, grey=False, jpeg=0))
    frames = [
        portrait.frame(performance, 0, np.random.default_rng(0)).astype(int)
        for performance in (still(), still(("jawOpen", "browInnerUp"), (0.8, 1.0)))
    ]
    change = np.abs(frames[0] - frames[1]).max(-1)
    assert change[90:190].max() > 60
    assert change[225:, :60].max() <= 2


def test_wrinkles_darken_the_forehead_only_when_brows_rise(identity, appearance):
    np.testing.assert_allclose(wrinkled(appearance.texture, {}, 0.2), appearance.texture, atol=1)
    raised = wrinkled(appearance.texture, {"browInnerUp": 1.0}, 0.2)
    darker = (raised.astype(int) - appearance.texture).mean(-1) < -4
    heights = places()[..., 1][darker]
    assert darker.any()
    assert np.median(heights) > 7.6  # Decimetres: the eyes lie at 7.28.


def test_a_flat_wall_has_no_shadow_and_a_step_shades_away_from_the_light():
    wall = np.full((80, 120), 13.0, np.float32)
    light = np.array([0.6, 0.0, 0.8], np.float32)
    np.testing.assert_allclose(visibility(wall, light, 100.0), 1, atol=1e-6)
    wall[:, 60:] = 12.7  # The right half stands nearer; the light comes from the right.
    key = visibility(wall, light, 100.0)[..., 0]
    assert key[40, 50] < 0.2
    assert key[40, 5] > 0.95
    assert key[40, 100] > 0.95


def test_camera_averages_exposes_and_adds_its_noise():
    grey = np.full((*SHAPE, 3), 0.25, np.float32)
    plain = {"exposure": 1.0, "grey": False, "jpeg": 0, "white": np.ones(3, np.float32)}
    quiet = develop(session(sensor_noise=0.0, **plain), grey, np.random.default_rng(0))
    assert abs(quiet.mean() - 127.5) < 3  # The square root of a quarter is a half.
    assert quiet.std() < 0.5
    noisy = develop(session(sensor_noise=4.0, **plain), grey, np.random.default_rng(0))
    assert noisy.std() == pytest.approx(4.0, rel=0.1)
    mono = develop(
        session(sensor_noise=4.0, **(plain | {"grey": True})), grey, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(mono[..., 0], mono[..., 1])
    np.testing.assert_array_equal(mono[..., 0], mono[..., 2])


def test_skin_and_hair_colours_span_their_range():
    people = [draw_identity(np.random.default_rng(seed)) for seed in range(200)]
    skin = np.array([skin_colour(person).mean() for person in people])
    hair = np.array([hair_colour(person).mean() for person in people])
    assert skin.min() < 0.42
    assert skin.max() > 0.78
    assert hair.min() < 0.12
    assert hair.max() > 0.4
    assert all(
        (hair_colour(person) >= 0).all() and (hair_colour(person) <= 1).all() for person in people
    )
