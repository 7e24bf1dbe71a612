"""A face's box in a frame, how it was found, and the geometry of boxes."""

from typing import NamedTuple

import numpy as np


class Face(NamedTuple):
    """A face's box in frame pixels (left, top, width, height) and the roll of its eye line in degrees.

    A positive roll has the eye on the frame's right lower; without landmarks it is 0.
    """

    x: float
    y: float
    width: float
    height: float
    roll: float = 0.0


class Tracked(NamedTuple):
    """A face and how it was found: `near` the last one, in the `whole` frame, or only by a `fine` search."""

    face: Face
    how: str


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


def neighbourhood(
    frame: np.ndarray, near: Face, reach: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of a frame around a box, and its origin (left, top) in the frame."""
    x0, y0 = int(near.x - reach * near.width), int(near.y - reach * near.height)
    x1, y1 = int(near.x + (1 + reach) * near.width), int(near.y + (1 + reach) * near.height)
    x0, y0 = max(x0, 0), max(y0, 0)
    return frame[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], (x0, y0)
