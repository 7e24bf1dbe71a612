"""A manifest's table, from bytes to rows: as spreadsheets, pandas and people save it; touches no other file.

Fields stand between commas, semicolons, tabs or bars; the text is UTF-8, or UTF-16 with its byte order mark.
"""

import csv
import difflib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from stfer.data.labels import emotion
from stfer.data.readers import tree

REQUIRED = ("path", "subject", "emotion")
OPTIONAL = ("start", "end", "sequence")
_DELIMITERS = ",;\t|"
_INDEX_COLUMN = re.compile(r"|unnamed: \d+|level_\d+")  # as pandas names columns without a name
_NOTHING = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "#n/a"})
_WHOLE_NUMBER = re.compile(r"([0-9]{1,9})(?:[.,]0{1,20})?")
_INVISIBLE = "\ufeff\u200b\u00a0"
_MAX_NAME = 500


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
