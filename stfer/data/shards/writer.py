"""Writing a shard folder: resumable while it grows, and loadable only once it is whole.

Everything is written into a hidden folder beside the target, which is renamed when it is complete. A
journal there has one line a finished sequence (kept or dropped), written after its frames; a killed run
goes on after the last whole line. The bytes depend on the sequences alone, not on interruptions.
"""

import contextlib
import io
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.sequence import EMOTIONS_6, Dropped
from stfer.data.shards import format as shard_format
from stfer.storage.environment import versions
from stfer.storage.files import check_new, write_bytes_atomically, write_json
from stfer.storage.journal import Journal
from stfer.storage.locks import LockedError
from stfer.storage.tables import csv_bytes

SHARD_BYTES = 256 << 20
JOURNAL = "journal.jsonl"


class ShardWriter:
    """Writes one shard folder, sequence by sequence. Use as a context manager and end with `finish`.

    Args:
        folder: the folder to make. It must not exist, or be empty.
        name: the set's name.
        population: whose subjects these are (see `shards.load_data`).
        classes, size, crop: as in `shards.Shards`.
        settings: everything else that decides the content. A started folder is taken up only when all
            of these are the same; otherwise it is begun anew.
        shard_bytes: a new frame file is begun when one would grow beyond this.

    Raises:
        FileExistsError: the folder exists and is not empty.
        OSError: it cannot be written; a LockedError when another process is writing it.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str,
        population: str,
        classes: tuple[str, ...],
        size: int,
        crop: Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        shard_bytes: int = SHARD_BYTES,
    ):
        self.folder = Path(os.path.abspath(folder))
        check_new(self.folder)
        self._header = {
            "format": shard_format.FORMAT,
            "name": name,
            "population": population,
            "size": size,
            "classes": list(classes),
            "crop": dict(crop),
            "settings": dict(settings or {}),
        }
        self._shard_bytes = shard_bytes
        self.staging = self.folder.parent / f".{self.folder.name}.partial"
        self.staging.mkdir(parents=True, exist_ok=True)
        try:
            self._journal = Journal(self.staging / JOURNAL)
        except BlockingIOError:
            raise LockedError(
                f"another process is writing {folder}: wait for it, or end it"
            ) from None
        self._shard = None
        self.entries: list[dict[str, Any]] = self._resume()
        """One dict a sequence so far, in order: `kept` or a `reason`, and the caller's `note`."""

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Stop writing; what is written stays for a later run."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        self._journal.close()

    @property
    def frame_bytes(self) -> int:
        return self._header["size"] ** 2 * 3

    def add(
        self, sequence: str, subject: str, label: str, frames: np.ndarray, note: Any = None
    ) -> None:
        """Append a kept sequence.

        Args:
            label: one of the classes.
            frames: uint8 [length, size, size, 3], RGB.
            note: anything JSON can hold, kept in `entries` (for tables made at the end).
        """
        size = self._header["size"]
        if frames.dtype != np.uint8 or frames.shape[1:] != (size, size, 3) or len(frames) == 0:
            raise ValueError(
                f"sequence {sequence}: frames are {frames.dtype} {frames.shape}, "
                f"not uint8 [length, {size}, {size}, 3]"
            )
        if label not in self._header["classes"]:
            raise ValueError(f"sequence {sequence}: {label!r} is none of {self._header['classes']}")
        last = next((e for e in reversed(self.entries) if e["kept"]), None)
        shard, offset = (last["shard"], last["offset"] + last["frames"]) if last else (0, 0)
        if offset and (offset + len(frames)) * self.frame_bytes > self._shard_bytes:
            shard, offset = shard + 1, 0
        if self._shard is None or offset == 0:
            self._open(shard)
        data = np.ascontiguousarray(frames).data.cast("B")
        with self._named_errors():
            self._shard.seek(_npy_header_bytes(0, size) + offset * self.frame_bytes)
            self._shard.write(data)
            self._shard.flush()
        self._record(
            {
                "kept": True,
                "sequence": sequence,
                "subject": subject,
                "label": label,
                "shard": shard,
                "offset": offset,
                "frames": len(frames),
                "crc": zlib.crc32(data),
                "note": note,
            }
        )

    def drop(self, dropped: Dropped) -> None:
        """Record a sequence that is not kept."""
        self._record({"kept": False, **vars(dropped)})

    def frames(self, entry: dict[str, Any]) -> np.ndarray:
        """A kept entry's frames, as a memory-mapped view."""
        size = self._header["size"]
        return np.memmap(
            self._path(entry["shard"]),
            np.uint8,
            mode="r",
            offset=_npy_header_bytes(0, size) + entry["offset"] * self.frame_bytes,
            shape=(entry["frames"], size, size, 3),
        )

    def finish(self, files: Mapping[str, bytes] | None = None) -> Path:
        """Write table and header, and give the folder its name; returns its path.

        Args:
            files: further files to keep in it, by plain name (tables, figures).

        Raises:
            ValueError: no sequence was kept.
        """
        kept = [entry for entry in self.entries if entry["kept"]]
        if not kept:
            raise ValueError(f"no sequence is left to write to {self.folder}")
        rows = {entry["shard"]: entry["offset"] + entry["frames"] for entry in kept}
        with self._named_errors():
            self._write_rest(kept, rows, dict(files or {}))
        os.rename(self.staging, self.folder)
        # Only now: a run killed before the renaming still has its journal.
        (self.folder / JOURNAL).unlink()
        self.close()
        return self.folder

    def _write_rest(self, kept: list[dict], rows: dict[int, int], files: dict[str, bytes]) -> None:
        """Everything but the frames: NumPy headers, table, further files and, last, the header."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None
        for shard, count in rows.items():
            self._seal(shard, count)
        for name, data in {**files, shard_format.TABLE: _table(kept)}.items():
            write_bytes_atomically(self.staging / name, data)
        names = [*map(_shard_name, rows), shard_format.TABLE, *files]
        checksums = {name: shard_format.file_checksum(self.staging / name) for name in names}
        header = self._header | {
            "versions": versions(),
            "counts": {
                "sequences": len(kept),
                "subjects": len({entry["subject"] for entry in kept}),
                "frames": sum(entry["frames"] for entry in kept),
                "dropped": len(self.entries) - len(kept),
            },
            "files": checksums,
        }
        header["checksum"] = shard_format.content_checksum(
            checksums, header["classes"], header["size"], header["crop"]
        )
        write_json(self.staging / shard_format.HEADER, header, indent=1)
        for path in self.staging.iterdir():
            if path.name not in (*names, shard_format.HEADER, JOURNAL):
                path.unlink()

    def _record(self, entry: dict[str, Any]) -> None:
        with self._named_errors():
            self._journal.append(entry)
        self.entries.append(entry)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """A full disk's error does not say which file it was writing."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.staging)) from None

    def _path(self, shard: int) -> Path:
        return self.staging / _shard_name(shard)

    def _open(self, shard: int) -> None:
        if self._shard is not None:
            self._shard.close()
        path = self._path(shard)
        self._shard = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115

    def _seal(self, shard: int, count: int) -> None:
        """Cut a frame file to its journaled rows and give it its NumPy header."""
        size = self._header["size"]
        with open(self._path(shard), "r+b") as file:
            file.truncate(_npy_header_bytes(0, size) + count * self.frame_bytes)
            file.write(_npy_header(count, size))
            file.flush()
            os.fsync(file.fileno())

    def _resume(self) -> list[dict[str, Any]]:
        """Entries of an interrupted run with the same settings; otherwise empty the folder."""
        entries = self._journal.resume(self._header, self._is_intact)
        if entries is None:
            for path in self.staging.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != JOURNAL:
                    path.unlink()
            self._journal.begin(self._header)
            return []
        last = next((e for e in reversed(entries) if e["kept"]), None)
        if last:
            self._open(last["shard"])
        return entries

    def _is_intact(self, entry: dict[str, Any]) -> bool:
        """Whether a kept entry's frames are on disk as they were (a power cut can lose them)."""
        if not entry["kept"]:
            return True
        path = self._path(entry["shard"])
        end = _npy_header_bytes(0, self._header["size"])
        end += (entry["offset"] + entry["frames"]) * self.frame_bytes
        if not path.exists() or path.stat().st_size < end:
            return False
        return zlib.crc32(self.frames(entry).data.cast("B")) == entry["crc"]


def write_shards(
    folder: str | Path,
    sequences: Iterable[tuple[str, str, str, np.ndarray]],
    *,
    name: str = "set",
    population: str | None = None,
    classes: tuple[str, ...] = EMOTIONS_6,
    crop: Mapping[str, Any] | None = None,
) -> Path:
    """Write sequences at hand as a shard folder; returns its path.

    Args:
        sequences: `(id, subject, label, frames)` with frames uint8 [length, size, size, 3], RGB.
        crop: how faces were cropped; none by default.
    """
    sequences = list(sequences)
    if not sequences:
        raise ValueError(f"no sequence is left to write to {folder}")
    with ShardWriter(
        folder,
        name=name,
        population=population or name,
        classes=classes,
        size=sequences[0][3].shape[1],
        crop=crop or {"detector": "none"},
        settings={"content": [zlib.crc32(np.ascontiguousarray(s[3])) for s in sequences]},
    ) as writer:
        for sequence in sequences[len(writer.entries) :]:
            writer.add(*sequence)
        return writer.finish()


def _table(kept: list[dict[str, Any]]) -> bytes:
    rows = (
        (e["sequence"], e["subject"], e["label"], _shard_name(e["shard"]), e["offset"], e["frames"])
        for e in kept
    )
    return csv_bytes(shard_format.TABLE_COLUMNS, rows)


def _shard_name(shard: int) -> str:
    return f"frames-{shard:05d}.npy"


def _npy_header(count: int, size: int) -> bytes:
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _npy_header_bytes(count: int, size: int) -> int:
    # NumPy leaves room for the first axis to grow, so the length does not depend on the count.
    return len(_npy_header(count, size))
