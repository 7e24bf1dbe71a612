"""Writing a shard folder: resumable while it grows, and loadable only once it is whole.

Everything is written into a hidden folder beside the target, which is renamed when it is complete. A
journal there has one line a finished sequence (kept or dropped), written after its frames and its further
streams; a killed run goes on after the last whole line. The bytes depend on the sequences alone, not on
interruptions.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from stfer.data.sequence import Dropped
from stfer.data.shards import format as shard_format
from stfer.data.shards.growing import GrowingArrays
from stfer.data.shards.streams import (
    FRAMES,
    Stream,
    check_frame_rate,
    frames_stream,
    make_stream,
    stream_file,
)
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
        streams: what each frame has beside its pixels: name to (dtype, shape of one frame's row), such as
            `{"landmarks": (np.float32, (49, 2))}`.
        frame_rate: frames a second, where it is known and the same for all.
        shard_bytes: new files are begun when the frames and streams of one number would grow beyond this.

    Raises:
        FileExistsError: the folder exists and is not empty.
        ValueError: a stream or the frame rate cannot be.
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
        streams: Mapping[str, tuple[DTypeLike, Sequence[int]]] | None = None,
        frame_rate: float | None = None,
        shard_bytes: int = SHARD_BYTES,
    ):
        self.folder = Path(os.path.abspath(folder))
        check_new(folder)
        further = {key: make_stream(key, *kind) for key, kind in (streams or {}).items()}
        self._streams: dict[str, Stream] = {FRAMES: frames_stream(size), **further}
        self._header: dict[str, Any] = {
            "format": shard_format.FORMAT,
            "name": name,
            "population": population,
            "size": size,
            "classes": list(classes),
            "crop": dict(crop),
            "streams": {key: stream.to_dict() for key, stream in further.items()},
            "frame_rate": check_frame_rate(frame_rate),
            "settings": dict(settings or {}),
        }
        self._shard_bytes = shard_bytes
        self.staging = self.folder.parent / f".{self.folder.name}.partial"
        self.staging.mkdir(parents=True, exist_ok=True)
        self._arrays = {
            key: GrowingArrays(self.staging, key, stream) for key, stream in self._streams.items()
        }
        try:
            self._journal = Journal(self.staging / JOURNAL)
        except BlockingIOError:
            raise LockedError(
                f"another process is writing {folder}: wait for it, or end it"
            ) from None
        self.entries: list[dict[str, Any]] = self._resume()
        """One dict a sequence so far, in order: `kept` or a `reason`, and the caller's `note`."""

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Stop writing; what is written stays for a later run."""
        for arrays in self._arrays.values():
            arrays.close()
        self._journal.close()

    def add(
        self,
        sequence: str,
        subject: str,
        label: str,
        frames: np.ndarray,
        note: Any = None,
        streams: Mapping[str, np.ndarray] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """Append a kept sequence.

        Args:
            sequence: its id.
            subject: who is seen in it.
            label: one of the classes.
            frames: uint8 [length, size, size, 3], RGB.
            note: anything JSON can hold, kept in `entries` (for tables made at the end).
            streams: an array [length, *shape] for each further stream.
            more: what else is known of it, for further columns of the table.

        Raises:
            ValueError: an array or the label does not fit; names the sequence.
        """
        rows = {FRAMES: frames, **(streams or {})}
        self._check(sequence, label, rows)
        last = next((e for e in reversed(self.entries) if e["kept"]), None)
        shard, offset = (last["shard"], last["offset"] + last["frames"]) if last else (0, 0)
        row_bytes = sum(arrays.row_bytes for arrays in self._arrays.values())
        if offset and (offset + len(frames)) * row_bytes > self._shard_bytes:
            shard, offset = shard + 1, 0
        with self._named_errors():
            crc = {
                name: arrays.write(shard, offset, rows[name])
                for name, arrays in self._arrays.items()
            }
        self._record(
            {
                "kept": True,
                "sequence": sequence,
                "subject": subject,
                "label": label,
                "shard": shard,
                "offset": offset,
                "frames": len(frames),
                "crc": crc,
                "note": note,
                "more": dict(more or {}),
            }
        )

    def drop(self, dropped: Dropped) -> None:
        """Record a sequence that is not kept."""
        self._record({"kept": False, **vars(dropped)})

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that every sequence has, `frames` first."""
        return tuple(self._streams)

    def stream(self, name: str, entry: Mapping[str, Any]) -> np.ndarray:
        """A kept entry's rows of a stream, as a memory-mapped view [length, *shape]."""
        return self._arrays[name].read(entry["shard"], entry["offset"], entry["frames"])

    def frames(self, entry: Mapping[str, Any]) -> np.ndarray:
        """A kept entry's frames, as a memory-mapped view."""
        return self.stream(FRAMES, entry)

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
        with self._named_errors():
            self._write_rest(kept, dict(files or {}))
        os.rename(self.staging, self.folder)
        # Only now: a run killed before the renaming still has its journal.
        (self.folder / JOURNAL).unlink()
        self.close()
        return self.folder

    def _check(self, sequence: str, label: str, rows: Mapping[str, np.ndarray]) -> None:
        if label not in self._header["classes"]:
            raise ValueError(f"sequence {sequence}: {label!r} is none of {self._header['classes']}")
        if rows.keys() != self._streams.keys():
            raise ValueError(
                f"sequence {sequence} has {', '.join(rows)}, and the set has {', '.join(self._streams)}"
            )
        length = len(rows[FRAMES])
        for name, stream in self._streams.items():
            array = rows[name]
            fits = array.dtype == stream.dtype and array.shape == (length, *stream.shape)
            if not fits or not length:
                raise ValueError(
                    f"sequence {sequence}: {name} are {array.dtype} {array.shape}, not {stream}"
                    f"{f' with {length} frames' if name != FRAMES else ''}"
                )

    def _write_rest(self, kept: list[dict], files: dict[str, bytes]) -> None:
        """Everything but the rows: NumPy headers, table, further files and, last, the header."""
        counts = {entry["shard"]: entry["offset"] + entry["frames"] for entry in kept}
        sealed = [
            arrays.seal(shard, count)
            for arrays in self._arrays.values()
            for shard, count in counts.items()
        ]
        for name, data in {**files, shard_format.TABLE: _table(kept)}.items():
            write_bytes_atomically(self.staging / name, data)
        names = [*sealed, shard_format.TABLE, *files]
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
        header["checksum"] = shard_format.header_checksum(header)
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

    def _resume(self) -> list[dict[str, Any]]:
        """Entries of an interrupted run with the same settings; otherwise empty the folder."""
        entries = self._journal.resume(self._header, self._is_intact)
        if entries is not None:
            return entries
        for path in self.staging.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != JOURNAL:
                path.unlink()
        self._journal.begin(self._header)
        return []

    def _is_intact(self, entry: dict[str, Any]) -> bool:
        """Whether a kept entry's rows are on disk as they were (a power cut can lose them)."""
        if not entry["kept"]:
            return True
        place = entry["shard"], entry["offset"], entry["frames"]
        return all(
            arrays.is_intact(*place, entry["crc"][name]) for name, arrays in self._arrays.items()
        )


def _table(kept: list[dict[str, Any]]) -> bytes:
    further = list(dict.fromkeys(name for e in kept for name in e.get("more", ())))
    rows = (
        (
            *(e[field] for field in ("sequence", "subject", "label")),
            stream_file(FRAMES, e["shard"]),
            e["offset"],
            e["frames"],
            *(e.get("more", {}).get(name, "") for name in further),
        )
        for e in kept
    )
    names = [f"{n}_" if n in shard_format.TABLE_COLUMNS else n for n in further]
    return csv_bytes((*shard_format.TABLE_COLUMNS, *names), rows)
