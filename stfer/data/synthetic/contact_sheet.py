"""One picture of the synthetic set: people times expressions at the apex, ways of one expression, and time."""

from collections.abc import Sequence

import cv2
import numpy as np

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.camera import HEIGHT, WIDTH
from stfer.data.synthetic.conditions import Conditions
from stfer.data.synthetic.recipes import VARIANTS
from stfer.data.synthetic.takes import Take, stage

CELL = 128
TITLE = 18
COLUMNS = ("neutral", *EMOTIONS_6)


def contact_sheet(seed: int = 0, subjects: int = 5) -> np.ndarray:
    """Draw the sheet: uint8 [height, width, 3], RGB.

    A row a subject: the neutral first frame of the anger sequence, then the six apexes as the set has them. Below,
    seven ways of happiness by subject 8 at full intensity; glasses, beard, make-up, lights and a turned head; and
    seven frames of subject 6's surprise, from neutral to apex.
    """
    rows = [_titles(COLUMNS)]
    for subject in range(1, subjects + 1):
        takes = [stage(seed, subject, emotion) for emotion in EMOTIONS_6]
        rows.append(np.hstack([_cell(takes[0], 0.0), *(_cell(take, 1.0) for take in takes)]))
    ways = list(VARIANTS["happiness"])[: len(COLUMNS)]
    asked = [Conditions(variant=way, intensity=1.0, light="lamp") for way in ways]
    rows += [_titles(ways), _row(seed, 8, asked)]
    conditions = {
        "glasses": Conditions(glasses=True),
        "beard": Conditions(beard=True),
        "make-up": Conditions(makeup=True),
        "dark": Conditions(light="dark"),
        "sunset": Conditions(light="sunset"),
        "JPEG": Conditions(jpeg=15),
        "turned 20 degrees": Conditions(turn=20.0),
    }
    rows += [_titles(list(conditions)), _row(seed, 7, list(conditions.values()))]
    take = stage(seed, 6, "surprise")
    rows.append(_titles(("surprise over time", *("",) * (len(COLUMNS) - 1))))
    rows.append(np.hstack([_cell(take, time) for time in np.linspace(0, 1, len(COLUMNS))]))
    return np.vstack(rows)


def _row(seed: int, subject: int, conditions: Sequence[Conditions]) -> np.ndarray:
    """Apexes of one person's happiness under conditions."""
    takes = (stage(seed, subject, "happiness", conditions=asked) for asked in conditions)
    return np.hstack([_cell(take, 1.0) for take in takes])


def _cell(take: Take, time: float) -> np.ndarray:
    """A square cell of one sequence at a time from 0 (first frame) to 1 (apex)."""
    frame = take.frame(round(time * (len(take) - 1)))
    left = (WIDTH - HEIGHT) // 2
    square = frame[:, left : left + HEIGHT]
    return cv2.resize(square, (CELL, CELL), interpolation=cv2.INTER_AREA)


def _titles(names: Sequence[str]) -> np.ndarray:
    """A white strip with a name above each column."""
    strip = np.full((TITLE, CELL * len(names), 3), 255, np.uint8)
    for column, name in enumerate(names):
        place = (column * CELL + 4, TITLE - 5)
        cv2.putText(strip, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
