"""A shard folder from arrays at hand, in one call."""

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.sequence import EMOTIONS_6
from stfer.data.shards.writer import ShardWriter


def write_shards(
    folder: str | Path,
    sequences: Iterable[tuple],
    *,
    name: str = "set",
    population: str | None = None,
    classes: tuple[str, ...] = EMOTIONS_6,
    crop: Mapping[str, Any] | None = None,
    frame_rate: float | None = None,
) -> Path:
    """Write sequences at hand as a shard folder; returns its path.

    Args:
        folder: must not exist, or be empty.
        sequences: `(id, subject, label, frames)` with frames uint8 [length, size, size, 3], RGB, neutral to apex;
            or `(id, subject, label, frames, streams)`, where `streams` maps each further stream's name to an array
            [length, ...], such as `{"landmarks": float32 [length, 49, 2]}`: of one type and shape in all sequences.
        name: the set's.
        population: whose subjects these are; by default the set's own.
        classes: in label order.
        crop: how faces were cropped; none by default.
        frame_rate: frames a second, where it is known.

    Raises:
        FileExistsError: the folder exists and is not empty.
        ValueError: there is no sequence, or one does not fit; names it.

    Example:
        >>> import tempfile
        >>> frames = np.zeros((15, 16, 16, 3), np.uint8)
        >>> landmarks = np.full((15, 49, 2), 0.5, np.float32)
        >>> rows = [("S1/1", "S1", "fear", frames, {"landmarks": landmarks})]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_shards(f"{folder}/set", rows).name
        'set'
    """
    rows = [(row[:3], row[3], dict(row[4]) if len(row) > 4 else {}) for row in sequences]
    if not rows:
        raise ValueError(f"no sequence is left to write to {folder}")
    _, first, streams = rows[0]
    with ShardWriter(
        folder,
        name=name,
        population=population or name,
        classes=classes,
        size=first.shape[1],
        crop=crop or {"detector": "none"},
        settings={"content": [_crc(frames, further) for _, frames, further in rows]},
        streams={key: (array.dtype, array.shape[1:]) for key, array in streams.items()},
        frame_rate=frame_rate,
    ) as writer:
        for (sequence, subject, label), frames, further in rows[len(writer.entries) :]:
            writer.add(sequence, subject, label, frames, streams=further)
        return writer.finish()


def _crc(frames: np.ndarray, streams: Mapping[str, np.ndarray]) -> list[int]:
    arrays = [frames, *(streams[name] for name in sorted(streams))]
    return [zlib.crc32(np.ascontiguousarray(array)) for array in arrays]
