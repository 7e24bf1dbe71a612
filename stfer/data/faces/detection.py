"""Finding one face a frame (the paper, section V).

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
        near: the last frame's face; only its neighbourhood is searched, for faces of about its size.

    Returns:
        The faces, the largest first; with `near`, the one that overlaps it most first.
    """
    search = DETECTORS[settings.detector].search
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
    faces = DETECTORS[settings.detector].search(frame, near, fine=True)
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
