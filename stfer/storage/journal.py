"""A journal of work done in a folder, so that a killed run can go on: one JSON object a line, under an exclusive lock.

Its first line is the fingerprint of the work; a line counts when its newline is there.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stfer.storage.locks import lock

Entry = dict[str, Any]


class Journal:
    """An open, locked journal file; the lock goes with `close` or with the process.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path):
        self._file = open(path, "a+b")  # noqa: SIM115
        try:
            lock(self._file)
        except BlockingIOError:
            self._file.close()
            raise

    def resume(self, work: Entry, is_intact: Callable[[Entry], bool]) -> list[Entry] | None:
        """The entries up to the first that is torn or not intact, what follows cut off; None for other work."""
        self._file.seek(0)
        lines = self._file.read().split(b"\n")
        if len(lines) < 2 or lines[0] != _fingerprint(work):
            return None
        entries: list[Entry] = []
        whole = len(lines[0]) + 1
        # The last piece follows the last newline: empty, or a line torn by the kill.
        for line in lines[1:-1]:
            try:
                entry = json.loads(line)
                if not is_intact(entry):
                    break
            except (ValueError, KeyError, TypeError):
                break
            entries.append(entry)
            whole += len(line) + 1
        self._file.truncate(whole)
        return entries

    def begin(self, work: Entry) -> None:
        """Empty the journal for this work."""
        self._file.truncate(0)
        self._write(_fingerprint(work))

    def append(self, entry: Entry) -> None:
        """Add an entry, handed to the operating system before this returns."""
        self._write(json.dumps(entry, separators=(",", ":")).encode())

    def close(self) -> None:
        """Close the file and give up the lock."""
        self._file.close()

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\n")  # opened for appending: always at the end
        self._file.flush()


def _fingerprint(work: Entry) -> bytes:
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest().encode()
