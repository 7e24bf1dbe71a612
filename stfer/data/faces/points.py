"""The 49 facial points of the literature: their order, mirroring, places in a crop, and how they are drawn.

The order is that of IntraFace (Xiong & De la Torre 2013): ten of the brows, nine of the nose, twelve of the eyes,
eighteen of the mouth; within each from the image's left to its right and then back. They are the 68 points of Gross
et al.'s Multi-PIE mark-up without the jaw and the two inner corners of the mouth. Points are float32 [..., 49, 2],
x before y. In a frame they are in pixels, a pixel covering [i, i + 1); in a crop they are in 0..1 from edge to edge.
"""

import cv2
import numpy as np

from stfer.data.faces.box import Face
from stfer.data.faces.crop import CropSettings, crop_square, level_turn

POINTS = 49
NOSE_TIP = 13
LEFT_EYE, RIGHT_EYE = slice(19, 25), slice(25, 31)  # the image's left and right
# Rows of the 68 points that are among the 49.
OF_68 = np.array([*range(17, 60), 61, 62, 63, 65, 66, 67])
# The point that each one becomes in a mirrored picture.
MIRRORED = np.array(
    [
        *(9, 8, 7, 6, 5, 4, 3, 2, 1, 0),  # brows
        *(10, 11, 12, 13, 18, 17, 16, 15, 14),  # nose: ridge, then base
        *(28, 27, 26, 25, 30, 29, 22, 21, 20, 19, 24, 23),  # eyes
        *(37, 36, 35, 34, 33, 32, 31, 42, 41, 40, 39, 38),  # mouth, outside
        *(45, 44, 43, 48, 47, 46),  # mouth, inside
    ]
)
# Curves for drawing: first point, last point, whether it closes.
CURVES = (
    (0, 4, False),
    (5, 9, False),
    (10, 13, False),
    (14, 18, False),
    (19, 24, True),
    (25, 30, True),
    (31, 42, True),
    (43, 48, True),
)


def mirror_points(points: np.ndarray) -> np.ndarray:
    """The points of the mirrored crop: x becomes 1 - x, left and right change names.

    Args:
        points: [..., 49, 2] in crop coordinates.
    """
    mirrored = np.array(points)[..., MIRRORED, :]
    mirrored[..., 0] = 1 - mirrored[..., 0]
    return mirrored


def to_crop(points: np.ndarray, face: Face, settings: CropSettings) -> np.ndarray:
    """Points of a frame as places in the crop that `crop_face` cuts: 0..1 from edge to edge, float32.

    Args:
        points: [..., 2] in frame pixels.
        face: the box that the crop is cut around.
        settings: margin and size of the crop.
    """
    left, top, side = crop_square(face, settings)
    points = np.asarray(points, np.float64)
    if face.roll:
        turn = level_turn(face)  # of pixel centres, which lie half a pixel further
        points = (points - 0.5) @ turn[:, :2].T + turn[:, 2] + 0.5
    return ((points - (left, top)) / side).astype(np.float32)


def inter_ocular(points: np.ndarray) -> np.ndarray:
    """Distance between the centres of the two eyes, [...], in the unit of the points [..., 49, 2]."""
    between = points[..., LEFT_EYE, :].mean(-2) - points[..., RIGHT_EYE, :].mean(-2)
    return np.linalg.norm(between, axis=-1)


def draw_points(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A copy of a crop with its points and the curves between them.

    Args:
        picture: uint8 [height, width, 3], RGB.
        points: [49, 2] in crop coordinates.
    """
    drawn = np.ascontiguousarray(picture).copy()
    height, width = drawn.shape[:2]
    # OpenCV draws at pixel centres, in sixteenths of a pixel here.
    places = np.round((np.asarray(points) * (width, height) - 0.5) * 16).astype(np.int32)
    for first, last, closed in CURVES:
        curve = places[None, first : last + 1]
        cv2.polylines(drawn, list(curve), closed, (90, 200, 90), 1, cv2.LINE_AA, shift=4)
    for place in places:
        cv2.circle(drawn, tuple(map(int, place)), 16, (255, 230, 60), -1, cv2.LINE_AA, shift=4)
    return drawn


class DrawnCrops:
    """A sequence's crops, each drawn with its points when it is asked for.

    Args:
        crops: uint8 [frames, height, width, 3].
        points: [frames, 49, 2] in crop coordinates.
    """

    def __init__(self, crops: np.ndarray, points: np.ndarray):
        self._crops, self._points = crops, points

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: int) -> np.ndarray:
        return draw_points(self._crops[index], self._points[index])
