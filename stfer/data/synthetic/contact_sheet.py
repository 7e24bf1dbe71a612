"""One picture of the synthetic set: people times expressions at the apex, and one sequence over time."""

import cv2
import numpy as np

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.camera import HEIGHT, WIDTH
from stfer.data.synthetic.takes import stage

CELL = 128
TITLE = 18


def contact_sheet(seed: int = 0, subjects: int = 5) -> np.ndarray:
    """Draw the sheet: uint8 [height, width, 3], RGB.

    A row a subject: the neutral first frame of the anger sequence, then the six apexes; below, seven frames
    of subject 1's surprise, from neutral to apex.
    """
    columns = ("neutral", *EMOTIONS_6)
    rows = [_titles(columns)]
    for subject in range(1, subjects + 1):
        neutral = _frames(seed, subject, EMOTIONS_6[0], (0.0,))
        apexes = [_frames(seed, subject, emotion, (1.0,))[0] for emotion in EMOTIONS_6]
        rows.append(np.hstack(neutral + apexes))
    times = tuple(np.linspace(0, 1, len(columns)))
    rows.append(_titles(("surprise over time", *("",) * (len(columns) - 1))))
    rows.append(np.hstack(_frames(seed, 1, "surprise", times)))
    return np.vstack(rows)


def _frames(seed: int, subject: int, emotion: str, times: tuple[float, ...]) -> list[np.ndarray]:
    """Square cells of one sequence at times from 0 (first frame) to 1 (apex)."""
    take = stage(seed, subject, emotion)
    left = (WIDTH - HEIGHT) // 2
    frames = take.frames(round(time * (len(take) - 1)) for time in times)
    return [
        cv2.resize(frame[:, left : left + HEIGHT], (CELL, CELL), interpolation=cv2.INTER_AREA)
        for frame in frames
    ]


def _titles(names: tuple[str, ...]) -> np.ndarray:
    """A white strip with a name above each column."""
    strip = np.full((TITLE, CELL * len(names), 3), 255, np.uint8)
    for column, name in enumerate(names):
        place = (column * CELL + 4, TITLE - 5)
        cv2.putText(strip, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
