"""Wrinkles that expressions deepen, painted into the head's texture as darker lines."""

import functools
from collections.abc import Mapping

import cv2
import numpy as np

from stfer.data.synthetic.expressions import smoothstep
from stfer.data.synthetic.texture import bump, noise, places

WRINKLES = ("forehead", "frown", "crow", "cheek", "nose", "chin")
# How much each face unit deepens each wrinkle (forehead, frown, crow, cheek, nose, chin); `*` is either side.
WRINKLING = {
    "browInnerUp": (0.5, 0.15, 0, 0, 0, 0),
    "browOuterUp*": (0.25, 0, 0, 0, 0, 0),
    "browDown*": (0, 0.45, 0, 0, 0, 0),
    "cheekSquint*": (0, 0, 0.5, 0.15, 0, 0),
    "mouthSmile*": (0, 0, 0.1, 0.35, 0, 0),
    "noseSneer*": (0, 0, 0, 0.3, 0.55, 0),
    "mouthShrugLower": (0, 0, 0, 0, 0, 0.9),
    "mouthFrown*": (0, 0, 0, 0.15, 0, 0.2),
}


def pits_of(shape: tuple[int, int], size: float) -> np.ndarray:
    """The unevenness that all faces share, float32 [height, width] of unit deviation."""
    return noise(np.random.default_rng(7), shape, (size, size))


@functools.cache
def wrinkle_maps() -> tuple[tuple[slice, slice], np.ndarray]:
    """Where each of WRINKLES darkens the skin.

    Returns:
        The rows and columns of the texture that wrinkles touch.
        Over these, a map for each, float32 [6, rows, columns] in [0, 1].
    """
    place = np.nan_to_num(places(), nan=-9.0)
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    front = z > 0.9
    wave = y - 0.02 * np.sin(9 * place[..., 0]) - 0.04 * np.square(x)
    forehead = sum(bump(wave - level, 0.016) for level in (7.67, 7.755, 7.84, 7.92))
    # Lines fade in and out along the forehead; the texture's rows run along x.
    fading = noise(np.random.default_rng(8), x.shape, (40, 12))
    forehead = forehead * bump(x, 0.3) * np.clip(0.75 + 0.25 * fading, 0.2, 1)
    frown = bump(x - 0.055 - 0.08 * (y - 7.42), 0.013) * bump(y - 7.45, 0.055)
    ray = np.arctan2(y - 7.275, x - 0.42)
    reach = np.hypot(x - 0.44, y - 7.275)
    crow = sum(bump(ray - angle, 0.10) for angle in (-0.45, 0.0, 0.42)) * bump(reach - 0.13, 0.05)
    crow = crow * (x > 0.46)
    fold = x - (0.20 + 0.42 * (6.98 - y) - 0.25 * np.square(6.98 - y))
    # A thin line in a wide shade, which the fold's own relief goes on.
    cheek = 0.6 * bump(fold, 0.018) + 0.4 * bump(fold - 0.02, 0.05)
    cheek = cheek * smoothstep((7.03 - y) / 0.08) * smoothstep((y - 6.66) / 0.1)
    ridges = sum(bump(y - 0.25 * x - level, 0.016) for level in (7.19, 7.25, 7.31))
    nose = 0.8 * ridges * bump(x, 0.09)
    chin = bump(x, 0.12) * bump(y - 6.38, 0.07) * np.clip(0.5 + 0.5 * pits_of(x.shape, 5), 0, 1)
    stack = [np.clip(layer, 0, 1) * front for layer in (forehead, frown, crow, cheek, nose, chin)]
    maps = np.stack(stack).astype(np.float32)
    touched = maps.max(0) > 0.01
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return window, np.ascontiguousarray(maps[:, *window])


def wrinkled(texture: np.ndarray, weights: Mapping[str, float], depth: float) -> np.ndarray:
    """The texture with the wrinkles of one moment.

    Args:
        texture: uint8 [height, width, 3].
        weights: of the face units.
        depth: how deep this person's wrinkles are.
    """
    depths = np.zeros(len(WRINKLES), np.float32)
    for unit, rows in WRINKLING.items():
        names = [unit.replace("*", side) for side in ("Left", "Right")] if "*" in unit else [unit]
        for name in names:
            depths += weights.get(name, 0.0) * np.array(rows, np.float32)
    depths *= depth
    shown = np.flatnonzero(depths > 0.001)
    texture = texture.copy()
    if len(shown):
        window, maps = wrinkle_maps()
        shade = 1 - np.clip(sum(depths[k] * maps[k] for k in shown), 0, 0.5)
        texture[window] = cv2.multiply(texture[window], cv2.merge([shade] * 3), dtype=cv2.CV_8U)
    return texture
