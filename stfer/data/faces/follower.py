"""Follows faces through a stream of frames; preprocessing, prediction on arrays and on videos use this one.

Each face is sought near its last place, then in the whole frame, then once more and finely around its last place. The
whole frame is searched now and then for further faces too. Faces found near the last boxes go to tracks by the
assignment of the largest total overlap (Kuhn 1955; as in SORT, Bewley et al. 2016). A track is a stretch of video in
which one face is followed, not a person: nobody is recognised.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from stfer.data.faces.box import Face, Tracked, overlap
from stfer.data.faces.crop import CropSettings
from stfer.data.faces.detection import find_faces, find_finely

DUPLICATE = 0.5  # overlap of two boxes of one face


@dataclass
class _Track:
    """One followed face; `found` is its last box, `missed` how many frames ago that was."""

    number: int
    found: Tracked
    missed: int = 0

    @property
    def face(self) -> Face:
        return self.found.face

    def take(self, face: Face, how: str) -> None:
        self.found, self.missed = Tracked(face, how), 0


class FaceFollower:
    """Follows every face of a stream of frames.

    Where only one face has been followed and it is lost, whatever face appears is taken for it, wherever in the frame
    that is. Of several, a lost one goes on only where its last box and a new one overlap.

    Args:
        settings: How faces are found.
        largest: Faces followed at once, the largest first.
        patience: Frames that a track outlives without its face; None for any number.
        search_every: Frames from one search of the whole frame for further faces to the next.
    """

    def __init__(
        self,
        settings: CropSettings,
        largest: int = 8,
        patience: int | None = 12,
        search_every: int = 12,
    ):
        self._settings = settings
        self._largest = largest
        self._patience = patience
        self._search_every = search_every
        self._tracks: list[_Track] = []
        self._made = 0
        self._since_search = search_every
        self.left_out = 0
        """The most faces of one frame that were seen and not followed, because of `largest`."""

    def __call__(self, frame: np.ndarray) -> list[tuple[int, Tracked | None]]:
        """Take the next frame, uint8 [height, width, 3] RGB or [height, width] grey.

        Returns:
            For each track its number (from 1) and its face, or None where it is not seen. A track that
            has ended is no longer listed.
        """
        for track in self._tracks:
            track.missed += 1
        self._look_near(frame)
        self._since_search += 1
        room = len(self._tracks) < self._largest or len(self._seen()) < len(self._tracks)
        if not self._seen() or (room and self._since_search >= self._search_every):
            self._look_everywhere(frame)
        for track in self._lost():
            # A slower last look where a face has just been.
            fine = find_finely(frame, self._settings, track.face)
            if fine and not _is_one_of(fine.face, self._seen()):
                track.take(*fine)
        if self._patience is not None:
            self._tracks = [track for track in self._tracks if track.missed <= self._patience]
        return [(t.number, None if t.missed else t.found) for t in self._tracks]

    def one(self, frame: np.ndarray) -> Tracked | None:
        """As a call, of the first followed face alone."""
        return next((found for _, found in self(frame)), None)

    def _seen(self) -> list[Face]:
        """The faces of this frame that have been found so far."""
        return [track.face for track in self._tracks if not track.missed]

    def _lost(self) -> list[_Track]:
        return [track for track in self._tracks if track.missed]

    def _look_near(self, frame: np.ndarray) -> None:
        found: list[Face] = []
        for track in self._tracks:
            near = find_faces(frame, self._settings, track.face)
            found += [face for face in near if not _is_one_of(face, found)]
        if not found:
            return
        overlaps = np.array([[overlap(t.face, face) for face in found] for t in self._tracks])
        for row, column in zip(*linear_sum_assignment(-overlaps), strict=True):
            if overlaps[row, column] > 0:
                self._tracks[row].take(found[column], "near")

    def _look_everywhere(self, frame: np.ndarray) -> None:
        self._since_search = 0
        seen = self._seen()
        free = [f for f in find_faces(frame, self._settings) if not _is_one_of(f, seen)]
        for track in self._lost():
            face = self._going_on(track, free)
            if face is not None:
                free.remove(face)
                track.take(self._refined(frame, face), "whole")
        left_out = 0
        for face in free:
            refined = self._refined(frame, face)
            if _is_one_of(refined, self._seen()):
                continue
            if len(self._tracks) < self._largest:
                self._made += 1
                self._tracks.append(_Track(self._made, Tracked(refined, "whole")))
            else:
                left_out += 1
        self.left_out = max(self.left_out, left_out)

    def _going_on(self, track: _Track, faces: list[Face]) -> Face | None:
        """Which of the faces, the largest first, a lost track goes on with: the largest if it overlaps its last box."""
        if not faces or overlap(faces[0], track.face) > 0:
            return faces[0] if faces else None
        closest = max(faces, key=lambda face: overlap(face, track.face))
        alone = len(self._tracks) == 1
        return closest if alone or overlap(closest, track.face) > 0 else None

    def _refined(self, frame: np.ndarray, face: Face) -> Face:
        # The near search has finer scales; refining by it keeps a track's first box like the others.
        return next(iter(find_faces(frame, self._settings, face)), face)


def _is_one_of(face: Face, faces: list[Face]) -> bool:
    return any(overlap(face, other) >= DUPLICATE for other in faces)
