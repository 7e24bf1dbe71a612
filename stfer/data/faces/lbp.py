"""OpenCV's improved LBP cascade (Puttemans et al. 2017), the paper's detector, searched cheaply.

It is searched on a grey frame shrunk until the smallest face that counts fills its 45-pixel window, and first in
the neighbourhood of the previous frame's face, at about its size.
"""

import threading
from pathlib import Path

import cv2
import numpy as np

from stfer.data.faces.box import Face, neighbourhood
from stfer.data.faces.detectors import register_detector

CASCADE = Path(__file__).with_name("lbpcascade_frontalface_improved.xml")
WINDOW = 45  # The cascade's own window: it sees no smaller face.
# Searches of a whole frame until one finds a face: the smallest face that counts, as a fraction of the
# frame's shorter side; the factor between scales; and how many hits make a face. Large faces first: it
# is cheap, and the largest face is wanted.
WHOLE_SEARCHES = ((0.25, 1.15, 3), (0.18, 1.1, 4), (0.0, 1.1, 4))
# The last search of a frame with a shorter side beyond this is coarser: a frame of 3840x2160 without a face
# took 3.4 s of one core before, and a face of a ninth of its height has 240 pixels.
LARGE_FRAME = 1080
LARGE_FRAME_SEARCH = (1 / 9, 1.2, 3)
NEAR_FACE = 96  # pixels: what the last face is shrunk to before it is sought again.
NEAR_REACH = 0.2  # of the last box: how far beyond it the next one is sought, on every side.

_local = threading.local()


def _cascade() -> cv2.CascadeClassifier:
    # A CascadeClassifier keeps the image it works on, so threads must not share one.
    if not hasattr(_local, "cascade"):
        _local.cascade = cv2.CascadeClassifier(str(CASCADE))
    return _local.cascade


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


@register_detector("lbp", margin=0.35)  # The margin was measured: BUILD_NOTES.md.
def search(frame: np.ndarray, near: Face | None, fine: bool = False) -> list[Face]:
    """Faces of a frame, uint8 RGB or grey; with `near`, in that box's neighbourhood alone."""
    if near is None:
        shorter = min(frame.shape[:2])
        searches = WHOLE_SEARCHES
        if shorter > LARGE_FRAME:
            searches = (*WHOLE_SEARCHES[:-1], LARGE_FRAME_SEARCH)
        frame = _grey(frame)
        for fraction, step, neighbours in searches:
            smallest = max(WINDOW, fraction * shorter)
            faces = _detect(frame, (0, 0), WINDOW / smallest, (WINDOW, shorter), step, neighbours)
            if faces:
                return faces
        return []
    region, origin = neighbourhood(frame, near, 2 * NEAR_REACH if fine else NEAR_REACH)
    side = max(near.width, near.height)
    # The fine search may enlarge: the cascade's steps are then smaller than a pixel of the frame.
    scale = min(1.5, 2 * NEAR_FACE / side) if fine else min(1.0, NEAR_FACE / side)
    limits = (0.7 * side, 1.4 * side) if fine else (0.8 * side, 1.25 * side)
    return _detect(region, origin, scale, limits, *((1.03, 1) if fine else (1.05, 3)))


def _detect(
    frame: np.ndarray,
    origin: tuple[int, int],
    scale: float,
    limits: tuple[float, float],
    step: float,
    neighbours: int,
) -> list[Face]:
    """Cascade boxes of one image shrunk by `scale`; `limits` are face sides in the frame's pixels."""
    if min(frame.shape[:2], default=0) < WINDOW:
        return []
    frame = _grey(frame)
    if scale != 1:
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=method)
    low, high = (max(WINDOW, round(side * scale)) for side in limits)
    boxes = _cascade().detectMultiScale(
        frame,
        scaleFactor=step,
        minNeighbors=neighbours,
        minSize=(low, low),
        maxSize=(high, high),
    )
    return [
        Face(origin[0] + x / scale, origin[1] + y / scale, w / scale, h / scale)
        for x, y, w, h in (map(float, box) for box in boxes)
    ]
