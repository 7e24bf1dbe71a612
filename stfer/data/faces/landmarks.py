"""Facial landmarks: MediaPipe's face mesh (Kartynnik et al. 2019), read by OpenCV, and its 49 points of the literature.

The network sees a square around the face. A detector's box is only roughly such a square, so it is run up to three
times, each time on the square of 1.5 times the extent of the points that it found last (as MediaPipe's own tracker
does from frame to frame), until that square stays. The last presence score decides whether there is a face at all.
Model file: see `face_landmark.md`.
"""

import threading
from pathlib import Path

import cv2
import numpy as np

from stfer.data.faces.box import Face
from stfer.data.faces.crop import cut_square

MODEL = Path(__file__).with_name("face_landmark.tflite")
SHA256 = "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
INPUT = 192  # pixels a side that the network takes
PASSES = 3
SETTLED = 0.04  # of the square's side: a square that moved less is not looked at again
REACH = 1.5  # of the points' extent: the side of the square that is seen next
BOX_REACH = (
    1.8  # of a detector's box: between what LBP's tight boxes (2.1) and whole faces (1.5) want
)
# Vertices of the mesh that are the 49 points (`points.py`), and its nose tip among them.
VERTICES = np.array(
    [
        *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
        *(168, 197, 5, 4, 75, 97, 2, 326, 305),
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
        *(82, 13, 312, 317, 14, 87),
    ]
)
_POINTS_LAYER, _PRESENCE_LAYER = "conv2d_21", "conv2d_31"
_local = threading.local()


def _network() -> cv2.dnn.Net:
    # A network keeps the picture it works on, so threads must not share one.
    if not hasattr(_local, "network"):
        _local.network = cv2.dnn.readNetFromTFLite(str(MODEL))
    return _local.network


def find_mesh(frame: np.ndarray, face: Face | None = None) -> np.ndarray | None:
    """The 468 points of the face mesh, float32 [468, 2] in frame pixels; None where no face is seen.

    Args:
        frame: uint8 [height, width, 3] RGB, or [height, width] grey.
        face: where a detector found the face; None for a frame that is a face crop with some margin.
    """
    height, width = frame.shape[:2]
    box = np.array((0, 0, width, height)) if face is None else np.array(face[:4])
    centre, side = box[:2] + box[2:] / 2, max(box[2:]) * (1 if face is None else BOX_REACH)
    # Large faces are reduced once, by areas, rather than sampled thinly three times.
    scale = min(1.0, 2 * INPUT / max(side, 1))
    if scale < 1:
        frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        scale = np.array(frame.shape[1::-1]) / (width, height)
    centre, side = centre * scale, side * np.max(scale)
    for _ in range(PASSES):
        points, presence = _look(frame, centre, side)
        seen, low, high = (centre, side), points.min(0), points.max(0)
        centre, side = (low + high) / 2, REACH * float(max(high - low))
        if not 1 <= side <= 4 * max(frame.shape[:2]):
            return None
        if max(*np.abs(centre - seen[0]), abs(side - seen[1])) < SETTLED * side:
            break
    return (points / scale).astype(np.float32) if presence > 0 else None


def find_landmarks(frame: np.ndarray, face: Face | None = None) -> np.ndarray | None:
    """The 49 points of a face, float32 [49, 2] in frame pixels; None where no face is seen (see `find_mesh`)."""
    mesh = find_mesh(frame, face)
    return None if mesh is None else mesh[VERTICES]


def _look(frame: np.ndarray, centre: np.ndarray, side: float) -> tuple[np.ndarray, float]:
    """One pass: points float64 [468, 2] in the frame's pixels, and the logit of a face's presence."""
    side = max(2, round(side))
    left, top = (round(float(middle) - side / 2) for middle in centre)
    square = cut_square(frame, left, top, side)
    method = cv2.INTER_AREA if side > INPUT else cv2.INTER_LINEAR
    square = cv2.resize(square, (INPUT, INPUT), interpolation=method)
    if square.ndim == 2:
        square = cv2.cvtColor(square, cv2.COLOR_GRAY2RGB)
    network = _network()
    network.setInput(cv2.dnn.blobFromImage(square, 1 / 255))
    points, presence = network.forward((_POINTS_LAYER, _PRESENCE_LAYER))
    points = points.reshape(-1, 3)[:, :2].astype(np.float64)
    return points * (side / INPUT) + (left, top), float(presence.ravel()[0])
