"""The shard folder's format: what its header, its table and its array files must look like.

A folder holds `header.json`, `sequences.csv` (one row a sequence) and `frames-00000.npy`, ... (uint8
[frames, size, size, 3], RGB, NumPy's own format without pickle, so that they memory-map). Further streams,
such as landmarks, lie beside them row for row: `landmarks-00000.npy` has a row for each frame of
`frames-00000.npy`; the header says what a row is. Everything in the folder is named in the header with its
SHA-256. A folder can come from anywhere, so nothing in it is believed before it is checked: names are plain
file names, files are regular files inside the folder, and shapes must agree with file sizes.

Format 2 added streams and the frame rate; folders of format 1 have neither, and are still read.
"""

import csv
import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.shards.streams import (
    FRAMES,
    Stream,
    check_frame_rate,
    declared_streams,
    stream_of,
)
from stfer.nearest import did_you_mean_path

FORMAT = 2
HEADER = "header.json"
TABLE = "sequences.csv"
TABLE_COLUMNS = ("sequence", "subject", "label", "file", "offset", "frames")
MAX_SIZE = 4096
MAX_TEXT_BYTES = 256 << 20
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS = {
    "name": str,
    "population": str,
    "size": int,
    "classes": list,
    "crop": dict,
    "streams": dict,
    "settings": dict,
    "versions": dict,
    "counts": dict,
    "checksum": str,
    "files": dict,
}


@dataclass(frozen=True)
class Row:
    """One sequence of the table: where its frames lie, and its further columns."""

    sequence: str
    subject: str
    label: str
    file: str
    offset: int
    frames: int
    more: dict[str, str] = field(default_factory=dict)


def header_checksum(header: Mapping[str, Any]) -> str:
    """SHA-256 over what a model can see: frames, streams, table, class order and crop settings."""
    files = header["files"].items()
    seen = {name: sha for name, sha in files if name == TABLE or name.endswith(".npy")}
    content = {"files": seen, **{field: header[field] for field in ("classes", "size", "crop")}}
    if header["streams"]:  # A set without any has the checksum that it had in format 1.
        content["streams"] = header["streams"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_checksum(path: Path) -> str:
    """SHA-256 of a file. hashlib releases the GIL, so threads hash several files at once."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_header(folder: Path) -> dict[str, Any]:
    """Read and check `header.json`.

    Raises:
        FileNotFoundError: the folder or its header is missing.
        ValueError: the header is not one of this format; the sentence says which field.
    """
    path = folder / HEADER
    if not folder.is_dir() or not os.path.lexists(path):
        raise FileNotFoundError(
            f"{folder} is no shard folder (it has no {HEADER}); `python -m experiments.preprocess` makes one"
            f"{'' if folder.is_dir() else did_you_mean_path(folder)}"
        )
    try:
        header = json.loads(_read_text(folder, HEADER))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: not JSON ({error})") from None
    if not isinstance(header, dict) or not _is_int(header.get("format")):
        raise ValueError(f"{path} is no shard header: the field 'format' is missing")
    if header["format"] > FORMAT:
        raise ValueError(
            f"{folder} has shard format {header['format']}, this stfer reads up to {FORMAT}: upgrade stfer"
        )
    if header["format"] < 1:
        raise ValueError(f"{path}: 'format' is {header['format']}, and formats count from 1")
    if header["format"] == 1:
        header |= {"streams": {}, "frame_rate": None}
    for name, kind in _FIELDS.items():
        if not isinstance(header.get(name), kind) or isinstance(header.get(name), bool):
            raise ValueError(f"{path} is damaged: {name!r} is missing or no {kind.__name__}")
    if not 1 <= header["size"] <= MAX_SIZE:
        raise ValueError(
            f"{path}: 'size' is {header['size']}, and frames have 1 to {MAX_SIZE} pixels"
        )
    classes = header["classes"]
    if (
        not classes
        or not all(isinstance(c, str) and c for c in classes)
        or len(set(classes)) < len(classes)
    ):
        raise ValueError(f"{path}: 'classes' must be different names, not {str(classes)[:200]}")
    try:
        check_frame_rate(header.get("frame_rate"))
        declared_streams(header["streams"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    _check_files(path, header)
    return header


def _check_files(path: Path, header: dict[str, Any]) -> None:
    for name, sha in header["files"].items():
        if not _PLAIN_NAME.fullmatch(name) or name == HEADER:
            raise ValueError(f"{path} is refused: {name[:200]!r} is no plain file name")
        if not isinstance(sha, str) or not _SHA256.fullmatch(sha):
            raise ValueError(f"{path} is damaged: the checksum of {name} is no SHA-256")
    if TABLE not in header["files"]:
        raise ValueError(f"{path} is damaged: it lists no {TABLE}")
    if header["checksum"] != header_checksum(header):
        raise ValueError(f"{path} was changed: its fields no longer agree with its 'checksum'")


def check_file(folder: Path, name: str) -> os.stat_result:
    """Raise unless `name` is a regular file in `folder` itself (a link could point anywhere)."""
    path = folder / name
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: the shard folder is incomplete") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is refused: a shard folder holds regular files only, no links")
    return status


def _read_text(folder: Path, name: str) -> str:
    if check_file(folder, name).st_size > MAX_TEXT_BYTES:
        raise ValueError(f"{folder / name} is refused: larger than {MAX_TEXT_BYTES >> 20} MiB")
    try:
        return (folder / name).read_bytes().decode()
    except UnicodeDecodeError:
        raise ValueError(f"{folder / name} is damaged: not UTF-8 text") from None


def read_table(folder: Path, header: dict[str, Any]) -> list[Row]:
    """Read and check `sequences.csv` against the header.

    Raises:
        ValueError: a row is damaged; the sentence names the line.
    """
    path = folder / TABLE
    reader = csv.reader(io.StringIO(_read_text(folder, TABLE), newline=""), strict=True)
    try:
        columns = tuple(next(reader, ()))
        if columns[: len(TABLE_COLUMNS)] != TABLE_COLUMNS or len(set(columns)) < len(columns):
            raise ValueError(
                f"{path} is damaged: its columns do not begin with {','.join(TABLE_COLUMNS)}, or two "
                "have one name"
            )
        further = columns[len(TABLE_COLUMNS) :]
        rows = [
            _row(values, header, f"{path}, line {reader.line_num}", further) for values in reader
        ]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num} is damaged: {error}") from None
    if len({row.sequence for row in rows}) < len(rows):
        raise ValueError(f"{path} is damaged: two sequences have the same id")
    if not rows:
        raise ValueError(f"{path} lists no sequence")
    return rows


def _row(values: list[str], header: dict[str, Any], where: str, further: tuple[str, ...]) -> Row:
    wanted = len(TABLE_COLUMNS) + len(further)
    if len(values) != wanted:
        raise ValueError(f"{where} is damaged: {len(values)} fields instead of {wanted}")
    sequence, subject, label, file, offset, frames, *others = values
    if not all(re.fullmatch(r"[0-9]{1,12}", number) for number in (offset, frames)):
        raise ValueError(f"{where} is damaged: offset and frames must be whole numbers")
    if label not in header["classes"]:
        raise ValueError(f"{where}: {label[:100]!r} is not one of the header's classes")
    if not _is_frame_file(file, header):
        raise ValueError(f"{where}: {file[:100]!r} is no frame file of the header")
    if int(frames) == 0:
        raise ValueError(f"{where} is damaged: a sequence without frames")
    more = dict(zip(further, others, strict=True))
    return Row(sequence, subject, label, file, int(offset), int(frames), more)


def _is_frame_file(name: str, header: dict[str, Any]) -> bool:
    plain = name in header["files"] and name.endswith(".npy")
    return plain and stream_of(name, header["streams"]) == FRAMES


def open_array(folder: Path, name: str, stream: Stream) -> np.ndarray:
    """Memory-map one array file, read-only [frames, *shape].

    Raises:
        ValueError: it is no such array, or its length disagrees with its own header.
    """
    status = check_file(folder, name)
    path = folder / name
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"NumPy file version {version}")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=4096)
            start = file.tell()
    # NumPy parses its header as Python source, and tokenizer and parser raise much beside ValueError.
    except Exception as error:
        raise ValueError(f"{path} is damaged: no NumPy array file ({error})") from None
    if dtype != stream.dtype or fortran or not shape or shape[1:] != stream.shape:
        raise ValueError(f"{path} holds {dtype} {shape}, not {stream}")
    # The product is of Python integers, so an absurd shape cannot overflow into a right one.
    expected = start + shape[0] * stream.row_bytes
    if shape[0] < 0 or status.st_size != expected:
        raise ValueError(f"{path} is damaged: {status.st_size} bytes instead of {expected}")
    if shape[0] == 0:
        raise ValueError(f"{path} is damaged: it holds no frame")
    return np.memmap(path, stream.dtype, mode="r", offset=start, shape=shape)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
