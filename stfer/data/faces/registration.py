"""Registering faces by their landmarks: the mean shape of some people, and maps from a face to it.

[3] warps every face by an affine map onto the mean face; [7] moves all faces of a set by one similarity between mean
shapes. A mean face belongs to the people that it was made of: take the training subjects' points alone, else the
held-out subject has shaped what it is tested with. Inside a model, `stfer.models.layers.registration` does the same
on the device.
"""

import cv2
import numpy as np


def mean_shape(shapes: np.ndarray, rounds: int = 10) -> np.ndarray:
    """The generalised Procrustes mean (Gower 1975): place, size and turn of each shape removed.

    Args:
        shapes: [n, points, 2].
        rounds: passes of turning all shapes to their mean and averaging anew.

    Returns:
        float64 [points, 2], centred on 0, with a mean squared distance from there of 1, upright as the shapes are
        on average.
    """
    shapes = np.asarray(shapes, np.float64)
    shapes = np.stack([_normalised(shape) for shape in shapes])
    mean = _normalised(shapes.mean(0))
    for _ in range(rounds):
        shapes = np.stack([shape @ _turn(shape, mean).T for shape in shapes])
        mean = _normalised(shapes.mean(0))
    return mean


def _normalised(shape: np.ndarray) -> np.ndarray:
    shape = shape - shape.mean(0)
    return shape / np.sqrt(np.square(shape).sum(1).mean())


def _turn(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation [2, 2] that brings centred points nearest to others (Kabsch 1976)."""
    u, _, v = np.linalg.svd(target.T @ source)
    return u @ np.diag([1, np.sign(np.linalg.det(u @ v))]) @ v


def into_square(shape: np.ndarray, extent: float = 0.8) -> np.ndarray:
    """A shape in the middle of the unit square, its longer side taking `extent` of it: float64 [points, 2]."""
    low, high = shape.min(0), shape.max(0)
    return (shape - (low + high) / 2) * (extent / (high - low).max()) + 0.5


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The nearest scaling, turn and shift from points to points [n, 2] (Umeyama 1991): float64 [2, 3]."""
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    middle, aim = source.mean(0), target.mean(0)
    centred, wanted = source - middle, target - aim
    turn = _turn(centred, wanted)
    scale = (wanted * (centred @ turn.T)).sum() / np.square(centred).sum()
    return np.column_stack([scale * turn, aim - scale * turn @ middle])


def affine(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The nearest affine map from points to points [n, 2], by least squares: float64 [2, 3]."""
    source = np.asarray(source, np.float64)
    columns = np.column_stack([source, np.ones(len(source))])
    return np.linalg.lstsq(columns, np.asarray(target, np.float64), rcond=None)[0].T


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points [..., 2] under a map [2, 3]."""
    return points @ transform[:, :2].T + transform[:, 2]


def warp(
    picture: np.ndarray, transform: np.ndarray, size: int, noise: np.random.Generator | None = None
) -> np.ndarray:
    """A picture under a map between places in 0..1 from edge to edge.

    Args:
        picture: uint8 [height, width] or [height, width, channel].
        transform: [2, 3], from the picture's places to the result's.
        size: pixels a side of the result.
        noise: fills what lies beyond the picture with uniform noise, as [7] does; None repeats the border.

    Returns:
        uint8 [size, size] or [size, size, channel].
    """
    height, width = picture.shape[:2]
    # OpenCV counts from the first pixel's centre, half a pixel from the edge.
    into = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1]])
    out_of = np.array([[size, 0, -0.5], [0, size, -0.5], [0, 0, 1]])
    whole = (out_of @ np.vstack([transform, [0, 0, 1]]) @ into)[:2]
    mode = cv2.BORDER_REPLICATE if noise is None else cv2.BORDER_CONSTANT
    result = cv2.warpAffine(picture, whole, (size, size), flags=cv2.INTER_LINEAR, borderMode=mode)
    if noise is not None:
        inside = np.ones((height, width), np.uint8)
        seen = cv2.warpAffine(inside, whole, (size, size), flags=cv2.INTER_NEAREST)
        filling = noise.integers(0, 256, result.shape, np.uint8)
        result = np.where(seen.reshape(size, size, *(1,) * (result.ndim - 2)) > 0, result, filling)
    return result
