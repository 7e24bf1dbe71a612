"""Camera of the synthetic set: what a session looks like, and how pixels are recorded."""

from dataclasses import dataclass

import cv2
import numpy as np

from stfer.data.synthetic import lights
from stfer.data.synthetic.backgrounds import draw_background
from stfer.data.synthetic.lights import DARK, LAMP, Light

HEIGHT, WIDTH = 240, 320
SUPERSAMPLING = 2
DISTANCE = 13.0  # Decimetres from the camera to the eyes.
PIXELS_PER_DM = 84.0  # At the eyes, in frame pixels; a head is about 2.4 dm high.
EYE_ROW = 0.46
GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Session:
    """One sequence's light and camera.

    Attributes:
        light: what lights the face.
        background: float32 [height, width, 3], linear, at the drawing size.
        white: float32 [3], gains of the camera's channels: its colour cast.
        exposure, sensor_noise, grain, blur, zoom: floats; noise in grey levels, grain (the size of its blotches) and
            blur in pixels.
        jpeg: quality of the camera's JPEG, 1 to 100; 0 for none.
        grey: whether the camera is monochrome.
    """

    light: Light
    background: np.ndarray
    white: np.ndarray
    exposure: float
    sensor_noise: float
    grain: float
    blur: float
    zoom: float
    jpeg: int
    grey: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width at which things are drawn, before averaging."""
        return HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING

    @property
    def scale(self) -> float:
        """Drawn pixels per decimetre at the distance of the eyes."""
        return PIXELS_PER_DM * self.zoom * SUPERSAMPLING

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Screen places [n, 2] (x, y) and distances [n] of points relative to the eyes [n, 3]."""
        distance = DISTANCE - points[:, 2]
        scale = self.scale * DISTANCE / distance
        height, width = self.size
        x = width / 2 + scale * points[:, 0]
        y = EYE_ROW * height - scale * points[:, 1]
        return np.stack([x, y], 1), distance

    def rays(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Unit vectors [n, 3] from the camera through pixel columns x and rows y."""
        height, width = self.size
        reach = self.scale * DISTANCE
        parts = [
            (x + 0.5 - width / 2) / reach,
            (EYE_ROW * height - y - 0.5) / reach,
            np.full(len(x), -1.0),
        ]
        ray = np.stack(parts, 1)
        return ray / np.linalg.norm(ray, axis=1, keepdims=True)

    def lit(self, normals: np.ndarray) -> np.ndarray:
        """Diffuse light float32 [n, 3] at unit normals; red light wraps around skin."""
        light = self.light
        facing = (normals @ light.direction)[:, None]
        wrap = np.array([0.35, 0.2, 0.15], np.float32)
        key = np.clip((facing + wrap) / (1 + wrap), 0, None) ** np.float32(1.2) * light.key
        around = lights.basis(normals).astype(np.float32) @ light.harmonics
        return key + np.maximum(around, 0.08 * light.harmonics[0])

    def highlight(self, normals: np.ndarray, sharpness: float) -> np.ndarray:
        """Mirrored key light [n] at unit normals (Blinn 1977), at most 1."""
        half = self.light.direction + np.array([0, 0, 1], np.float32)
        half /= np.linalg.norm(half)
        return np.clip(normals @ half, 0, 1) ** np.float32(sharpness)


def draw_session(
    rng: np.random.Generator, rng_sequence: np.random.Generator, light: str | None = None
) -> Session:
    """Light and camera from the person's stream (the session) and the sequence's (small changes).

    Args:
        rng: the person's stream.
        rng_sequence: the sequence's stream.
        light: `lamp`, `dark` or the name of a panorama; drawn if None.

    Raises:
        ValueError: no such light.
    """
    names, _, _ = lights.load_lights()
    choice, panorama = rng.random(), names[rng.integers(len(names))]
    drawn = DARK if choice < 0.08 else LAMP if choice < 0.52 else panorama
    light = drawn if light is None else light
    azimuth = rng.normal(0, np.radians(25)) + rng_sequence.normal(0, np.radians(3))
    elevation = rng.uniform(np.radians(5), np.radians(45))
    tint = 1 + rng.normal(0, 0.06) * np.array([1, 0, -1])
    key, ambient = rng.uniform(0.45, 0.75) * tint, rng.uniform(0.3, 0.5) * (2 - tint)
    angle, level = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 0.95)
    # A fifth of the cameras balance white badly.
    cast = rng.normal(0, 1, 3) * (0.12 if rng.random() < 0.2 else 0.025)
    fine, noisy, blotches = rng.uniform(1.0, 4.0), rng.uniform(4, 8), rng.uniform(0, 1.2)
    dim = rng.uniform(0.12, 0.3)
    if light in (LAMP, DARK):
        source = lights.lamp(light, azimuth, elevation, key, ambient)
    else:
        source = lights.panorama(light, angle, level)
    dark = light == DARK
    jpeg, quality = rng.random() < 0.5, int(rng.integers(30, 96))
    behind = np.random.default_rng(rng.integers(2**32))  # Lights need unlike many numbers.
    return Session(
        light=source,
        background=draw_background(
            behind, HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING, light, angle
        ),
        white=np.exp(cast - cast.mean()).astype(np.float32),
        exposure=float(rng.uniform(0.85, 1.15)) * (dim if dark else 1),
        sensor_noise=noisy if dark else fine,
        grain=blotches if dark else 0.0,
        blur=float(rng.uniform(0.35, 0.9)),
        zoom=float(rng.uniform(0.93, 1.07)),
        jpeg=quality if jpeg else 0,
        grey=bool(rng.random() < 0.2),
    )


def develop(session: Session, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the camera records of a drawn image.

    Args:
        session: light and camera.
        image: float32 [height, width, 3], linear light, at the drawing size.
        rng: the frame's stream, for sensor noise and flicker.

    Returns:
        uint8 [HEIGHT, WIDTH, 3], RGB; three equal channels for a monochrome camera.
    """
    picture = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    picture = np.sqrt(np.clip(picture * (session.white * np.float32(session.exposure)), 0, 1))
    picture = cv2.GaussianBlur(picture, (0, 0), session.blur)
    if session.grey:
        picture = cv2.transform(picture, GREY[None])[..., None]
    flicker = 1 + rng.normal(0, 0.006)
    grain = rng.standard_normal(picture.shape, np.float32)
    if session.grain > 0.3:  # Cameras smooth the noise of dim light, which leaves blotches.
        blotches = cv2.GaussianBlur(grain, (0, 0), session.grain)
        grain = blotches.reshape(picture.shape) * np.float32(1.2 * np.sqrt(session.grain))
    levels = picture * np.float32(255 * flicker) + grain * np.float32(session.sensor_noise) + 0.5
    recorded: np.ndarray = np.clip(levels, 0, 255).astype(np.uint8)
    if session.jpeg:
        quality = (cv2.IMWRITE_JPEG_QUALITY, session.jpeg)
        _, data = cv2.imencode(".jpg", recorded, quality)
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        assert decoded is not None  # It has just been encoded.
        recorded = decoded.reshape(picture.shape)
    return np.repeat(recorded, 3, axis=2) if session.grey else recorded
