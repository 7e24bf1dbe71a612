"""The page of several inputs: a row each, with a strip of the likeliest class over time."""

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stfer.inference.timeline import Curve
from stfer.pages import fill

_CELLS = 100  # of a strip


@dataclass(frozen=True)
class Row:
    """One input.

    Attributes:
        name: Of the input.
        page: Its page, as an address from the overview's; empty where it could not be predicted.
        said: The result in words, or why there is none.
        faces: How many were followed.
        frames: How many were read.
        seconds: When its last frame ends.
        curve: Of the face with the most clips.
        stride: Frames from one of its clips' end to the next.
    """

    name: str
    page: str = ""
    said: str = ""
    faces: int = 0
    frames: int = 0
    seconds: float = 0.0
    curve: Curve | None = None
    stride: int = 1


def overview_page(
    title: str, headline: str, classes: Sequence[str], rows: Sequence[Row], files: Sequence[str]
) -> str:
    """The page's HTML.

    Args:
        title: Of the page.
        headline: A sentence under it.
        classes: Class names.
        rows: One an input.
        files: Tables beside the page.
    """
    filled = [
        {
            "name": row.name,
            "page": urllib.parse.quote(row.page),
            "said": row.said,
            "faces": row.faces,
            "frames": row.frames,
            "seconds": f"{row.seconds:.1f}",
            "strip": strip(row.curve, row.seconds, row.stride) if row.curve else [],
            "width": _CELLS,
        }
        for row in rows
    ]
    return fill(
        "stfer.inference.pages",
        "overview.html",
        title=title,
        headline=headline,
        classes=classes,
        rows=filled,
        files=files,
    )


def strip(curve: Curve, end: float, stride: int = 1) -> list[tuple[int, int, int]]:
    """Runs of one likeliest class over `_CELLS` equal stretches of time.

    Args:
        curve: The probabilities over time.
        end: Seconds of the last frame; the stretches are those of 0 to `end`.
        stride: Frames from one clip's end to the next: so many apart, clips leave no hole.

    Returns:
        (start, length, class) of each run.
    """
    seconds, means = curve.points(stride)
    cells: list[int | None] = [None] * _CELLS
    last = None
    for when, values in zip(seconds, means, strict=True):
        if not np.isfinite(when):
            last = None
            continue
        place = min(int(when / max(end, 1e-9) * _CELLS), _CELLS - 1)
        best = int(np.argmax(values))
        # Cells between two neighbouring points belong to the first.
        for between in range(place if last is None else last[0] + 1, place):
            cells[between] = None if last is None else last[1]
        cells[place] = best
        last = (place, best)
    runs: list[tuple[int, int, int]] = []
    for place, number in enumerate(cells):
        if number is None:
            continue
        if runs and runs[-1][2] == number and sum(runs[-1][:2]) == place:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, number)
        else:
            runs.append((place, 1, number))
    return runs
