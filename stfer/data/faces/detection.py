"""Finding faces in one frame (the paper, section V).

Detectors are registered (see `detectors`): OpenCV's improved LBP cascade (Puttemans et al. 2017; the
paper's), YuNet (Wu et al. 2023; five landmarks, so the eyes can be levelled), or none, for frames that
are faces already.
"""

import numpy as np

from stfer.data.faces.box import Face, Tracked, overlap
from stfer.data.faces.crop import CropSettings
from stfer.data.faces.detectors import DETECTORS


def find_faces(frame: np.ndarray, settings: CropSettings, near: Face | None = None) -> list[Face]:
    """Find faces in one frame.

    Args:
        frame: uint8 [height, width, 3] RGB, or [height, width] grey.
        settings: which detector searches.
        near: the last frame's face; only its neighbourhood is searched, for faces of about its size.

    Returns:
        The faces, the largest first; with `near`, the one that overlaps it most first.
    """
    search = DETECTORS[settings.detector].search
    if near is None:
        return sorted(search(frame, None), key=lambda f: f.width * f.height, reverse=True)
    return sorted(search(frame, near), key=lambda f: overlap(f, near), reverse=True)


def find_finely(frame: np.ndarray, settings: CropSettings, near: Face) -> Tracked | None:
    """A last, slower search around a neighbouring frame's face: finer scale steps, a lower threshold."""
    faces = DETECTORS[settings.detector].search(frame, near, fine=True)
    best = max(faces, key=lambda face: overlap(face, near), default=None)
    # A weak detection counts only where a face must be.
    return Tracked(best, "fine") if best and overlap(best, near) >= 0.3 else None
