"""Any data set by a CSV manifest: `path,subject,emotion[,start,end][,sequence]`, one row a sequence.

`path` is a folder of images or a video file, relative to the manifest's folder or absolute. `start` and
`end` are frame numbers from 0, `end` exclusive; without them the whole is used. Frames should run from
neutral to apex. `sequence` names the sequence; without it the path and frame numbers do.
"""

import csv
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stfer.data.labels import NEUTRAL, emotion, load_synonyms
from stfer.data.readers import tree
from stfer.data.readers.registry import register_reader
from stfer.data.sequence import Dropped, FrameSource, Sequence, readable

REQUIRED = ("path", "subject", "emotion")
OPTIONAL = ("start", "end", "sequence")
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
    manifest: str | Path, synonyms_file: str | Path | None = None
) -> tuple[list[Sequence], list[Dropped]]:
    """Read a manifest and list its frames. No pixel is read.

    Returns:
        Labelled sequences, whatever their length, and what cannot be used (neutral, unreadable).

    Raises:
        FileNotFoundError: no such manifest.
        ManifestError: rows are wrong; every one of them is listed.
    """
    manifest = Path(manifest)
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
        path = manifest.parent / row.path
        try:
            result = _sequence(row, path)
        except ValueError as error:
            errors.append((row.line, str(error)))
            continue
        (sequences if isinstance(result, Sequence) else dropped).append(result)
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
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return [], [
            (data[: error.start].count(b"\n") + 1, "not UTF-8 text; save the file as UTF-8")
        ]
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
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
        if columns is None:
            columns = [value.strip().lower() for value in values]
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
    unknown = [name for name in columns if name not in (*REQUIRED, *OPTIONAL)]
    if unknown:
        return f"unknown column {unknown[0][:60]!r}; known are {','.join((*REQUIRED, *OPTIONAL))}"
    if len(set(columns)) < len(columns):
        return "a column is named twice"
    return ""


def _parse_row(
    line: int, values: list[str], columns: list[str], synonyms: Mapping[str, str]
) -> Row | list[str]:
    if len(values) != len(columns):
        return [f"{len(values)} fields instead of {len(columns)} (a comma in a name needs quotes)"]
    field = {name: value.strip() for name, value in zip(columns, values, strict=True)}
    mistakes = [f"{name} is empty" for name in REQUIRED if not field[name]]
    for name in ("path", "subject", "sequence"):
        value = field.get(name, "")
        if len(value) > (4096 if name == "path" else _MAX_NAME):
            mistakes.append(f"{name} is {len(value)} characters long")
        if "\0" in value:
            mistakes.append(f"{name} holds a zero byte")
    label, start, end = "", 0, None
    try:
        label = emotion(field["emotion"], synonyms) if field["emotion"] else ""
    except ValueError as error:
        mistakes.append(str(error))
    for name in ("start", "end"):
        value = field.get(name, "")
        if value and not re.fullmatch("[0-9]{1,9}", value):
            mistakes.append(f"{name} {value[:40]!r} is no whole number from 0")
        elif value and name == "start":
            start = int(value)
        elif value:
            end = int(value)
    if end is not None and end <= start and not mistakes:
        mistakes.append(f"end {end} must be greater than start {start}")
    if mistakes:
        return mistakes
    whole = start == 0 and end is None
    span = "" if whole else f"[{start}:{'' if end is None else end}]"
    sequence = field.get("sequence") or field["path"] + span
    return Row(line, field["path"], field["subject"], label, start, end, sequence)


def _sequence(row: Row, path: Path) -> Sequence | Dropped:
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
    return _folder(row, path) if is_folder else _video(row, path)


def _folder(row: Row, path: Path) -> Sequence | Dropped:
    try:
        frames = tree.images(path)
    except OSError as error:
        return _drop(row, f"unreadable folder: {error.strerror}")
    if not frames:
        return _drop(row, "no image files")
    _check_span(row, len(frames), "images")
    frames = frames[row.start : row.end]
    sources = tuple(FrameSource(frame) for frame in frames)
    missing = tree.missing_numbers(frames)
    return Sequence(row.sequence, row.subject, row.label, sources, missing=missing)


def _video(row: Row, path: Path) -> Sequence | Dropped:
    from stfer.data.frames import UnreadableFrameError, count_frames

    try:
        count = count_frames(str(path))
    except UnreadableFrameError as error:
        return _drop(row, str(error))
    _check_span(row, count, "frames")
    numbers = range(row.start, count if row.end is None else row.end)
    sources = tuple(FrameSource(os.fspath(path), number) for number in numbers)
    return Sequence(row.sequence, row.subject, row.label, sources, open_end=row.end is None)


def _check_span(row: Row, count: int, what: str) -> None:
    if row.start >= count:
        raise ValueError(
            f"start {row.start} lies beyond the {count} {what} of {readable(row.path)}"
        )
    if row.end is not None and row.end > count:
        raise ValueError(f"end {row.end} lies beyond the {count} {what} of {readable(row.path)}")


def _drop(row: Row, reason: str) -> Dropped:
    return Dropped(row.sequence, row.subject, row.label, reason)
