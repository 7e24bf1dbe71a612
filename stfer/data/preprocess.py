"""From sequences to a shard folder: read every frame, follow the face, cut it, write it.

Worker processes take one sequence each; the parent writes results in the sequences' order, so the
bytes do not depend on the number of workers. Memory is bounded by a few sequences a worker. A killed
run goes on after the last sequence written (see `shards/writer.py`).
"""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Items
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stfer.data.faces import (
    DETECTORS,
    CropSettings,
    Face,
    FaceFollower,
    Tracked,
    crop_face,
    find_finely,
    register_detector,
)
from stfer.data.faces.detectors import Search
from stfer.data.faces.landmarks import find_landmarks
from stfer.data.faces.points import POINTS, to_crop
from stfer.data.frames import FrameReader, UnreadableFrameError
from stfer.data.sequence import EMOTIONS_6, Dropped, Sequence
from stfer.data.shards.writer import ShardWriter
from stfer.storage.tables import csv_bytes

MIN_FRAMES = 15  # The paper, section V.
MAX_FRAMES = 4096
# Beyond this, a sequence without faces is not searched a second time.
_SECOND_LOOKS = 100
FACES_TABLE = "faces.csv"
DROPPED_TABLE = "dropped.csv"


@dataclass(frozen=True)
class Crops:
    """One sequence's faces.

    Attributes:
        crops: uint8 [length, size, size, 3].
        faces: for each frame, how and where.
        landmarks: float32 [length, 49, 2] in crop coordinates, where they were asked for.
    """

    crops: np.ndarray
    faces: list[Tracked]
    landmarks: np.ndarray | None = None


DETECTED = "mediapipe"
Landmarks = str | Callable[[Sequence], np.ndarray] | None
"""Where landmarks come from: DETECTED, a function from a sequence to [frames, 49, 2] in pixels, or None for none."""


class _Cutter:
    """Cuts faces, and places their landmarks, into the arrays of one sequence."""

    def __init__(self, length: int, settings: CropSettings, points: np.ndarray | str | None):
        self.settings, self.points = settings, points
        self.crops = np.zeros((length, settings.size, settings.size, 3), np.uint8)
        self.landmarks = None if points is None else np.zeros((length, POINTS, 2), np.float32)
        self.without_landmarks: list[int] = []

    def __call__(self, index: int, frame: np.ndarray, face: Face) -> None:
        self.crops[index] = crop_face(frame, face, self.settings)
        if self.landmarks is None:
            return
        detected = isinstance(self.points, str)
        found = find_landmarks(frame, face) if detected else self.points[index]
        if found is None:
            self.without_landmarks.append(index)
        else:
            self.landmarks[index] = to_crop(found, face, self.settings)


@dataclass(frozen=True)
class Result:
    """What `preprocess` wrote: the folder, its kept sequences' entries, and everything dropped."""

    folder: Path
    kept: list[dict]
    dropped: list[Dropped]


def preprocess(
    sequences: Items[Sequence],
    out: str | Path,
    settings: CropSettings,
    *,
    name: str,
    population: str,
    classes: tuple[str, ...] = EMOTIONS_6,
    dropped: Iterable[Dropped] = (),
    min_frames: int = MIN_FRAMES,
    workers: int = 1,
    landmarks: Landmarks = None,
    progress: Callable[[int], None] | None = None,
    extra_files: Callable[[ShardWriter, list[dict], list[Dropped]], dict[str, bytes]] | None = None,
) -> Result:
    """Make the shard folder `out` of labelled sequences.

    Args:
        sequences: those to use, as `sequence.select` leaves them.
        population: whose subjects these are (see `shards.load_data`).
        dropped: what was dropped before, for the folder's table.
        min_frames: a video that proves shorter than it promised is dropped below this.
        workers: processes; 1 works in this one.
        landmarks: where the stream `landmarks` comes from; a sequence with a frame without any is dropped.
        progress: called with the number of frames just finished.
        extra_files: makes further files (figures) from the writer, the kept entries and the dropped.

    Raises:
        FileExistsError: `out` exists and is not empty.
        OSError: it cannot be written.
        ValueError: nothing is left to write.
    """
    sequences, dropped = list(sequences), list(dropped)
    report = progress or (lambda frames: None)
    rates = {sequence.rate for sequence in sequences}
    listing = [[s.id, s.subject, s.label, *map(_source, s.frames)] for s in sequences]
    with ShardWriter(
        out,
        name=name,
        population=population,
        classes=classes,
        size=settings.size,
        crop=settings.to_dict(),
        settings={"min_frames": min_frames, "content": _fingerprint(listing)}
        | ({} if landmarks is None else {"landmarks": _name(landmarks)}),
        streams={} if landmarks is None else {"landmarks": (np.float32, (POINTS, 2))},
        frame_rate=rates.pop() if len(rates) == 1 else None,
    ) as writer:
        for sequence in sequences[: len(writer.entries)]:
            report(len(sequence))
        left = sequences[len(writer.entries) :]
        with ExitStack() as stack:
            results = _results(left, settings, min_frames, workers, landmarks, stack)
            for sequence, result in zip(left, results, strict=True):
                if isinstance(result, str):
                    writer.drop(Dropped(sequence.id, sequence.subject, sequence.label, result))
                else:
                    faces = [[*found.face, found.how] for found in result.faces]
                    streams = {} if landmarks is None else {"landmarks": result.landmarks}
                    writer.add(
                        sequence.id, sequence.subject, sequence.label, result.crops, faces, streams
                    )
                report(len(sequence))
        kept = [entry for entry in writer.entries if entry["kept"]]
        dropped += [
            Dropped(e["sequence"], e["subject"], e["label"], e["reason"])
            for e in writer.entries
            if not e["kept"]
        ]
        if not kept:
            first = f"; the first: {dropped[0].sequence}, {dropped[0].reason}" if dropped else ""
            raise ValueError(f"no sequence is left: all {len(dropped)} were dropped{first}")
        files = {FACES_TABLE: _faces_table(kept), DROPPED_TABLE: dropped_table(dropped)}
        if extra_files:
            files |= extra_files(writer, kept, dropped)
        return Result(writer.finish(files), kept, dropped)


def crop_sequence(
    sequence: Sequence, settings: CropSettings, min_frames: int = 1, landmarks: Landmarks = None
) -> Crops | str:
    """Read one sequence and cut its face out of every frame; a text is the reason to drop it."""
    if len(sequence) > MAX_FRAMES:
        return f"too long: {len(sequence)} frames, at most {MAX_FRAMES}; give its start and end"
    try:
        points = landmarks(sequence) if callable(landmarks) else landmarks
    except ValueError as error:
        return str(error)
    try:
        with FrameReader(sequence) as reader:
            return _crop(sequence, reader, _Cutter(len(sequence), settings, points), min_frames)
    except UnreadableFrameError as error:
        return str(error)
    except EOFError as error:
        return f"unreadable file: {error}"


def _crop(sequence: Sequence, reader: FrameReader, cut: _Cutter, min_frames: int) -> Crops | str:
    # One person from neutral to apex: however long the face is lost, it is the same one.
    follower = FaceFollower(cut.settings, largest=1, patience=None)
    faces: list[Tracked | None] = []
    shape = None
    for index in range(len(sequence)):
        try:
            frame = reader.read(index)
        except EOFError:
            # The promise of a container is often a few frames too high.
            if sequence.open_end and faces:
                break
            raise
        if shape not in (None, frame.shape[:2]):
            return (
                f"frame sizes differ: {_size(shape)}, and {_size(frame.shape)} "
                f"in {sequence.frames[index]}"
            )
        shape = frame.shape[:2]
        faces.append(follower.one(frame))
        if faces[-1] is not None:
            cut(index, frame, faces[-1].face)
    if len(faces) < min_frames:
        return f"too short: {len(faces)} frames, at least {min_frames} are needed"
    missing = [index for index, found in enumerate(faces) if found is None]
    if missing and len(missing) <= _SECOND_LOOKS and len(missing) < len(faces):
        missing = _look_again(missing, faces, cut, reader)
    for what, where in (("face", missing), ("landmarks", sorted(cut.without_landmarks))):
        if where:
            more = f", and in {len(where) - 1} more" if len(where) > 1 else ""
            return f"no {what} in frame {where[0] + 1}: {sequence.frames[where[0]]}{more}"
    landmarks = None if cut.landmarks is None else cut.landmarks[: len(faces)]
    return Crops(cut.crops[: len(faces)], faces, landmarks)


def _look_again(
    missing: list[int],
    faces: list[Tracked | None],
    cut: _Cutter,
    reader: FrameReader,
) -> list[int]:
    """Seek missing faces where the next frame has one, else interpolate if asked; returns those left."""
    pixels: dict[int, np.ndarray] = {}
    for index in reversed(missing):
        following = faces[index + 1] if index + 1 < len(faces) else None
        if following is None:
            continue
        frame = pixels[index] = reader.read(index)
        faces[index] = find_finely(frame, cut.settings, following.face)
        if faces[index] is not None:
            cut(index, frame, faces[index].face)
            del pixels[index]
    left = [index for index in missing if faces[index] is None]
    if cut.settings.missing_faces != "interpolate":
        return left
    known = [index for index, found in enumerate(faces) if found is not None]
    boxes = np.array([faces[index].face for index in known])
    for index in left:
        face = Face(*(float(np.interp(index, known, column)) for column in boxes.T))
        faces[index] = Tracked(face, "interpolated")
        frame = pixels.pop(index, None)
        cut(index, reader.read(index) if frame is None else frame, face)
    return []


def _results(
    sequences: list[Sequence],
    settings: CropSettings,
    min_frames: int,
    workers: int,
    landmarks: Landmarks,
    stack: ExitStack,
) -> Iterator[Crops | str]:
    """Every sequence's result in order, with at most two sequences a worker waiting."""
    if workers <= 1 or len(sequences) < 2:
        yield from (crop_sequence(s, settings, min_frames, landmarks) for s in sequences)
        return
    # Forking a process that runs JAX's threads can deadlock; spawned workers import only what they need.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(settings.detector, DETECTORS[settings.detector].search),
    )
    stack.callback(pool.shutdown, cancel_futures=True)
    waiting: deque = deque()
    todo = iter(sequences)
    try:
        while True:
            for sequence in todo:
                waiting.append(
                    pool.submit(crop_sequence, sequence, settings, min_frames, landmarks)
                )
                if len(waiting) >= 2 * workers:
                    break
            if not waiting:
                return
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise OSError(
            "a worker process died (too little memory?): the same command goes on where it was, "
            "perhaps with fewer workers"
        ) from None


def _start_worker(detector: str, search: Search) -> None:
    # One from outside the package is unknown to a new process until its module is imported, as `search` has done.
    if detector not in DETECTORS:
        register_detector(detector)(search)
    # One process a core: OpenCV's own threads would only compete.
    cv2.setNumThreads(1)
    # Ctrl-C is the parent's to handle; and a killed parent must not leave workers waiting for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def dropped_table(dropped: Iterable[Dropped]) -> bytes:
    """The table of everything dropped, as a CSV file's bytes."""
    columns = ("sequence", "subject", "label", "reason")
    return csv_bytes(columns, ((d.sequence, d.subject, d.label, d.reason) for d in dropped))


def _faces_table(kept: list[dict]) -> bytes:
    columns = ("sequence", "frame", "left", "top", "width", "height", "roll", "found")
    rows = (
        (entry["sequence"], frame, *(f"{value:.2f}" for value in face[:5]), face[5])
        for entry in kept
        for frame, face in enumerate(entry["note"])
    )
    return csv_bytes(columns, rows)


def _fingerprint(listing: list) -> str:
    # Paths may hold bytes that are no UTF-8; JSON's escapes keep them apart.
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _name(landmarks: Landmarks) -> str:
    """What a shard folder's header says of its landmarks' origin."""
    return landmarks if isinstance(landmarks, str) else "files"


def _source(source) -> list:
    return [os.path.abspath(source.path), source.number]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
