"""Pages of memory-mapped files that a process has read.

They count as its memory although the system can take them back at any time, and a limit on a job's memory, or a person
who looks at it, does not know that. So they are let go once much has been read; the system's cache keeps them, and
reading them again maps them again.
"""

import mmap

import numpy as np

MOST_READ = 256_000_000  # Bytes that may be read until pages are let go.


class Pages:
    """The pages of some arrays, of which those that are memory-mapped are let go from time to time."""

    def __init__(self) -> None:
        self._read = 0
        self._files: dict[int, mmap.mmap] = {}

    def __reduce__(self) -> tuple:
        return (Pages, ())  # What a process has read is its own.

    def read(self, array: np.ndarray, size: int) -> None:
        """Count `size` bytes of an array that are handed out to be read, and let pages go where it is time."""
        file = array.base
        if not isinstance(file, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
            return
        self._files[id(file)] = file
        self._read += size
        if self._read > MOST_READ:
            self._read = size
            for each in list(self._files.values()):
                each.madvise(mmap.MADV_DONTNEED)
