"""Classify the faces of a stream: frames -> tracks -> crops -> sliding clips -> probabilities -> votes.

Frames are worked on in chunks, because a network is far cheaper a frame in a batch: while one chunk is
classified, a thread reads the next and finds its faces. Memory holds a few chunks and, for each face, as
many frames as a clip reaches back.
"""

import concurrent.futures
import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stfer.data.faces import Face, FaceFollower, crop_face
from stfer.evaluation.voting import Tally
from stfer.inference.model import TrainedModel
from stfer.inference.reference import CalmHistory, calmness, neutral_class
from stfer.inference.sources import Frame
from stfer.inference.windows import CLASSIFIED, GAP, History, Window

NO_FACE = "no face"
UNREADABLE = "unreadable"
CHUNK = 16
LIVE_CHUNK = 4  # of a camera, which should answer soon


@dataclass(frozen=True)
class FaceResult:
    """One face in one frame.

    Attributes:
        track: Its number, from 1.
        face: Its box, or None where the track is not seen in this frame.
        status: `CLASSIFIED`, `NO_FACE`, or why there is no clip.
        clip_frames: The frames of the clip that ends here; empty without one.
        probabilities: float32 [classes], or None.
    """

    track: int
    face: Face | None
    status: str
    clip_frames: tuple[int, ...] = ()
    probabilities: np.ndarray | None = None


@dataclass(frozen=True)
class FrameResult:
    """One frame and every face that is followed in it; `status` is about the frame."""

    frame: Frame
    faces: tuple[FaceResult, ...]
    status: str


@dataclass
class TrackSummary:
    """What a whole track says so far: sums only, so that it does not grow.

    Attributes:
        track: Its number.
        first, last: Its first and last frame with the face.
        tally: Both votes over its clips.
        frames: Frames with the face.
        final: float32 [classes], the last clip's probabilities; None without a clip.
    """

    track: int
    first: int
    last: int
    tally: Tally
    frames: int = 0
    final: np.ndarray | None = None


class Summaries:
    """The summaries of all tracks of a stream."""

    def __init__(self, classes: int):
        self._classes = classes
        self.tracks: dict[int, TrackSummary] = {}

    def add(self, result: FrameResult) -> None:
        """Count one frame."""
        number = result.frame.number
        for face in result.faces:
            if face.face is None:
                continue
            if face.track not in self.tracks:
                tally = Tally(self._classes)
                self.tracks[face.track] = TrackSummary(face.track, number, number, tally)
            summary = self.tracks[face.track]
            summary.last = number
            summary.frames += 1
            if face.probabilities is not None:
                summary.tally.add(face.probabilities[None])
                summary.final = face.probabilities


@dataclass(frozen=True)
class _Seen:
    """A frame with its faces cut out."""

    frame: Frame
    faces: tuple[tuple[int, Face | None], ...]
    crops: tuple[np.ndarray | None, ...]


def predict_stream(
    model: TrainedModel,
    frames: Iterable[Frame],
    window: Window,
    chunk: int = CHUNK,
    follower: FaceFollower | None = None,
) -> Generator[FrameResult, None, None]:
    """Yield a result for every frame, in order.

    Args:
        model: A trained model.
        frames: As a `Source` yields them.
        window: How clips slide.
        chunk: Frames worked on at once: more are faster, fewer answer sooner.
        follower: Who follows the faces; by default with the model's crop settings.
    """
    model.check_frames_alone()
    follower = follower or FaceFollower(model.crop)
    histories: dict[int, History | CalmHistory] = {}
    with concurrent.futures.ThreadPoolExecutor(1, "faces") as pool:
        stream = iter(frames)
        upcoming = pool.submit(_see, model, follower, stream, chunk)
        try:
            while seen := upcoming.result():
                upcoming = pool.submit(_see, model, follower, stream, chunk)
                yield from _classify(model, histories, window, seen)
        finally:
            upcoming.cancel()


def _see(
    model: TrainedModel, follower: FaceFollower, stream: Iterator[Frame], chunk: int
) -> list[_Seen]:
    """Read the next chunk and find its faces; empty at the end."""
    seen = []
    for frame in itertools.islice(stream, chunk):
        followed = [] if frame.pixels is None else follower(frame.pixels)
        faces = tuple((track, found.face if found else None) for track, found in followed)
        crops = tuple(
            None
            if face is None or frame.pixels is None
            else crop_face(frame.pixels, face, model.crop)
            for _, face in faces
        )
        seen.append(_Seen(frame, faces, crops))
    return seen


def _classify(
    model: TrainedModel,
    histories: dict[int, History | CalmHistory],
    window: Window,
    seen: list[_Seen],
) -> list[FrameResult]:
    items = model.network.encode([c for s in seen for c in s.crops if c is not None])
    calm = calmness(model.network, items, neutral_class(model.classes)) if window.auto else ()
    encoded = iter(zip(items, calm, strict=True) if window.auto else ((i, 0.0) for i in items))
    kind = CalmHistory if window.auto else History
    alive = {track for track, _ in seen[-1].faces}
    drafts: list[tuple[_Seen, list[FaceResult]]] = []
    clips = []
    for each in seen:
        found = []
        shown = {track for track, _ in each.faces}
        # An unreadable frame is a gap in every track; nothing was sought in it.
        absent = [] if each.frame.pixels is not None else [t for t in histories if t not in shown]
        for track in absent:
            _add(histories[track], each.frame, None, 0.0)
        for (track, face), crop in zip(each.faces, each.crops, strict=True):
            item, calm_item = (None, 0.0) if crop is None else next(encoded)
            history = histories.setdefault(track, kind(window))
            status, places = _add(history, each.frame, item, calm_item)
            if face is None:
                status = NO_FACE
            elif places:
                clips.append([item for _, item in places])
            numbers = tuple(number for number, _ in places) if face is not None else ()
            found.append(FaceResult(track, face, status, numbers))
        drafts.append((each, found))
    if seen[-1].frame.pixels is not None:
        for track in [track for track in histories if track not in alive]:
            del histories[track]
    probabilities = iter(model.network.classify(clips) if clips else ())
    results = []
    for each, found in drafts:
        faces = tuple(
            FaceResult(f.track, f.face, f.status, f.clip_frames, next(probabilities))
            if f.clip_frames
            else f
            for f in found
        )
        results.append(FrameResult(each.frame, faces, _status(each.frame, faces)))
    return results


def _add(history: History | CalmHistory, frame: Frame, item: np.ndarray | None, calm: float):
    """Give a frame's item to a track's history, with what its kind asks for."""
    if isinstance(history, CalmHistory):
        return history.add(frame.number, item, calm)
    return history.add(frame.number, item, frame.seconds)


def _status(frame: Frame, faces: tuple[FaceResult, ...]) -> str:
    if frame.pixels is None:
        return UNREADABLE
    seen = [face.status for face in faces if face.face is not None]
    if not seen:
        return NO_FACE
    return next((s for s in (CLASSIFIED, GAP) if s in seen), seen[0])
