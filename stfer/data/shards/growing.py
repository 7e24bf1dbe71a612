"""One stream's array files while they grow: rows appended to `NAME-00000.npy`, ..., sealed at the end.

A row is what one frame has: its pixels, its landmarks, its label. Until a file is sealed, its NumPy header is
left out (its place is kept), so that nothing loads it.
"""

import io
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stfer.data.shards.streams import Stream, stream_file


class GrowingArrays:
    """The files of one stream in a folder.

    Args:
        folder: Is there already.
        name: The stream's.
        stream: What a row is.
    """

    def __init__(self, folder: Path, name: str, stream: Stream):
        self._folder = folder
        self._name = name
        self._stream = stream
        self._start = len(self._header(0))
        self._shard: int | None = None
        self._file: BinaryIO | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one frame's row."""
        return self._stream.row_bytes

    def write(self, shard: int, offset: int, rows: np.ndarray) -> int:
        """Put rows at an offset of a file, handed to the operating system; returns their CRC-32."""
        if self._file is None or shard != self._shard:
            self.close()
            path = self._path(shard)
            self._file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115
            self._shard = shard
        data = _bytes(rows)
        self._file.seek(self._start + offset * self.row_bytes)
        self._file.write(data)
        self._file.flush()
        return zlib.crc32(data)

    def read(self, shard: int, offset: int, count: int) -> np.ndarray:
        """Rows that were written: a read-only memory-mapped view, [count, *shape]."""
        start = self._start + offset * self.row_bytes
        shape = (count, *self._stream.shape)
        return np.memmap(self._path(shard), self._stream.dtype, "r", start, shape)

    def is_intact(self, shard: int, offset: int, count: int, crc: int) -> bool:
        """Whether rows are on disk as they were written (a power cut can lose them)."""
        path = self._path(shard)
        end = self._start + (offset + count) * self.row_bytes
        if not path.exists() or path.stat().st_size < end:
            return False
        return zlib.crc32(_bytes(self.read(shard, offset, count))) == crc

    def seal(self, shard: int, count: int) -> str:
        """Cut a file to its first `count` rows and give it its NumPy header; returns its name."""
        self.close()
        with open(self._path(shard), "r+b") as file:
            file.truncate(self._start + count * self.row_bytes)
            file.write(self._header(count))
            file.flush()
            os.fsync(file.fileno())
        return self._path(shard).name

    def close(self) -> None:
        """Close the file that is being written."""
        if self._file is not None:
            self._file.close()
        self._file = self._shard = None

    def _path(self, shard: int) -> Path:
        return self._folder / stream_file(self._name, shard)

    def _header(self, count: int) -> bytes:
        # NumPy leaves room for the first axis to grow, so the length does not depend on the count.
        buffer = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(self._stream.dtype)
        fields = {"descr": descr, "fortran_order": False, "shape": (count, *self._stream.shape)}
        np.lib.format.write_array_header_1_0(buffer, fields)
        return buffer.getvalue()


def _bytes(rows: np.ndarray) -> memoryview:
    return memoryview(np.ascontiguousarray(rows).reshape(-1).view(np.uint8))
