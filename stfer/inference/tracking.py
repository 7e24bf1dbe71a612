"""Several faces followed apart through a video.

Each face is sought near its last place with the settings that the model was trained with, so its boxes are
those of training; the whole frame is searched now and then for new faces. Found boxes go to tracks by the
assignment of the largest total overlap (Kuhn 1955; as in SORT, Bewley et al. 2016). A track is a stretch
of video in which one face is followed, not a person: nobody is recognised.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from stfer.data.faces import CropSettings, Face, find_faces, find_finely, overlap

SAME_FACE = 0.25  # overlap with the last box
DUPLICATE = 0.5  # overlap of two boxes of one face


@dataclass
class Track:
    """One followed face; `face` is its last box, `missed` how many frames ago that was."""

    number: int
    face: Face
    missed: int = 0


class FaceTracks:
    """Follows every face of a stream of frames.

    Args:
        settings: The model's.
        search_every: Frames from one search of the whole frame to the next.
        patience: Frames that a track outlives without its face.
        largest: Faces followed at once, the largest first.
    """

    def __init__(
        self, settings: CropSettings, search_every: int = 12, patience: int = 12, largest: int = 8
    ):
        self._settings = settings
        self._search_every = 1 if settings.detector == "none" else search_every
        self._patience = patience
        self._largest = largest
        self._tracks: list[Track] = []
        self._made = 0
        self._since_search = self._search_every

    def __call__(self, frame: np.ndarray) -> list[tuple[int, Face | None]]:
        """Take the next frame, RGB or grey.

        Returns:
            For each track its number (from 1) and its face, or None where it is not seen. A track that
            has ended is no longer listed.
        """
        found = self._near(frame)
        self._since_search += 1
        if self._since_search >= self._search_every or not self._tracks:
            self._since_search = 0
            # A near box has finer scales, so it is the one that is kept of two.
            new = [f for f in find_faces(frame, self._settings) if not _is_one_of(f, found)]
            found += [self._refined(frame, face) for face in new]
        self._assign(_without_duplicates(found))
        self._look_finely(frame)
        self._tracks = [track for track in self._tracks if track.missed <= self._patience]
        return [(t.number, None if t.missed else t.face) for t in self._tracks]

    def _near(self, frame: np.ndarray) -> list[Face]:
        if self._settings.detector == "none":
            return []
        found: list[Face] = []
        for track in self._tracks:
            found += find_faces(frame, self._settings, track.face)
        return found

    def _refined(self, frame: np.ndarray, face: Face) -> Face:
        near = find_faces(frame, self._settings, face)
        return near[0] if near and overlap(near[0], face) >= SAME_FACE else face

    def _assign(self, found: list[Face]) -> None:
        overlaps = np.array([[overlap(t.face, f) for f in found] for t in self._tracks])
        taken = set()
        for track in self._tracks:
            track.missed += 1
        if overlaps.size:
            for row, column in zip(*linear_sum_assignment(-overlaps), strict=True):
                if overlaps[row, column] >= SAME_FACE:
                    self._tracks[row].face, self._tracks[row].missed = found[column], 0
                    taken.add(column)
        fresh = [face for index, face in enumerate(found) if index not in taken]
        for face in sorted(fresh, key=lambda f: -f.width * f.height):
            seen = [t.face for t in self._tracks if not t.missed]
            if len(self._tracks) < self._largest and not _is_one_of(face, seen):
                self._made += 1
                self._tracks.append(Track(self._made, face))

    def _look_finely(self, frame: np.ndarray) -> None:
        """A slower second look for a face that has just been lost, as preprocessing takes."""
        for track in self._tracks:
            if track.missed == 1:
                tracked = find_finely(frame, self._settings, track.face)
                others = [t.face for t in self._tracks if t is not track and not t.missed]
                if tracked and not _is_one_of(tracked.face, others):
                    track.face, track.missed = tracked.face, 0


def _is_one_of(face: Face, faces: list[Face]) -> bool:
    return any(overlap(face, other) >= DUPLICATE for other in faces)


def _without_duplicates(faces: list[Face]) -> list[Face]:
    kept: list[Face] = []
    for face in faces:
        if not _is_one_of(face, kept):
            kept.append(face)
    return kept
