"""A sequence's faces: each frame's face followed and cut, faces missed sought again, and what is odd said."""

from collections.abc import Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import cv2
import numpy as np

from stfer.data.faces import (
    DETECTORS,
    CropSettings,
    Face,
    FaceFollower,
    Tracked,
    crop_face,
    find_faces,
    find_finely,
    register_detector,
)
from stfer.data.faces.detectors import Search
from stfer.data.frames import FrameReader, VideoReader
from stfer.data.landmark_track import Landmarks, LandmarkTrack
from stfer.data.sequence import Sequence, UnreadableFrameError
from stfer.data.video_frames import turned
from stfer.data.video_index import index_video

MAX_FRAMES = 4096
# Beyond this, a sequence without faces is not searched a second time.
_SECOND_LOOKS = 100
MISSING_SHARE = 0.25
_TURNS = (90, 270, 180)
_OUTSIDE = 0.2  # of a crop's area beyond the frame, from which the frames are perhaps faces already
_SMALL = 256  # pixels: frames no larger, and about square, are perhaps faces already


@dataclass(frozen=True)
class Crops:
    """One sequence's faces.

    Attributes:
        crops: uint8 [length, size, size, 3].
        faces: for each frame, how and where.
        notes: what is peculiar about the frames.
        landmarks: float32 [length, 49, 2] in crop coordinates, where they were asked for.
    """

    crops: np.ndarray
    faces: list[Tracked]
    notes: list[str] = field(default_factory=list)
    landmarks: np.ndarray | None = None


@dataclass(frozen=True)
class Work:
    """How sequences are read and cropped.

    Attributes:
        settings: how faces are found and cut.
        min_frames: a video that proves shorter than its packets is dropped below this.
        missing_share: interpolation fills at most this share of a sequence's frames.
        rotate: degrees clockwise that frames are turned by first.
        landmarks: where landmarks come from; a sequence with a frame without any is dropped.
    """

    settings: CropSettings
    min_frames: int = 1
    missing_share: float = MISSING_SHARE
    rotate: int = 0
    landmarks: Landmarks = None


def crop_sequence(sequence: Sequence, settings: CropSettings, min_frames: int = 1) -> Crops | str:
    """Read one sequence and cut its face out of every frame; a text is the reason to drop it."""
    return crop_group([sequence], Work(settings, min_frames))[0]


def find_boxes(sequence: Sequence, settings: CropSettings) -> tuple[list[Tracked | None], str]:
    """Every frame's face as `crop_sequence` follows it, and the reason that it drops the sequence for, or nothing."""
    videos = VideoReader()
    cropper = _Cropper(sequence, Work(settings), FrameReader(sequence, 0, videos))
    try:
        cropper.read_rest()
        found = cropper.finish()
        return cropper.faces, found if isinstance(found, str) else ""
    finally:
        videos.close()


def crop_group(sequences: Items[Sequence], work: Work) -> list[Crops | str]:
    """Sequences together: those of one video are read in one pass. A text is the reason to drop one."""
    videos = VideoReader(work.rotate)
    croppers = [_Cropper(s, work, FrameReader(s, work.rotate, videos)) for s in sequences]
    try:
        if one_video(sequences):
            _one_pass(croppers)
        for cropper in croppers:
            cropper.read_rest()
        return [cropper.finish() for cropper in croppers]
    finally:
        videos.close()


def one_video(sequences: Items[Sequence]) -> str:
    """The path of the video that all frames of the sequences are of, in ascending order; empty otherwise."""
    paths = {source.path for s in sequences for source in s.frames}
    if len(paths) != 1 or any(source.number is None for s in sequences for source in s.frames):
        return ""
    ascending = all(
        list(s.frames) == sorted(s.frames, key=lambda f: f.number or 0) for s in sequences
    )
    return paths.pop() if ascending else ""


def _one_pass(croppers: list["_Cropper"]) -> None:
    """Read a video's frames once, each for all sequences that have it."""
    waiting = [cropper for cropper in croppers if cropper.wanted is not None]
    while len(waiting) > 1:
        number = min(c.wanted for c in waiting if c.wanted is not None)
        those = [cropper for cropper in waiting if cropper.wanted == number]
        try:
            frame = those[0].read()
        except (UnreadableFrameError, EOFError) as error:
            for cropper in those:
                cropper.stop(error)
        else:
            for cropper in those:
                while cropper.wanted == number:
                    cropper.add(frame)
        waiting = [cropper for cropper in waiting if cropper.wanted is not None]


class _Cropper:
    """Follows and cuts the face of one sequence, frame by frame."""

    def __init__(self, sequence: Sequence, work: Work, reader: FrameReader):
        self._sequence, self._work, self._reader = sequence, work, reader
        # One person from neutral to apex: however long the face is lost, it is the same one.
        self._follower = FaceFollower(work.settings, largest=1, patience=None)
        self.faces: list[Tracked | None] = []
        self._shape: tuple[int, ...] | None = None
        self._outside: list[float] = []
        self._notes: list[str] = []
        self._problem = ""
        self._ended = False
        size = work.settings.size
        if len(sequence) > MAX_FRAMES:
            self._problem = (
                f"too long: {len(sequence)} frames, at most {MAX_FRAMES}; give its start and end"
            )
            return
        self._crops = np.zeros((len(sequence), size, size, 3), np.uint8)
        self._landmarks: LandmarkTrack | None = None
        if work.landmarks is not None:
            try:
                self._landmarks = LandmarkTrack(sequence, work.landmarks, work.settings)
            except ValueError as error:
                self._problem = str(error)

    def _cut(self, index: int, frame: np.ndarray, face: Face) -> None:
        """Cut a frame's face, and place its landmarks."""
        self._crops[index] = crop_face(frame, face, self._work.settings)
        if self._landmarks is not None:
            self._landmarks.add(index, frame, face)

    @property
    def wanted(self) -> int | None:
        """The number of the next frame; None when there is none or it is pointless."""
        if self._problem or self._ended or len(self.faces) == len(self._sequence):
            return None
        return self._sequence.frames[len(self.faces)].number or 0

    def read(self) -> np.ndarray:
        """The pixels of the next frame."""
        return self._reader.read(len(self.faces))

    def read_rest(self) -> None:
        """Read and take all frames that are left."""
        while self.wanted is not None:
            try:
                self.add(self.read())
            except (UnreadableFrameError, EOFError) as error:
                self.stop(error)

    def stop(self, error: Exception) -> None:
        """The next frame cannot be read."""
        if isinstance(error, UnreadableFrameError):
            self._problem = str(error)
        elif self._sequence.open_end and self.faces:
            self._ended = True  # Its packets promised more; what decodes counts.
        else:
            self._problem = f"unreadable file: {error}"

    def add(self, frame: np.ndarray) -> None:
        """Take the next frame."""
        if self._shape not in (None, frame.shape[:2]):
            source = self._sequence.frames[len(self.faces)]
            sizes = f"{_size(self._shape)}, and {_size(frame.shape)} in {source}"
            self._problem = f"frame sizes differ: {sizes}"
            return
        self._shape = frame.shape[:2]
        found = self._follower.one(frame)
        if found is not None:
            self._cut(len(self.faces), frame, found.face)
            self._outside.append(_share_outside(found.face, self._shape, self._work.settings))
        self.faces.append(found)
        self._notes += [note for note in self._reader.notes if note not in self._notes]

    def finish(self) -> Crops | str:
        """The crops, or the reason to drop the sequence."""
        try:
            return self._problem or self._lost() or self._finish()
        except (UnreadableFrameError, EOFError) as error:
            return str(error)

    def _lost(self) -> str:
        """The reason to drop a sequence to the end of a video that has lost its end: the apex is not there."""
        if not self._sequence.open_end:
            return ""
        last = self._sequence.frames[len(self.faces) - 1]
        index, decoded = index_video(last.path), (last.number or 0) + 1
        if lost := index.lost(decoded):
            return f"cut short: {lost}; give its end to take what is there"
        if decoded < index.frames:
            self._notes.append(f"{decoded} of {index.frames} frames could be decoded")
        return ""

    def _finish(self) -> Crops | str:
        faces, settings = self.faces, self._work.settings
        if len(faces) < self._work.min_frames:
            return f"too short: {len(faces)} frames, at least {self._work.min_frames} are needed"
        missing = [index for index, found in enumerate(faces) if found is None]
        pixels: dict[int, np.ndarray] = {}
        if missing and len(missing) <= _SECOND_LOOKS and len(missing) < len(faces):
            missing = self._look_again(missing, pixels)
        why = ""
        if missing and settings.missing_faces == "interpolate":
            why = self._interpolate(missing, pixels)
            missing = missing if why else []
        if missing:
            more = f", and in {len(missing) - 1} more" if len(missing) > 1 else ""
            first = self._sequence.frames[missing[0]]
            return f"no face in frame {missing[0] + 1}: {first}{more}{why or self._hint(missing)}"
        if self._landmarks is not None and self._landmarks.problem:
            return self._landmarks.problem
        if self._outside and np.median(self._outside) > _OUTSIDE and settings.detector != "none":
            self._notes.append(
                "faces fill the frames, so that crops reach beyond them: --detector=none takes "
                "frames that are faces already as they are"
            )
        points = None if self._landmarks is None else self._landmarks.points(len(faces))
        return Crops(self._crops[: len(faces)], list(filter(None, faces)), self._notes, points)

    def _look_again(self, missing: list[int], pixels: dict[int, np.ndarray]) -> list[int]:
        """Seek missing faces where the next frame has one; returns those left, and keeps their pixels."""
        faces, settings = self.faces, self._work.settings
        for index in reversed(missing):
            following = faces[index + 1] if index + 1 < len(faces) else None
            if following is None:
                continue
            frame = self._reader.read(index)
            faces[index] = found = find_finely(frame, settings, following.face)
            if found is None:
                pixels[index] = frame
            else:
                self._cut(index, frame, found.face)
        return [index for index in missing if faces[index] is None]

    def _interpolate(self, missing: list[int], pixels: dict[int, np.ndarray]) -> str:
        """Fill boxes between faces, all or none; a text is the reason for none."""
        faces, share = self.faces, self._work.missing_share
        known = [index for index, found in enumerate(faces) if found is not None]
        if not known or missing[0] < known[0] or missing[-1] > known[-1]:
            return "; interpolation fills only between faces" + self._hint(missing)
        if len(missing) > share * len(faces):
            return (
                f"; interpolation fills at most {share:.0%} of the frames, and "
                f"{len(missing) / len(faces):.0%} lack a face"
            )
        boxes = np.array([found.face for found in faces if found is not None])
        for index in missing:
            face = Face(*(float(np.interp(index, known, column)) for column in boxes.T))
            faces[index] = Tracked(face, "interpolated")
            frame = pixels.get(index)
            frame = self._reader.read(index) if frame is None else frame
            self._cut(index, frame, face)
        return ""

    def _hint(self, missing: list[int]) -> str:
        """What to try where no frame at all has a face."""
        settings = self._work.settings
        if len(missing) < len(self.faces) or settings.detector == "none":
            return ""
        places = sorted({0, len(missing) // 2, len(missing) - 1})
        if turn := turn_that_helps((self._reader.read(place) for place in places), settings):
            turn = (turn + self._work.rotate) % 360
            return f"; turned by a quarter or two there is one: try --rotate={turn}"
        if is_small_square(self._shape or ()):
            return "; frames that are faces already are taken as they are by --detector=none"
        return ""


def is_small_square(shape: tuple[int, ...]) -> bool:
    """Whether frames of a shape [height, width, ...] may be faces already: small, and about square."""
    sides = shape[:2]
    return len(sides) == 2 and max(sides) <= _SMALL and max(sides) <= 1.3 * min(sides)


def turn_that_helps(frames: Iterable[np.ndarray], settings: CropSettings) -> int:
    """By how many degrees clockwise most of a few frames have to be turned to show a face; 0 for none."""
    tried = list(frames)
    for degrees in _TURNS:
        found = sum(bool(find_faces(turned(frame, degrees), settings)) for frame in tried)
        if found > len(tried) / 2:
            return degrees
    return 0


def _share_outside(face: Face, shape: tuple[int, ...], settings: CropSettings) -> float:
    """The share of a crop's area that lies beyond the frame."""
    side = max(face.width, face.height) * settings.enlargement
    inside = 1.0
    for start, length, limit in ((face.x, face.width, shape[1]), (face.y, face.height, shape[0])):
        left = start + length / 2 - side / 2
        inside *= max(0.0, min(left + side, limit) - max(left, 0)) / side
    return 1 - inside


def start_worker(detector: str, search: Search) -> None:
    """Set up a worker process that finds faces with a detector."""
    # One from outside the package is unknown to a new process until its module is imported, as `search` has done.
    if detector not in DETECTORS:
        register_detector(detector)(search)
    # One process a core: OpenCV's own threads would only compete.
    cv2.setNumThreads(1)


def _size(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else f"{shape[1]}x{shape[0]}"
