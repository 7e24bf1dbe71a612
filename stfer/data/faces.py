"""Finding one face a frame and cutting a square around it (the paper, section V).

Detectors: OpenCV's improved LBP cascade (Puttemans et al. 2017; the paper's), YuNet (Wu et al. 2023;
five landmarks, so the eyes can be levelled), or none, for frames that are faces already.

The cascade is searched cheaply: on a grey frame shrunk until the smallest face that counts fills its
45-pixel window, and first in the neighbourhood of the previous frame's face, at about its size.
"""

import dataclasses
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

DETECTORS = ("lbp", "yunet", "none")
MISSING_FACES = ("drop", "interpolate")
# The side of the crop is the box's longer side times 1 + 2 * margin; measured in BUILD_NOTES.md.
DEFAULT_MARGIN = {"lbp": 0.35, "yunet": 0.05, "none": 0.0}

CASCADE = Path(__file__).with_name("lbpcascade_frontalface_improved.xml")
WINDOW = 45  # The cascade's own window: it sees no smaller face.
# Searches of a whole frame until one finds a face: the smallest face that counts, as a fraction of the
# frame's shorter side; the factor between scales; and how many hits make a face. Large faces first: it
# is cheap, and the largest face is wanted.
WHOLE_SEARCHES = ((0.25, 1.15, 3), (0.18, 1.1, 4), (0.0, 1.1, 4))
NEAR_FACE = 96  # pixels: what the last face is shrunk to before it is sought again.
NEAR_REACH = 0.2  # of the last box: how far beyond it the next one is sought, on every side.


@dataclass(frozen=True)
class CropSettings:
    """How faces are found and cut; stored with shards and with trained models.

    Attributes:
        detector: `lbp`, `yunet` or `none` (the whole frame).
        margin: added to every side of the box, as a fraction of its longer side. None takes the
            detector's default.
        size: height and width of the crop in pixels.
        missing_faces: `drop` a sequence with a frame without a face (the paper), or `interpolate` its
            box between the frames around it.
    """

    detector: str = "lbp"
    margin: float | None = None
    size: int = 170
    missing_faces: str = "drop"

    def __post_init__(self):
        if self.detector not in DETECTORS:
            raise ValueError(f"detector {self.detector!r} is unknown: use {', '.join(DETECTORS)}")
        if self.margin is None:
            object.__setattr__(self, "margin", DEFAULT_MARGIN[self.detector])
        if not -0.4 <= self.margin <= 2:
            raise ValueError(
                f"margin {self.margin} is out of range: use -0.4 to 2 (0.3 adds 30 % a side)"
            )
        if not 8 <= self.size <= 1024:
            raise ValueError(f"size {self.size} is out of range: use 8 to 1024 pixels")
        if self.missing_faces not in MISSING_FACES:
            raise ValueError(
                f"missing_faces {self.missing_faces!r} is unknown: use {' or '.join(MISSING_FACES)}"
            )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "CropSettings":
        """Settings from `to_dict`'s dict.

        Raises:
            ValueError: a field is unknown or of the wrong type.
        """
        kinds = {"detector": str, "margin": (int, float), "size": int, "missing_faces": str}
        for key, value in settings.items():
            if key not in kinds:
                raise ValueError(f"crop setting {key!r} is unknown to this version of stfer")
            if not isinstance(value, kinds[key]) or isinstance(value, bool):
                raise ValueError(f"crop setting {key!r} has the wrong type: {value!r}")
        return cls(**settings)


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


def find_faces(frame: np.ndarray, settings: CropSettings, near: Face | None = None) -> list[Face]:
    """Find faces in one frame.

    Args:
        frame: uint8 [height, width, 3] RGB, or [height, width] grey.
        near: the last frame's face; only its neighbourhood is searched, for faces of about its size.

    Returns:
        The faces, the largest first; with `near`, the one that overlaps it most first.
    """
    if settings.detector == "none":
        return [Face(0, 0, frame.shape[1], frame.shape[0])]
    search = _search_lbp if settings.detector == "lbp" else _search_yunet
    if near is None:
        return sorted(search(frame, None), key=lambda f: f.width * f.height, reverse=True)
    return sorted(search(frame, near), key=lambda f: overlap(f, near), reverse=True)


def track_face(
    frame: np.ndarray, settings: CropSettings, near: Face | None = None
) -> Tracked | None:
    """The face that continues the track, else the largest of the whole frame, else None."""
    if near is not None and (faces := find_faces(frame, settings, near)):
        return Tracked(faces[0], "near")
    if faces := find_faces(frame, settings):
        if near is not None and overlap(faces[0], near) == 0:
            faces.sort(key=lambda face: overlap(face, near), reverse=True)
        # The near search has finer scales; refining by it keeps a track's first box like the others.
        refined = find_faces(frame, settings, faces[0])
        return Tracked(refined[0] if refined else faces[0], "whole")
    return None


def find_finely(frame: np.ndarray, settings: CropSettings, near: Face) -> Tracked | None:
    """A last, slower search around a neighbouring frame's face: finer scale steps, a lower threshold."""
    if settings.detector == "none":
        return None
    search = _search_lbp if settings.detector == "lbp" else _search_yunet
    faces = search(frame, near, fine=True)
    best = max(faces, key=lambda face: overlap(face, near), default=None)
    # A weak detection counts only where a face must be.
    return Tracked(best, "fine") if best and overlap(best, near) >= 0.3 else None


class FaceTracker:
    """Follows one face through a stream of frames."""

    def __init__(self, settings: CropSettings):
        self.settings = settings
        self.last: Face | None = None

    def __call__(self, frame: np.ndarray) -> Tracked | None:
        """The face in the next frame, or None; after None the last face is remembered still."""
        found = track_face(frame, self.settings, self.last)
        if found is None and self.last is not None:
            found = find_finely(frame, self.settings, self.last)
        if found is not None:
            self.last = found.face
        return found


def crop_face(frame: np.ndarray, face: Face, settings: CropSettings) -> np.ndarray:
    """Cut the square around a face, with margin, and resize it.

    Pixels beyond the frame repeat its border. Shrinking averages areas (INTER_AREA); enlarging is
    bilinear. A face with roll is turned about its box's centre until its eyes are level.

    Args:
        frame: uint8 [height, width, 3] RGB, or [height, width] grey.

    Returns:
        uint8 [size, size, 3] RGB; a grey frame gives three equal channels.
    """
    side = max(1, round(max(face.width, face.height) * (1 + 2 * settings.margin)))
    centre_x, centre_y = face.x + face.width / 2, face.y + face.height / 2
    left, top = round(centre_x - side / 2), round(centre_y - side / 2)
    if face.roll:
        turn = cv2.getRotationMatrix2D((centre_x, centre_y), face.roll, 1.0)
        turn[:, 2] -= (left, top)
        square = cv2.warpAffine(
            frame, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    else:
        square = _cut(frame, left, top, side)
    if side != settings.size:
        method = cv2.INTER_AREA if side > settings.size else cv2.INTER_LINEAR
        square = cv2.resize(square, (settings.size, settings.size), interpolation=method)
    if square.ndim == 2:
        square = cv2.cvtColor(square, cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(square)


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (a.width * a.height + b.width * b.height - shared)


def _cut(frame: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    height, width = frame.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return frame[top : top + side, left : left + side]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return frame[rows[:, None], columns]


_local = threading.local()


def _cascade() -> cv2.CascadeClassifier:
    # A CascadeClassifier keeps the image it works on, so threads must not share one.
    if not hasattr(_local, "cascade"):
        _local.cascade = cv2.CascadeClassifier(str(CASCADE))
    return _local.cascade


def _grey(frame: np.ndarray) -> np.ndarray:
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _search_lbp(frame: np.ndarray, near: Face | None, fine: bool = False) -> list[Face]:
    if near is None:
        shorter = min(frame.shape[:2])
        for fraction, step, neighbours in WHOLE_SEARCHES:
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


def neighbourhood(
    frame: np.ndarray, near: Face, reach: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """The part of a frame around a box, and its origin (left, top) in the frame."""
    x0, y0 = int(near.x - reach * near.width), int(near.y - reach * near.height)
    x1, y1 = int(near.x + (1 + reach) * near.width), int(near.y + (1 + reach) * near.height)
    x0, y0 = max(x0, 0), max(y0, 0)
    return frame[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], (x0, y0)


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


def _search_yunet(frame: np.ndarray, near: Face | None, fine: bool = False) -> list[Face]:
    from stfer.data import yunet

    return yunet.search(frame, near, fine)
