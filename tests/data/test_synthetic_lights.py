"""Light: spherical harmonics against integrals over the sphere, the packaged panoramas, backgrounds."""

import base64
import zipfile

import cv2
import numpy as np
import pytest

from stfer.data.synthetic import build_lights, lights
from stfer.data.synthetic.backgrounds import draw_background
from stfer.data.synthetic.camera import draw_session


def directions(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def matt(panorama, normal):
    """What a matt white surface sends back: the sum over the panorama of light times cosine, over pi."""
    toward, angles = build_lights.directions(*panorama.shape[:2])
    facing = np.maximum(toward @ normal, 0) * angles / np.pi
    return facing @ panorama.reshape(-1, 3)


def test_nine_harmonics_give_what_a_matt_surface_sends_back():
    rng = np.random.default_rng(3)
    panorama = cv2.GaussianBlur(rng.uniform(0, 1, (64, 128, 3)), (0, 0), 12) + 0.1
    coefficients = build_lights.harmonics(panorama)
    normals = directions(30)
    found = lights.basis(normals) @ coefficients
    expected = np.array([matt(panorama, normal) for normal in normals])
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_even_light_is_even():
    coefficients = build_lights.harmonics(np.full((64, 128, 3), 0.7))
    np.testing.assert_allclose(lights.basis(directions(20)) @ coefficients, 0.7, rtol=1e-3)


def test_turned_light_comes_from_the_turned_direction():
    panorama = np.full((64, 128, 3), 0.1)
    panorama[28:36, 60:68] = 5  # A lamp at the height of the eyes.
    toward, _ = build_lights.directions(64, 128)
    lamp = toward.reshape(64, 128, 3)[31:33, 63:65].mean((0, 1))
    coefficients = build_lights.harmonics(panorama)
    angle = 1.1
    turned = lights.turned(coefficients, angle)
    normals = directions(2000)
    brightest = normals[np.argmax((lights.basis(normals) @ turned)[:, 0])]
    expected = np.arctan2(lamp[0], lamp[2]) + angle
    found = np.arctan2(brightest[0], brightest[2])
    assert abs((found - expected + np.pi) % (2 * np.pi) - np.pi) < 0.15


def test_panoramas_are_small_all_there_and_named_in_the_note():
    assert lights.LIGHTS_FILE.stat().st_size < 250_000
    with zipfile.ZipFile(lights.LIGHTS_FILE) as archive:
        assert len(archive.namelist()) == 3
    names, harmonics, bands = lights.load_lights()
    assert len(set(names)) == len(names) == len(harmonics) == len(bands) == 18
    assert not {lights.LAMP, lights.DARK} & set(names)
    assert (harmonics[:, 0] > 0).all()
    note = lights.LIGHTS_FILE.with_name("LIGHTS_LICENSE.md").read_text()
    assert "CC0 1.0" in note
    assert build_lights.PACKAGE_SHA256 in note


@pytest.mark.parametrize("name", lights.load_lights()[0])
def test_every_panorama_lights_a_face(name):
    for angle in np.arange(0, 6.2, 0.7):
        light = lights.panorama(name, angle, 0.8)
        front = lights.basis(np.array([[0, 0.35, 0.937]])) @ light.harmonics @ lights.LUMINANCE
        assert 0.2 < front[0] < 0.9
        assert light.direction[2] > 0.2
        assert np.linalg.norm(light.direction) == pytest.approx(1, abs=1e-5)
        assert 0 <= light.hardness < 0.5


def test_an_unknown_panorama_and_another_package_are_refused(tmp_path):
    with pytest.raises(ValueError, match="moon"):
        lights.panorama("moon", 0.0, 1.0)
    package = tmp_path / "pmndrs-assets-1.7.0.tgz"
    package.write_bytes(b"not the package")
    with pytest.raises(ValueError, match="sha256"):
        build_lights.build(package)


def test_a_wrapped_panorama_is_read(monkeypatch):
    image = np.random.default_rng(0).integers(0, 255, (4, 8, 3), np.uint8)
    _, data = cv2.imencode(".png", image)
    script = b"export default 'data:image/png;base64," + base64.b64encode(data.tobytes()) + b"';"
    np.testing.assert_array_equal(build_lights.decode(script), image[..., ::-1])


@pytest.mark.parametrize("light", ["lamp", "park"])
def test_backgrounds_have_structure_at_times(light):
    spreads = []
    for seed in range(30):
        image = draw_background(np.random.default_rng(seed), 120, 160, light, 0.5)
        assert image.shape == (120, 160, 3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        spreads.append(np.sqrt(np.clip(image, 0, 1)).std())
    assert min(spreads) < 0.08
    assert max(spreads) > 0.12


@pytest.mark.slow
def test_sessions_span_light_cast_noise_and_jpeg():
    drawn = [
        draw_session(np.random.default_rng(seed), np.random.default_rng(seed + 1000))
        for seed in range(80)
    ]
    names = [session.light.name for session in drawn]
    assert 0.25 < np.mean([name == "lamp" for name in names]) < 0.65
    assert 0.02 < np.mean([name == "dark" for name in names]) < 0.25
    assert len(set(names)) > 8
    assert 0.3 < np.mean([session.jpeg > 0 for session in drawn]) < 0.7
    casts = np.array([session.white.max() / session.white.min() for session in drawn])
    assert np.median(casts) < 1.15
    assert casts.max() > 1.25
