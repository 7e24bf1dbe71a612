"""Shadows from the depth image alone: cast by the key light, and the dimness of hollows.

Both work at half the drawing size on `depth`, float32 [height, width], the distance from the camera in
decimetres, inf where nothing is.
"""

import cv2
import numpy as np

FAR = 99.0


def visibility(depth: np.ndarray, direction: np.ndarray, scale: float) -> np.ndarray:
    """How much light reaches each pixel.

    Args:
        depth: float32 [height, width].
        direction: [3], unit vector to the key light.
        scale: pixels per decimetre.

    Returns:
        float32 [height, width, 2]: the share of key light not shadowed, and of all light not lost in hollows.
    """
    height, width = depth.shape
    small = cv2.resize(depth, (width // 2, height // 2), interpolation=cv2.INTER_NEAREST)
    seen = np.isfinite(small)
    small = np.where(seen, small, np.float32(FAR))
    layers = np.stack([1 - _cast(small, direction, scale / 2), _open(small, seen)], axis=2)
    return cv2.resize(layers, (width, height), interpolation=cv2.INTER_LINEAR)


def _cast(depth: np.ndarray, direction: np.ndarray, scale: float) -> np.ndarray:
    """Shadow in [0, 1] by marching towards the light through the depth image."""
    rows, columns = depth.shape
    shadow = np.zeros_like(depth)
    reaches = np.linspace(0.05, 0.6, 8)
    steps = [(round(direction[0] * r * scale), round(-direction[1] * r * scale)) for r in reaches]
    for reach, (dx, dy) in zip(reaches, steps, strict=True):
        here = (slice(max(-dy, 0), rows - max(dy, 0)), slice(max(-dx, 0), columns - max(dx, 0)))
        there = (slice(max(dy, 0), rows - max(-dy, 0)), slice(max(dx, 0), columns - max(-dx, 0)))
        # How far the surface there stands above the ray from here to the light.
        above = depth[here] - depth[there] - np.float32(direction[2] * reach)
        step = np.clip((above - 0.03) * 20, 0, 1)
        step[above > 0.8] = 0
        np.maximum(shadow[here], step, out=shadow[here])
    return cv2.GaussianBlur(shadow, (0, 0), 2.6)


def _open(depth: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """One minus the depth below the surroundings' mean (depth unsharp masking, Luft et al. 2006)."""
    present = seen.astype(np.float32)
    near = depth * present
    mean = cv2.blur(near, (13, 13)) / np.maximum(cv2.blur(present, (13, 13)), 1e-6)
    return 1 - np.clip((near - mean) * 2.2, -0.08, 0.5) * present
