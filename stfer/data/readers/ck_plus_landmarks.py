"""CK+'s own landmarks (Lucey et al. 2010): 68 points a frame, tracked by an active appearance model.

Layout, beside the images: `Landmarks/S005/001/S005_001_00000001_landmarks.txt`, 68 lines of x and y in the image's
pixels, such as `   2.7263240e+02   2.1036120e+02`. The folder may lie one deeper, as the zip unpacks.
"""

import math
from pathlib import Path

import numpy as np

from stfer.data.faces.points import OF_68
from stfer.data.readers import tree
from stfer.data.sequence import Sequence, readable

NESTINGS = ("Landmarks/Landmarks", "Landmarks")
_BYTES = 16384


def find_landmark_folder(root: str | Path) -> Path:
    """The folder `Landmarks` of an unpacked CK+.

    Raises:
        FileNotFoundError: `root` has none.
    """
    root = Path(root)
    for place in (root, root.absolute().parent, root.absolute().parent.parent):
        folder = tree.find_root(place, NESTINGS, "CK+ landmarks")
        if folder is not None:
            return folder
        if root.name.lower() not in ("cohn-kanade-images", "extended-cohn-kanade-images"):
            break
    raise FileNotFoundError(
        f"{root} has no folder Landmarks/ with CK+'s own points; it holds {tree.contents(root)}"
    )


def read_landmarks(folder: str | Path, sequence: Sequence) -> np.ndarray:
    """The 49 points of every frame of a sequence, float32 [frames, 49, 2] in pixels.

    Args:
        folder: as `find_landmark_folder` found it.
        sequence: of CK+'s reader; its frames are image files `.../S005/001/S005_001_00000001.png`.

    Raises:
        ValueError: a frame's file is missing or damaged; the sentence names it.
    """
    points = []
    for source in sequence.frames:
        image = Path(source.path)
        path = Path(folder, image.parent.parent.name, image.parent.name)
        path /= f"{image.stem}_landmarks.txt"
        try:
            with open(path, "rb") as file:
                data = file.read(_BYTES + 1)
        except OSError as error:
            raise ValueError(f"no landmarks: {readable(path.name)}: {error.strerror}") from None
        try:
            points.append(parse_points(data)[OF_68])
        except ValueError as error:
            raise ValueError(f"wrong landmarks: {readable(path.name)} {error}") from None
    return np.array(points, np.float32)


def parse_points(data: bytes) -> np.ndarray:
    """The 68 points of a file's bytes: float64 [68, 2].

    Raises:
        ValueError: it does not hold 68 lines of two finite numbers.
    """
    try:
        lines = [line.split() for line in data.decode("utf-8-sig").splitlines() if line.strip()]
        rows = [[float(word) for word in line] for line in lines]
    except (UnicodeDecodeError, ValueError):
        raise ValueError("holds something else than numbers") from None
    if len(rows) != 68 or any(len(row) != 2 for row in rows):
        widths = sorted({len(row) for row in rows})
        raise ValueError(f"holds {len(rows)} lines of {widths} numbers instead of 68 of two")
    if not all(math.isfinite(value) for row in rows for value in row):
        raise ValueError("holds a number that is not finite")
    return np.array(rows)
