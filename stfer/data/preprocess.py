"""From sequences to a shard folder: read every frame, follow the face, cut it, write it.

Worker processes take one sequence each; the parent writes results in the sequences' order, so the
bytes do not depend on the number of workers. Memory is bounded by a few sequences a worker. A killed
run goes on after the last sequence written (see `shards/writer.py`).
"""

import contextlib
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Generator, Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stfer.data.cropping import (
    MISSING_SHARE,
    Crops,
    Work,
    crop_group,
    crop_sequence,
    one_video,
    start_worker,
)
from stfer.data.faces import DETECTORS, CropSettings
from stfer.data.faces.points import POINTS
from stfer.data.landmark_track import STREAM, Landmarks, origin
from stfer.data.sequence import EMOTIONS_6, Dropped, Sequence, common_rate
from stfer.data.shards.writer import ShardWriter
from stfer.data.workers import Died, run
from stfer.storage.tables import csv_bytes

__all__ = ["MIN_FRAMES", "Result", "crop_sequence", "dropped_table", "preprocess"]

MIN_FRAMES = 15  # The paper, section V.
_MOST_CLIPS, _MOST_GROUP_FRAMES = 16, 2048  # of one video, read in one pass
FACES_TABLE = "faces.csv"
DROPPED_TABLE = "dropped.csv"


@dataclass(frozen=True)
class Result:
    """What `preprocess` wrote.

    Attributes:
        folder: the shard folder.
        kept: its sequences' entries in the journal.
        dropped: everything that is not in it.
        notes: what is peculiar about kept sequences, as (sequence, sentence).
    """

    folder: Path
    kept: list[dict]
    dropped: list[Dropped]
    notes: list[tuple[str, str]]


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
    missing_share: float = MISSING_SHARE,
    rotate: int = 0,
    landmarks: Landmarks = None,
    workers: int = 1,
    progress: Callable[[int], object] | None = None,
    extra_files: Callable[[ShardWriter, list[dict], list[Dropped]], dict[str, bytes]] | None = None,
) -> Result:
    """Make the shard folder `out` of labelled sequences.

    Args:
        sequences: those to use, as `sequence.select` leaves them.
        out: must not exist, or be empty.
        settings: how faces are found and cut.
        name: the set's.
        population: whose subjects these are (see `shards.load_data`).
        classes: in label order.
        dropped: what was dropped before, for the folder's table.
        min_frames: a video that proves shorter than it promised is dropped below this.
        missing_share: where `settings` interpolate missing faces, at most this share of a sequence's frames.
        rotate: degrees clockwise that frames are turned by, a multiple of 90.
        landmarks: where the stream `landmarks` comes from; a sequence with a frame without any is dropped.
        workers: processes; with 1 pictures are read in this one, videos in another.
        progress: called with the number of frames just finished.
        extra_files: makes further files (figures) from the writer, the kept entries and the dropped.

    Raises:
        FileExistsError: `out` exists and is not empty.
        OSError: it cannot be written.
        ValueError: nothing is left to write.
    """
    sequences, dropped = list(sequences), list(dropped)
    report = progress or (lambda frames: None)
    work = Work(settings, min_frames, missing_share, rotate, landmarks)
    decide: dict[str, float | str] = {
        "min_frames": min_frames,
        "missing_share": missing_share,
        "rotate": rotate,
    }
    if landmarks is not None:
        decide["landmarks"] = origin(landmarks)
    listing = [[s.id, s.subject, s.label, dict(s.more), *map(_source, s.frames)] for s in sequences]
    with ShardWriter(
        out,
        name=name,
        population=population,
        classes=classes,
        size=settings.size,
        crop=settings.to_dict(),
        settings=decide | {"content": _fingerprint(listing)},
        streams={} if landmarks is None else {STREAM: (np.float32, (POINTS, 2))},
        frame_rate=common_rate(sequences),
    ) as writer:
        for sequence in sequences[: len(writer.entries)]:
            report(len(sequence))
        left = sequences[len(writer.entries) :]
        with contextlib.closing(_results(left, work, workers)) as results:
            for sequence, result in zip(left, results, strict=True):
                if isinstance(result, str):
                    writer.drop(Dropped(sequence.id, sequence.subject, sequence.label, result))
                else:
                    _add(writer, sequence, result)
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
        notes = [(e["sequence"], text) for e in kept for text in e["note"]["notes"]]
        return Result(writer.finish(files), kept, dropped, notes)


def _add(writer: ShardWriter, sequence: Sequence, result: Crops) -> None:
    faces = [[*found.face, found.how] for found in result.faces]
    note = {"faces": faces, "notes": result.notes}
    writer.add(
        sequence.id,
        sequence.subject,
        sequence.label,
        result.crops,
        note,
        {} if result.landmarks is None else {STREAM: result.landmarks},
        more=dict(sequence.more),
    )


def _results(
    sequences: list[Sequence], work: Work, workers: int
) -> Generator[Crops | str, None, None]:
    """Every sequence's result in order, with a few sequences a worker waiting."""
    groups = _groups(sequences, workers)
    is_video = any(source.number is not None for s in sequences for source in s.frames[:1])
    # A decoder that crashes must not take this process with it; pictures are decoded by sturdier ones.
    if (workers <= 1 and not is_video) or not sequences:
        for group in groups:
            yield from crop_group(group, work)
        return
    detector = work.settings.detector
    function = functools.partial(crop_group, work=work)
    set_up = functools.partial(start_worker, detector, DETECTORS[detector].search)
    with contextlib.closing(run(function, groups, max(1, workers), set_up)) as results:
        for result in results:
            yield f"crashed: {result}" if isinstance(result, Died) else result


def _groups(sequences: list[Sequence], workers: int) -> list[list[Sequence]]:
    """Neighbours of one video together, so that it is read in one pass; others alone."""
    groups: list[list[Sequence]] = []
    for _, same in itertools.groupby(sequences, lambda s: one_video([s]) or s.id):
        clips = list(same)
        most = min(_MOST_CLIPS, -(-len(clips) // max(1, workers)))
        group: list[Sequence] = []
        for clip in clips:
            if group and (
                len(group) == most or sum(map(len, group)) + len(clip) > _MOST_GROUP_FRAMES
            ):
                groups.append(group)
                group = []
            group.append(clip)
        groups.append(group)
    return groups


def dropped_table(dropped: Iterable[Dropped]) -> bytes:
    """The table of everything dropped, as a CSV file's bytes."""
    columns = ("sequence", "subject", "label", "reason")
    return csv_bytes(columns, ((d.sequence, d.subject, d.label, d.reason) for d in dropped))


def _faces_table(kept: list[dict]) -> bytes:
    columns = ("sequence", "frame", "left", "top", "width", "height", "roll", "found")
    rows = (
        (entry["sequence"], frame, *(f"{value:.2f}" for value in face[:5]), face[5])
        for entry in kept
        for frame, face in enumerate(entry["note"]["faces"])
    )
    return csv_bytes(columns, rows)


def _fingerprint(listing: list) -> str:
    # Paths may hold bytes that are no UTF-8; JSON's escapes keep them apart.
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _source(source) -> list:
    return [os.path.abspath(source.path), source.number]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
