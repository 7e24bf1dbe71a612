"""How faces are found and cut, as stored with shards and models, and the cutting of a square (the paper, section V)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from stfer.data.faces.box import Face
from stfer.data.faces.detectors import DETECTORS
from stfer.nearest import did_you_mean

MISSING_FACES = ("drop", "interpolate")


@dataclass(frozen=True)
class CropSettings:
    """How faces are found and cut; stored with shards and with trained models.

    Attributes:
        detector: a registered name: `lbp`, `yunet`, `none` (the whole frame), or another.
        margin: added to every side of the box, as a fraction of its longer side, so that the crop's side is
            that times 1 + 2 * margin. None takes the detector's default.
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
            raise ValueError(
                f"detector {self.detector!r} is unknown: use {', '.join(DETECTORS)}"
                f"{did_you_mean(self.detector, DETECTORS)}"
            )
        margin = DETECTORS[self.detector].margin if self.margin is None else self.margin
        object.__setattr__(self, "margin", margin)
        if not -0.4 <= margin <= 2:
            raise ValueError(
                f"margin {margin} is out of range: use -0.4 to 2 (0.3 adds 30 % a side)"
            )
        if not 8 <= self.size <= 1024:
            raise ValueError(f"size {self.size} is out of range: use 8 to 1024 pixels")
        if self.missing_faces not in MISSING_FACES:
            raise ValueError(
                f"missing_faces {self.missing_faces!r} is unknown: use {' or '.join(MISSING_FACES)}"
            )

    @property
    def enlargement(self) -> float:
        """The crop's side in sides of the box."""
        return 1 + 2 * (self.margin or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """The settings as a dict of JSON's types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "CropSettings":
        """Settings from `to_dict`'s dict.

        Raises:
            ValueError: a field is unknown or of the wrong type.
        """
        kinds: dict[str, type | tuple[type, ...]] = {
            "detector": str,
            "margin": (int, float),
            "size": int,
            "missing_faces": str,
        }
        for key, value in settings.items():
            if key not in kinds:
                raise ValueError(f"crop setting {key!r} is unknown to this version of stfer")
            if not isinstance(value, kinds[key]) or isinstance(value, bool):
                raise ValueError(f"crop setting {key!r} has the wrong type: {value!r}")
        return cls(**settings)


def crop_square(face: Face, settings: CropSettings) -> tuple[int, int, int]:
    """The square that is cut around a face: left, top and side in frame pixels (for a levelled frame)."""
    side = max(1, round(max(face.width, face.height) * settings.enlargement))
    centre_x, centre_y = face.x + face.width / 2, face.y + face.height / 2
    return round(centre_x - side / 2), round(centre_y - side / 2), side


def level_turn(face: Face) -> np.ndarray:
    """The turn about the box's centre that levels a face's eyes: float64 [2, 3], of pixel centres."""
    centre = (face.x + face.width / 2, face.y + face.height / 2)
    return cv2.getRotationMatrix2D(centre, face.roll, 1.0)


def crop_face(frame: np.ndarray, face: Face, settings: CropSettings) -> np.ndarray:
    """Cut the square around a face, with margin, and resize it.

    Pixels beyond the frame repeat its border. Shrinking averages areas (INTER_AREA); enlarging is
    bilinear. A face with roll is turned about its box's centre until its eyes are level.

    Args:
        frame: uint8 [height, width, 3] RGB, or [height, width] grey.
        face: its box and roll, in the frame's pixels.
        settings: margin and size of the crop.

    Returns:
        uint8 [size, size, 3] RGB; a grey frame gives three equal channels.
    """
    left, top, side = crop_square(face, settings)
    if face.roll:
        turn = level_turn(face)
        turn[:, 2] -= (left, top)
        square = cv2.warpAffine(
            frame, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    else:
        square = cut_square(frame, left, top, side)
    if side != settings.size:
        method = cv2.INTER_AREA if side > settings.size else cv2.INTER_LINEAR
        square = cv2.resize(square, (settings.size, settings.size), interpolation=method)
    if square.ndim == 2:
        square = cv2.cvtColor(square, cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(square)


def cut_square(frame: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of a frame; pixels beyond the frame repeat its border."""
    height, width = frame.shape[:2]
    if left >= 0 and top >= 0 and left + side <= width and top + side <= height:
        return frame[top : top + side, left : left + side]
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return frame[rows[:, None], columns]
