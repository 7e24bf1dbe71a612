"""Shards: preprocessed sequences as memory-mapped arrays, checked when loaded.

`load_shards` opens one set, `load_data` several as one. `format` says what a folder holds, `writer` writes one.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.shards import format as shard_format
from stfer.data.shards.pages import Pages
from stfer.data.shards.streams import (
    FRAMES,
    Stream,
    beside,
    check_frame_rate,
    declared_streams,
    frames_stream,
    stream_of,
)


@dataclass(frozen=True, eq=False)
class Shards:
    """Preprocessed sequences, in one order that every load repeats.

    Attributes:
        name: the set's name; several sets' names are joined by `+`.
        classes: class names in label order.
        size: height and width of every frame in pixels.
        ids: sequence ids, unique.
        subjects: subject of each sequence. Names are data: never use one as a path unescaped.
        labels: index in `classes` of each sequence, int32 [n].
        lengths: number of frames of each sequence, int32 [n].
        crop: detector and crop settings, as `CropSettings.to_dict` gives them.
        checksum: SHA-256 over everything a model can see, as hexadecimal text.
        header: the header; of several sets `{"sets": [header, ...]}`.
        streams: what there is for each frame, from name to (dtype, shape of one frame's row): `frames`, and
            others such as `landmarks`. Of several sets those that all of them have.
        frame_rate: frames a second; None where it is not known, or sets differ.
        more: for each sequence what else its manifest says, a text a column.
    """

    name: str
    classes: tuple[str, ...]
    size: int
    ids: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: np.ndarray
    lengths: np.ndarray
    crop: dict[str, Any]
    checksum: str
    header: dict[str, Any]
    streams: Mapping[str, Stream]
    frame_rate: float | None
    # From a stream's name to the array and offset of each sequence; and why a stream of some sets is none of all.
    _views: Mapping[str, Sequence[tuple[np.ndarray, int]]]
    _lacking: Mapping[str, str] = field(default_factory=dict)
    more: tuple[Mapping[str, str], ...] = ()
    _pages: Pages = field(default_factory=Pages)

    def __len__(self) -> int:
        return len(self.ids)

    def frames(self, index: int) -> np.ndarray:
        """Frames of one sequence: a read-only memory-mapped view, uint8 [length, size, size, 3], RGB."""
        return self.stream(FRAMES, index)

    def stream(self, name: str, index: int) -> np.ndarray:
        """A stream of one sequence: a read-only memory-mapped view, [length, *shape].

        Raises:
            ValueError: the set has no such stream; says which it has.
        """
        if name not in self._views:
            self.check_streams([name])
        array, offset = self._views[name][index]
        rows = array[offset : offset + int(self.lengths[index])]
        self._pages.read(array, rows.nbytes)
        return rows

    def check_streams(self, names: Iterable[str]) -> None:
        """Raise ValueError unless the set has all of these streams; says what it has."""
        for name in names:
            if name not in self.streams:
                has = f"{self.name} has no stream {name!r}; it has {', '.join(self.streams)}"
                raise ValueError(self._lacking.get(name, has))


def load_shards(folder: str | Path, verify: bool = True) -> Shards:
    """Open one shard folder.

    Args:
        folder: the folder with `header.json`.
        verify: compare every file's SHA-256 (in parallel) with the header's. Structure is always
            checked.

    Raises:
        FileNotFoundError: no shard folder, or one of its files is missing.
        ValueError: a file was changed, cut or does not fit; the sentence names it.
    """
    folder = Path(folder)
    header = shard_format.read_header(folder)
    for name in header["files"]:
        shard_format.check_file(folder, name)
    streams = {FRAMES: frames_stream(header["size"]), **declared_streams(header["streams"])}
    arrays = {
        name: shard_format.open_array(folder, name, streams[stream_of(name, streams)])
        for name in header["files"]
        if name.endswith(".npy")
    }
    if verify:
        _verify(folder, header["files"])
    rows = shard_format.read_table(folder, header)
    views: dict[str, list[tuple[np.ndarray, int]]] = {name: [] for name in streams}
    for row in rows:
        end = row.offset + row.frames
        for name, placed in views.items():
            file = beside(row.file, name)
            if file not in arrays:
                raise ValueError(f"{folder / shard_format.HEADER} is damaged: it lists no {file}")
            if end > len(arrays[file]):
                raise ValueError(
                    f"{folder / shard_format.TABLE} is damaged: {row.sequence} ends at frame "
                    f"{end} of {file}, which has {len(arrays[file])}"
                )
            placed.append((arrays[file], row.offset))
    classes = tuple(header["classes"])
    return Shards(
        name=header["name"],
        classes=classes,
        size=header["size"],
        ids=tuple(row.sequence for row in rows),
        subjects=tuple(row.subject for row in rows),
        labels=np.array([classes.index(row.label) for row in rows], np.int32),
        lengths=np.array([row.frames for row in rows], np.int32),
        crop=header["crop"],
        checksum=header["checksum"],
        header=header,
        streams=streams,
        frame_rate=check_frame_rate(header["frame_rate"]),
        more=tuple(row.more for row in rows),
        _views=views,
    )


def _verify(folder: Path, files: dict[str, str]) -> None:
    with ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 1) + 1)) as pool:
        checksums = pool.map(lambda name: shard_format.file_checksum(folder / name), files)
        for name, found in zip(files, checksums, strict=True):
            if found != files[name]:
                raise ValueError(
                    f"{folder / name} was changed after it was written: its SHA-256 differs"
                )


class SetsDifferError(ValueError):
    """Sets that cannot be one set.

    Attributes:
        sets: The two, by their folders as they were named.
        fields: What differs: "size", "classes", or the name of a crop setting.
    """

    def __init__(self, message: str, sets: Mapping[str, Shards], fields: Sequence[str]):
        super().__init__(message)
        self.sets = sets
        self.fields = fields


def load_data(folders: str, verify: bool = True) -> Shards:
    """Open one shard folder, or several separated by commas as one set.

    Subjects belong to a population (`header["population"]`: `ck_plus`, `oulu_casia`, a manifest's
    name). With more than one population, ids and subjects become `population:name`, so subjects are
    kept apart between populations; within one they stay together, also over several folders (P001 of
    Oulu-CASIA is one subject in all three lights).

    Raises:
        FileNotFoundError, ValueError: as `load_shards`.
        SetsDifferError: the sets do not fit together.
    """
    names = [name.strip() for name in folders.split(",") if name.strip()]
    if not names:
        raise ValueError(
            "no shard folder is named: give one folder, or several separated by commas"
        )
    sets = [load_shards(name, verify) for name in names]
    if len(sets) == 1:
        return sets[0]
    first = sets[0]
    for folder, other in zip(names[1:], sets[1:], strict=True):
        if differing := _differences(first, other):
            what, a, b = next(iter(differing.values()))
            raise SetsDifferError(
                f"{names[0]} and {folder} do not fit together: {what} is {a} and {b}",
                {names[0]: first, folder: other},
                list(differing),
            )
    populations = [shards.header["population"] for shards in sets]
    apart = len(set(populations)) > 1

    def unique(shards: Shards, value: str) -> str:
        return f"{shards.header['population']}:{value}" if apart else value

    ids = [unique(shards, sequence) for shards in sets for sequence in shards.ids]
    seen: set[str] = set()
    for sequence in ids:
        if sequence in seen:
            raise ValueError(f"the sequence {sequence} is in more than one of {', '.join(names)}")
        seen.add(sequence)
    streams, lacking = _joined_streams(names, sets)
    rates = {shards.frame_rate for shards in sets}
    together = hashlib.sha256("\n".join(shards.checksum for shards in sets).encode())
    return Shards(
        name="+".join(shards.name for shards in sets),
        classes=first.classes,
        size=first.size,
        ids=tuple(ids),
        subjects=tuple(unique(shards, subject) for shards in sets for subject in shards.subjects),
        labels=np.concatenate([shards.labels for shards in sets]),
        lengths=np.concatenate([shards.lengths for shards in sets]),
        crop=first.crop,
        checksum=together.hexdigest(),
        header={"sets": [shards.header for shards in sets]},
        streams=streams,
        frame_rate=rates.pop() if len(rates) == 1 else None,
        more=tuple(row for shards in sets for row in shards.more),
        _views={
            name: [view for shards in sets for view in shards._views[name]] for name in streams
        },
        _lacking=lacking,
    )


def _joined_streams(
    names: Sequence[str], sets: Sequence[Shards]
) -> tuple[dict[str, Stream], dict[str, str]]:
    """The streams that all sets have alike, and for each other one a sentence why it is not among them."""
    streams: dict[str, Stream] = {}
    lacking: dict[str, str] = {}
    for name in dict.fromkeys(name for shards in sets for name in shards.streams):
        kinds = [shards.streams[name] for shards in sets if name in shards.streams]
        if len(kinds) < len(sets):
            without = (
                n for n, shards in zip(names, sets, strict=True) if name not in shards.streams
            )
            lacking[name] = (
                f"the stream {name!r} is not in every set: {', '.join(without)} lacks it"
            )
        elif len(set(kinds)) > 1:
            each = ", ".join(f"{kind} in {n}" for n, kind in zip(names, kinds, strict=True))
            lacking[name] = f"the stream {name!r} differs between the sets: {each}"
        else:
            streams[name] = sets[0].streams[name]
    return streams, lacking


def _differences(first: Shards, other: Shards) -> dict[str, tuple[str, object, object]]:
    """Fields that sets must share to be one set. How a missing face was met does not change a crop."""
    pairs: dict[str, tuple[str, object, object]] = {
        "size": ("the frame size", first.size, other.size),
        "classes": ("the list of classes", ", ".join(first.classes), ", ".join(other.classes)),
    }
    for key in sorted((first.crop.keys() | other.crop.keys()) - {"missing_faces"}):
        pair = (f"the crop setting {key!r}", first.crop.get(key), other.crop.get(key))
        pairs.setdefault(key, pair)
    return {key: pair for key, pair in pairs.items() if pair[1] != pair[2]}
