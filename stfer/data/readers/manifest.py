"""Any data set by a CSV manifest: `path,subject,emotion[,start,end][,sequence]`, one row a sequence.

`path` is a folder of images, a video file or one image, relative to the manifest's folder or absolute; `~` is
the home folder. `start` and `end` are frame numbers from 0, `end` exclusive; without them the whole is used.
Frames should run from neutral to apex. `sequence` names the sequence; without it the path and frame numbers
do. Further columns are kept with the sequence. Tables are read as spreadsheets and pandas save them: with
semicolons or tabs, a byte order mark, UTF-16, an index column, whole numbers as floats, empty rows.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.labels import NEUTRAL, load_synonyms
from stfer.data.pictures import is_picture, is_unread
from stfer.data.readers import tree
from stfer.data.readers.manifest_table import Row, parse
from stfer.data.readers.registry import register_reader
from stfer.data.sequence import Dropped, FrameSource, Sequence, readable, why_unnamable
from stfer.nearest import did_you_mean_path

_MAX_BYTES = 256 << 20
_MAX_ERRORS = 200


class ManifestError(ValueError):
    """All the mistakes of a manifest; `errors` has one `line N: ...` a mistake."""

    def __init__(self, name: str, errors: list[str]):
        self.errors = errors
        shown = "; ".join(errors[:_MAX_ERRORS])
        more = f"; and {len(errors) - _MAX_ERRORS} more" if len(errors) > _MAX_ERRORS else ""
        mistakes = "1 mistake" if len(errors) == 1 else f"{len(errors)} mistakes"
        super().__init__(f"{name} has {mistakes}: {shown}{more}")


@register_reader("manifest")
def read(
    manifest: str | Path, synonyms_file: str | Path | None = None, rate: float | None = None
) -> tuple[list[Sequence], list[Dropped]]:
    """Read a manifest and list its frames. No pixel is read.

    Args:
        manifest: the CSV file.
        synonyms_file: further names of emotions, as `load_synonyms` takes it.
        rate: frames a second to take from videos of another rate, by their time stamps and counted back from
            the last frame, and of folders of pictures; None takes all frames.

    Returns:
        Labelled sequences, whatever their length, and what cannot be used (neutral, unreadable).

    Raises:
        FileNotFoundError: no such manifest.
        ManifestError: rows are wrong; every one of them is listed.
    """
    manifest = Path(os.path.expanduser(manifest))
    if not manifest.is_file():
        hint = "" if manifest.exists() else did_you_mean_path(manifest)
        raise FileNotFoundError(f"{manifest} is no file: --root is the CSV manifest{hint}")
    if manifest.stat().st_size > _MAX_BYTES:
        raise ValueError(
            f"{manifest} is larger than {_MAX_BYTES >> 20} MiB, too large for a manifest"
        )
    rows, errors = parse(manifest.read_bytes(), load_synonyms(synonyms_file))
    sequences: list[Sequence] = []
    dropped: list[Dropped] = []
    for row in rows:
        try:
            result = _sequence(row, manifest.parent, rate)
        except ValueError as error:
            errors.append((row.line, str(error)))
            continue
        if isinstance(result, Sequence):
            sequences.append(result)
        else:
            dropped.append(result)
    if errors:
        errors.sort(key=lambda error: error[0])
        raise ManifestError(str(manifest), [f"line {line}: {text}" for line, text in errors])
    if not rows:
        raise ValueError(f"{manifest} has a header and no rows")
    return sequences, dropped


def _located(folder: Path, path: str) -> Path:
    """Where a row's path leads; one with backslashes, as Windows writes them, is tried with slashes too."""
    found = folder / os.path.expanduser(path)
    if "\\" in path and not os.path.lexists(found):
        if re.match(r"[A-Za-z]:\\|\\\\", path):
            raise ValueError(
                f"path {path[:200]} is a place on a Windows machine: write it relative to the manifest"
            )
        return folder / path.replace("\\", "/")
    return found


def _sequence(row: Row, folder: Path, rate: float | None) -> Sequence | Dropped:
    """The row's frames; ValueError where the row is wrong, Dropped where the data are."""
    if why := why_unnamable(row.path):
        raise ValueError(f"path {row.path[:200]} cannot be looked for: {why}")
    path = _located(folder, row.path)
    try:
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    except OSError as error:
        return _drop(row, f"unreadable file: {error.strerror}")
    if not exists:
        raise ValueError(f"path {readable(row.path)} does not exist")
    if row.label == NEUTRAL:
        return _drop(row, "neutral: no expression to learn")
    if is_folder:
        return _folder(row, path, rate)
    if is_unread(path.name):
        return _drop(row, f"pictures that are not read: {readable(path.name)}")
    if is_picture(path.name) and path.suffix.lower() != ".gif":
        _check_span(row, 1, "image")
        return _made(row, [FrameSource(os.fspath(path))])
    return _video(row, path, rate)


def _folder(row: Row, path: Path, rate: float | None) -> Sequence | Dropped:
    try:
        frames, unread = tree.images(path)
    except OSError as error:
        return _drop(row, f"unreadable folder: {error.strerror}")
    if unread or not frames:
        return _drop(row, unread or "no image files")
    _check_span(row, len(frames), "images")
    frames = frames[row.start : row.end]
    seconds = tree.stamps(frames)
    steps = np.diff(seconds)
    if len(steps) and np.median(steps) > 0:
        rate = float(1 / np.median(steps))
    sources = [FrameSource(frame) for frame in frames]
    return _made(row, sources, missing=tree.missing_numbers(frames), rate=rate)


def _video(row: Row, path: Path, rate: float | None) -> Sequence | Dropped:
    from stfer.data.frames import UnreadableFrameError
    from stfer.data.video_index import index_video

    try:
        index = index_video(str(path))
    except UnreadableFrameError as error:
        return _drop(row, str(error))
    _check_span(row, index.frames, "frames")
    span = range(row.start, index.frames if row.end is None else row.end)
    numbers: range | np.ndarray = span
    is_open = row.end is None
    if rate is not None and len(index.times) and abs(index.rate - rate) > 0.02 * rate:
        numbers = at_rate(index.times[span.start : span.stop], rate) + span.start
        is_open = False
    sources = [FrameSource(os.fspath(path), int(number)) for number in numbers]
    return _made(row, sources, open_end=is_open, rate=rate or index.rate)


def at_rate(seconds: np.ndarray, rate: float) -> np.ndarray:
    """Which frames stand nearest to a steady clock of `rate` a second that ends at the last frame.

    Args:
        seconds: float64 [frames], ascending.
        rate: frames a second.

    Returns:
        int64 indices, ascending; a slow video's frames come more than once.
    """
    count = int((seconds[-1] - seconds[0]) * rate + 1e-6) + 1
    wanted = seconds[-1] - np.arange(count)[::-1] / rate
    after = np.clip(np.searchsorted(seconds, wanted), 1, max(len(seconds) - 1, 1))
    if len(seconds) == 1:
        return np.zeros(1, np.int64)
    return np.where(wanted - seconds[after - 1] < seconds[after] - wanted, after - 1, after)


def _made(row: Row, sources: list[FrameSource], **fields: Any) -> Sequence:
    return Sequence(row.sequence, row.subject, row.label, tuple(sources), more=row.more, **fields)


def _check_span(row: Row, count: int, what: str) -> None:
    if row.start >= count:
        raise ValueError(
            f"start {row.start} lies beyond the {count} {what} of {readable(row.path)}"
        )
    if row.end is not None and row.end > count:
        raise ValueError(f"end {row.end} lies beyond the {count} {what} of {readable(row.path)}")


def _drop(row: Row, reason: str) -> Dropped:
    return Dropped(row.sequence, row.subject, row.label, reason)
