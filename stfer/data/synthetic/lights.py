"""Light all around a face: panoramas as nine spherical harmonics each, and one light that casts shadows.

`lights.npz` is rebuilt by `build_lights.py`; see LIGHTS_LICENSE.md. x points to the picture's right, y up, z to the
camera. Colours are linear RGB.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LAMP, DARK = "lamp", "dark"  # Lights that are no panorama.
LIGHTS_FILE = Path(__file__).with_name("lights.npz")
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@dataclass(frozen=True)
class Light:
    """What light reaches a matt surface.

    Attributes:
        name: `lamp`, `dark`, or the panorama's.
        direction: float32 [3], unit vector to the light that casts shadows and mirrors in eyes and skin.
        key: float32 [3], its colour.
        harmonics: float32 [9, 3], coefficients of `basis` for all the other light.
    """

    name: str
    direction: np.ndarray
    key: np.ndarray
    harmonics: np.ndarray

    @property
    def hardness(self) -> float:
        """The key light's share, which is how dark its shadows are, in [0, 1]."""
        key = float(self.key @ LUMINANCE)
        return key / max(key + float(self.harmonics[0] @ LUMINANCE), 1e-6)


def basis(normals: np.ndarray) -> np.ndarray:
    """Real spherical harmonics up to degree 2 at unit vectors [n, 3], not normalised: [n, 9]."""
    x, y, z = normals.T
    one = np.ones_like(x)
    return np.stack([one, x, y, z, x * y, y * z, 3 * z * z - 1, z * x, x * x - y * y], 1)


@functools.cache
def load_lights() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The panoramas (read once a process): names, harmonics float32 [18, 9, 3], bands uint8 [18, 32, 128, 3]."""
    with np.load(LIGHTS_FILE, allow_pickle=False) as file:
        return tuple(str(n) for n in file["names"]), file["harmonics"], file["bands"]


def turned(harmonics: np.ndarray, angle: float) -> np.ndarray:
    """The coefficients [9, 3] of the same light turned by `angle` radians about the vertical axis."""
    # Degree 2 turns into itself, so nine directions would do; more keep the solution well conditioned.
    normals = np.random.default_rng(0).normal(size=(40, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    cos, sin = np.cos(angle), np.sin(angle)
    back = normals @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return np.linalg.lstsq(basis(normals), basis(back) @ harmonics, rcond=None)[0]


def lamp(
    name: str, azimuth: float, elevation: float, key: np.ndarray, ambient: np.ndarray
) -> Light:
    """A lamp in a direction (radians), and dim light from all sides, a little more from above."""
    harmonics = np.zeros((9, 3), np.float32)
    harmonics[0], harmonics[2] = 0.75 * ambient, 0.25 * ambient
    direction = [
        np.sin(azimuth) * np.cos(elevation),
        np.sin(elevation),
        np.cos(azimuth) * np.cos(elevation),
    ]
    return Light(name, np.array(direction, np.float32), np.array(key, np.float32), harmonics)


def panorama(name: str, angle: float, level: float) -> Light:
    """A panorama's light, turned by `angle` radians.

    The camera is taken to balance its white for most of the tint. The brightest direction casts weak shadows.

    Args:
        name: the panorama's.
        angle: radians that it is turned by.
        level: luminance at a surface that faces the camera.

    Raises:
        ValueError: no such panorama.
    """
    names, all_harmonics, _ = load_lights()
    if name not in names:
        raise ValueError(f"light={name!r}: must be lamp, dark or one of {', '.join(names)}")
    harmonics = turned(all_harmonics[names.index(name)].astype(np.float64), angle)
    harmonics /= (harmonics[0] / (harmonics[0] @ LUMINANCE)) ** 0.75
    front = basis(np.array([[0.0, 0.35, 0.937]])) @ harmonics @ LUMINANCE
    harmonics *= level / max(float(front[0]), 0.35 * float(harmonics[0] @ LUMINANCE))
    brightest = harmonics[1:4] @ LUMINANCE
    strength = np.linalg.norm(brightest)
    direction = brightest / max(strength, 1e-9)
    if direction[2] < 0.25:  # From behind: what shades the face then comes from its sides.
        direction[2] = 0.25
        strength *= 0.2
    key = 0.5 * min(strength, level) * harmonics[0] / (harmonics[0] @ LUMINANCE)
    direction /= np.linalg.norm(direction)
    return Light(
        name,
        direction.astype(np.float32),
        np.array(key, np.float32),
        (0.8 * harmonics).astype(np.float32),
    )
