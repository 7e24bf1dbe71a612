"""Classify the faces of a stream: frames -> tracks -> crops -> sliding clips -> probabilities -> votes.

Frames are worked on in chunks, because a network is far cheaper a frame in a batch: while one chunk is
classified, a thread reads the next and finds its faces. Memory holds a few chunks and, for each face, as
many frames as a clip reaches back.
"""

import concurrent.futures
import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from stfer.data.faces import Face, FaceFollower
from stfer.evaluation.voting import Tally
from stfer.inference.model import TrainedModel
from stfer.inference.reference import Answer, CalmTrack, neutral_class
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
    """A frame with its faces, and what the model takes of each."""

    frame: Frame
    faces: tuple[tuple[int, Face | None], ...]
    looks: tuple[Any, ...]  # what `TrainedModel.look` returns of each


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
    model.check_seen_in_pictures()
    follower = follower or FaceFollower(model.crop)
    histories: dict[int, History | CalmTrack] = {}
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
        looks = tuple(
            None if face is None or frame.pixels is None else model.look(frame.pixels, face)
            for _, face in faces
        )
        seen.append(_Seen(frame, faces, looks))
    return seen


def _classify(
    model: TrainedModel,
    histories: dict[int, History | CalmTrack],
    window: Window,
    seen: list[_Seen],
) -> list[FrameResult]:
    looks = [look for each in seen for look in each.looks if look is not None]
    items = iter(model.network.encode(looks))
    tracks: dict[int, list[tuple[Frame, Any]]] = {track: [] for track in histories}
    for each in seen:
        for (track, _), look in zip(each.faces, each.looks, strict=True):
            item = None if look is None else next(items)
            tracks.setdefault(track, []).append((each.frame, item))
        if each.frame.pixels is None:  # A gap in every track; nothing was sought in it.
            shown = {track for track, _ in each.faces}
            for track in tracks.keys() - shown:
                tracks[track].append((each.frame, None))
    for track in tracks.keys() - histories.keys():
        histories[track] = (
            CalmTrack(model.network, neutral_class(model.classes), window.stride)
            if window.auto
            else History(window)
        )
    answers = {
        (track, frame.number): answer
        for track, found in _answers(model, histories, tracks).items()
        for (frame, _), answer in zip(tracks[track], found, strict=True)
    }
    if seen[-1].frame.pixels is not None:
        alive = {track for track, _ in seen[-1].faces}
        for track in [track for track in histories if track not in alive]:
            del histories[track]
    results = []
    for each in seen:
        faces = tuple(
            _face_result(track, face, answers[track, each.frame.number])
            for track, face in each.faces
        )
        results.append(FrameResult(each.frame, faces, _status(each.frame, faces)))
    return results


def _answers(
    model: TrainedModel,
    histories: dict[int, History | CalmTrack],
    tracks: dict[int, list[tuple[Frame, Any]]],
) -> dict[int, list[Answer]]:
    """What is said of each frame of each track; the clips of all tracks in one batch where that can be."""
    answers: dict[int, list[Answer]] = {}
    drafts, clips = [], []
    for track, frames in tracks.items():
        history = histories[track]
        if isinstance(history, CalmTrack):
            answers[track] = history.classify([(frame.number, item) for frame, item in frames])
            continue
        for frame, item in frames:
            status, places = history.add(frame.number, item, frame.seconds)
            drafts.append((track, status, tuple(number for number, _ in places)))
            if places:
                clips.append([kept for _, kept in places])
    probabilities = iter(model.network.classify(clips) if clips else ())
    for track, status, numbers in drafts:
        found = Answer(status, numbers, next(probabilities)) if numbers else Answer(status)
        answers.setdefault(track, []).append(found)
    return answers


def _face_result(track: int, face: Face | None, answer: Answer) -> FaceResult:
    if face is None:
        return FaceResult(track, face, NO_FACE)
    return FaceResult(track, face, answer.status, answer.frames, answer.probabilities)


def _status(frame: Frame, faces: tuple[FaceResult, ...]) -> str:
    if frame.pixels is None:
        return UNREADABLE
    seen = [face.status for face in faces if face.face is not None]
    if not seen:
        return NO_FACE
    return next((s for s in (CLASSIFIED, GAP) if s in seen), seen[0])
