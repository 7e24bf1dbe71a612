"""The landmarks of one sequence, found frame by frame or read from its data set's own files."""

from collections.abc import Callable

import numpy as np

from stfer.data.faces import CropSettings, Face
from stfer.data.faces.landmarks import find_landmarks
from stfer.data.faces.points import POINTS, to_crop
from stfer.data.sequence import Sequence

DETECTED = "mediapipe"
STREAM = "landmarks"
Landmarks = str | Callable[[Sequence], np.ndarray] | None
"""Where landmarks come from: DETECTED, a function from a sequence to [frames, 49, 2] in pixels, or None for none."""


class LandmarkTrack:
    """Collects the points of each frame of a sequence, in crop coordinates.

    Args:
        sequence: whose they are.
        source: where they come from.
        settings: how faces are cut.

    Raises:
        ValueError: the sequence's own points cannot be read; the sentence is the reason to drop it.
    """

    def __init__(self, sequence: Sequence, source: Landmarks, settings: CropSettings):
        self._sequence, self._settings = sequence, settings
        self._given = source(sequence) if callable(source) else None
        self._points = np.zeros((len(sequence), POINTS, 2), np.float32)
        self._missing: set[int] = set()

    def add(self, index: int, frame: np.ndarray, face: Face) -> None:
        """Take a frame and the face that is cut out of it."""
        found = find_landmarks(frame, face) if self._given is None else self._given[index]
        if found is None:
            self._missing.add(index)
        else:
            self._points[index] = to_crop(found, face, self._settings)

    @property
    def problem(self) -> str:
        """The reason to drop the sequence, naming the first frame without points; often empty."""
        if not self._missing:
            return ""
        first = min(self._missing)
        more = f", and in {len(self._missing) - 1} more" if len(self._missing) > 1 else ""
        return f"no landmarks in frame {first + 1}: {self._sequence.frames[first]}{more}"

    def points(self, length: int) -> np.ndarray:
        """float32 [length, 49, 2]."""
        return self._points[:length]


def origin(source: Landmarks) -> str:
    """What a shard folder's header says of where its landmarks come from."""
    return source if isinstance(source, str) else "the set's own files"
