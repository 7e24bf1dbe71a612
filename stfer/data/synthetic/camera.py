"""Light, background and camera of the synthetic set: what a session looks like, and how pixels are recorded."""

from dataclasses import dataclass

import cv2
import numpy as np

from stfer.data.synthetic.appearance import noise

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
      direction: float32 [3], unit vector to the key light.
      key, ambient: float32 [3], linear RGB.
      background: float32 [height, width, 3], linear, at the drawing size.
      exposure, sensor_noise, blur, zoom: floats; noise in grey levels, blur in pixels.
      grey: whether the camera is monochrome.
    """

    direction: np.ndarray
    key: np.ndarray
    ambient: np.ndarray
    background: np.ndarray
    exposure: float
    sensor_noise: float
    blur: float
    zoom: float
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
        ray = [
            (x + 0.5 - width / 2) / reach,
            (EYE_ROW * height - y - 0.5) / reach,
            np.full(len(x), -1.0),
        ]
        ray = np.stack(ray, 1)
        return ray / np.linalg.norm(ray, axis=1, keepdims=True)

    def lit(self, normals: np.ndarray) -> np.ndarray:
        """Diffuse light float32 [n, 3] at unit normals; red light wraps around skin."""
        facing = (normals @ self.direction)[:, None]
        wrap = np.array([0.35, 0.2, 0.15], np.float32)
        key = np.clip((facing + wrap) / (1 + wrap), 0, None) ** np.float32(1.2) * self.key
        return key + (0.75 + 0.25 * normals[:, 1:2]) * self.ambient

    def highlight(self, normals: np.ndarray, sharpness: float) -> np.ndarray:
        """Mirrored key light [n] at unit normals (Blinn 1977), at most 1."""
        half = self.direction + np.array([0, 0, 1], np.float32)
        half /= np.linalg.norm(half)
        return np.clip(normals @ half, 0, 1) ** np.float32(sharpness)


def draw_session(rng: np.random.Generator, rng_sequence: np.random.Generator) -> Session:
    """Light and camera from the person's stream (the session) and the sequence's (small changes)."""
    azimuth = rng.normal(0, np.radians(20)) + rng_sequence.normal(0, np.radians(3))
    elevation = rng.uniform(np.radians(10), np.radians(40))
    direction = [
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
        np.cos(azimuth) * np.cos(elevation),
    ]
    white = 1 + rng.normal(0, 0.06) * np.array([1, 0, -1])
    key = rng.uniform(0.5, 0.75) * white
    ambient = rng.uniform(0.35, 0.5) * (2 - white)
    return Session(
        direction=np.array(direction, np.float32),
        key=key.astype(np.float32),
        ambient=ambient.astype(np.float32),
        background=_background(rng),
        exposure=float(rng.uniform(0.9, 1.15)),
        sensor_noise=float(rng.uniform(1.5, 4.0)),
        blur=float(rng.uniform(0.35, 0.75)),
        zoom=float(rng.uniform(0.93, 1.07)),
        grey=bool(rng.random() < 0.2),
    )


def _background(rng: np.random.Generator) -> np.ndarray:
    """A wall: one tint, a slope of light across it and soft blotches; linear, at the drawing size."""
    shade = rng.uniform(0.08, 0.5)
    tint = 1 + rng.normal(0, 0.12, 3)
    slope = rng.normal(0, 0.12) * np.linspace(-1, 1, WIDTH)
    blotches = rng.uniform(0, 0.06) * noise(rng, (HEIGHT, WIDTH), (60, 60))
    wall = np.clip(shade * (tint + (slope + blotches)[..., None]), 0, 1).astype(np.float32)
    return cv2.resize(wall, (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING))


def develop(session: Session, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the camera records of a drawn image.

    Args:
      image: float32 [height, width, 3], linear light, at the drawing size.
      rng: the sequence's stream, for sensor noise and flicker.

    Returns:
      uint8 [HEIGHT, WIDTH, 3], RGB; three equal channels for a monochrome camera.
    """
    picture = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    picture = np.sqrt(np.clip(picture * np.float32(session.exposure), 0, 1))
    picture = cv2.GaussianBlur(picture, (0, 0), session.blur)
    if session.grey:
        picture = cv2.transform(picture, GREY[None])[..., None]
    flicker = 1 + rng.normal(0, 0.006)
    grain = rng.standard_normal(picture.shape, np.float32)
    levels = picture * np.float32(255 * flicker) + grain * np.float32(session.sensor_noise) + 0.5
    recorded = np.clip(levels, 0, 255).astype(np.uint8)
    return np.repeat(recorded, 3, axis=2) if session.grey else recorded
