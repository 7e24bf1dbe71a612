"""Any data set by a CSV manifest: `path,subject,emotion[,start,end][,sequence]`, one row a sequence.

`path` is a folder of images, a video file or one image, relative to the manifest's folder or absolute; `~` is
the home folder. `start` and `end` are frame numbers from 0, `end` exclusive; without them the whole is used.
Frames should run from neutral to apex. `sequence` names the sequence; without it the path and frame numbers
do. Further columns are kept with the sequence. Tables are read as spreadsheets and pandas save them: with
semicolons or tabs, a byte order mark, UTF-16, an index column, whole numbers as floats, empty rows.
"""

import csv
import difflib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.labels import NEUTRAL, emotion, load_synonyms
from stfer.data.pictures import is_picture, is_unread
from stfer.data.readers import tree
from stfer.data.readers.registry import register_reader
from stfer.data.sequence import Dropped, FrameSource, Sequence, readable

REQUIRED = ("path", "subject", "emotion")
OPTIONAL = ("start", "end", "sequence")
_DELIMITERS = ",;\t|"
_INDEX_COLUMN = re.compile(r"|unnamed: \d+|level_\d+")  # as pandas names columns without a name
_NOTHING = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "#n/a"})
_WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(?:[.,]0{1,20})?")
_INVISIBLE = "\ufeff\u200b\u00a0"
_MAX_BYTES = 256 << 20
_MAX_NAME = 500
_MAX_ERRORS = 200


@dataclass(frozen=True)
class Row:
    """One valid row: `path` as written, `label` a class name or `neutral`, `end` None for the whole."""

    line: int
    path: str
    subject: str
    label: str
    start: int
    end: int | None
    sequence: str
    more: dict[str, str] = field(default_factory=dict)


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
        raise FileNotFoundError(f"{manifest} is no file: --root is the CSV manifest")
    if manifest.stat().st_size > _MAX_BYTES:
        raise ValueError(
            f"{manifest} is larger than {_MAX_BYTES >> 20} MiB, too large for a manifest"
        )
    rows, errors = parse(manifest.read_bytes(), load_synonyms(synonyms_file))
    sequences: list[Sequence] = []
    dropped: list[Dropped] = []
    for row in rows:
        try:
            result = _sequence(row, _located(manifest.parent, row.path), rate)
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


def parse(data: bytes, synonyms: Mapping[str, str]) -> tuple[list[Row], list[tuple[int, str]]]:
    """Parse a manifest's bytes; touches no file.

    Returns:
        The valid rows, and every mistake as (line number, sentence); a wrong header is the only one.
    """
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return [], [(1, "a spreadsheet's own file; save it as CSV (UTF-8)")]
    try:
        text = tree.decode_text(data)
    except UnicodeDecodeError as error:
        return [], [
            (data[: error.start].count(b"\n") + 1, "not UTF-8 text; save the file as UTF-8")
        ]
    stream = io.StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=_delimiter(text), strict=True)
    rows: list[Row] = []
    errors: list[tuple[int, str]] = []
    columns: list[str] | None = None
    lines: dict[str, int] = {}
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            # The reader has lost its place among quotes; what follows could mean anything.
            return rows, [*errors, (line, f"not CSV: {error}")]
        if not any(value.strip() for value in values):
            continue
        if columns is None and line == 1 and _is_separator_line(text):
            continue
        if columns is None:
            columns = [_plain(value).lower() for value in values]
            if mistake := _wrong_header(columns):
                return [], [(line, mistake)]
            continue
        row = _parse_row(line, values, columns, synonyms)
        if isinstance(row, Row) and row.sequence in lines:
            row = [f"the sequence {row.sequence!r} is in line {lines[row.sequence]} already"]
        if isinstance(row, Row):
            rows.append(row)
            lines[row.sequence] = line
        else:
            errors += [(line, mistake) for mistake in row]
    if columns is None:
        return [], [(1, f"the file is empty; its first line must be {','.join(REQUIRED)}")]
    return rows, errors


def _wrong_header(columns: list[str]) -> str:
    lacking = [name for name in REQUIRED if name not in columns]
    if lacking:
        return (
            f"no column {', '.join(lacking)}; the first line must name {','.join(REQUIRED)} "
            f"and may name {','.join(OPTIONAL)}, with commas between"
        )
    for name in columns:
        if name not in (*REQUIRED, *OPTIONAL) and (meant := _meant(name)):
            return f"unknown column {name[:60]!r}: is {meant!r} meant?"
    known = [name for name in columns if name in (*REQUIRED, *OPTIONAL)]
    return "a column is named twice" if len(set(known)) < len(known) else ""


def _meant(name: str) -> str:
    """The known column that a name with a letter too many, too few or in another place means."""
    for known in (*REQUIRED, *OPTIONAL):
        likeness = difflib.SequenceMatcher(None, name, known).ratio()
        if sorted(name) == sorted(known) or likeness >= 0.85:
            return known
    return ""


def _delimiter(text: str) -> str:
    """What stands between the fields: as a first line `sep=;` says, else as the required columns need it."""
    lines = text.lstrip("\r\n").splitlines()[:1]
    if lines and _is_separator_line(text):
        return lines[0][4]
    for delimiter in _DELIMITERS:
        names = [
            _plain(name).strip('"').lower() for line in lines for name in line.split(delimiter)
        ]
        if all(name in names for name in REQUIRED):
            return delimiter
    return ","


def _is_separator_line(text: str) -> bool:
    return re.match(r"sep=[,;\t|]\r?(\n|$)", text) is not None


def _plain(value: str) -> str:
    """A field without spaces and invisible characters around it."""
    return value.strip().strip(_INVISIBLE).strip()


def _parse_row(
    line: int, values: list[str], columns: list[str], synonyms: Mapping[str, str]
) -> Row | list[str]:
    while len(values) > len(columns) and not values[-1].strip():
        values = values[:-1]
    if len(values) != len(columns):
        return [f"{len(values)} fields instead of {len(columns)} (a comma in a name needs quotes)"]
    fields = {name: _plain(value) for name, value in zip(columns, values, strict=True)}
    for name in OPTIONAL:
        if fields.get(name, "").lower() in _NOTHING:
            fields[name] = ""
    mistakes = [f"{name} is empty" for name in REQUIRED if not fields[name]]
    for name in ("path", "subject", "sequence"):
        value = fields.get(name, "")
        if len(value) > (4096 if name == "path" else _MAX_NAME):
            mistakes.append(f"{name} is {len(value)} characters long")
        if "\0" in value:
            mistakes.append(f"{name} holds a zero byte")
    label, start, end = "", 0, None
    try:
        label = emotion(fields["emotion"], synonyms) if fields["emotion"] else ""
    except ValueError as error:
        mistakes.append(str(error))
    for name in ("start", "end"):
        value = fields.get(name, "")
        number = _WHOLE_NUMBER.fullmatch(value)
        if value and not number:
            mistakes.append(f"{name} {value[:40]!r} is no whole number from 0")
        elif number and name == "start":
            start = int(number[1])
        elif number:
            end = int(number[1])
    if end is not None and end <= start and not mistakes:
        mistakes.append(f"end {end} must be greater than start {start}")
    if mistakes:
        return mistakes
    whole = start == 0 and end is None
    span = "" if whole else f"[{start}:{'' if end is None else end}]"
    sequence = fields.get("sequence") or fields["path"] + span
    more = {
        name: value
        for name, value in fields.items()
        if name not in (*REQUIRED, *OPTIONAL) and not _INDEX_COLUMN.fullmatch(name)
    }
    return Row(line, fields["path"], fields["subject"], label, start, end, sequence, more)


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


def _sequence(row: Row, path: Path, rate: float | None) -> Sequence | Dropped:
    """The row's frames; ValueError where the row is wrong, Dropped where the data are."""
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
    numbers = range(row.start, index.frames if row.end is None else row.end)
    is_open = row.end is None
    if rate is not None and len(index.times) and abs(index.rate - rate) > 0.02 * rate:
        numbers = at_rate(index.times[numbers.start : numbers.stop], rate) + numbers.start
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
