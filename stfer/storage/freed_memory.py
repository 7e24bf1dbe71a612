"""What becomes of memory that a program has freed, where the C library is glibc.

XLA:CPU allocates a program's scratch memory anew at each call. By default glibc gives such large blocks back to the
operating system, and the next call pays for mapping and clearing every page again: about a third of the time of a
forward pass. `keep_freed_memory` lets malloc keep them in its heap. But a kept block is not always found again (glibc
before 2.38 cuts a few bytes off each aligned one), and then the heap grows by a whole scratch memory, several times.
So `give_back`, which trainings call between steps, gives the freed pages back where that has happened.

Both are of the process, as malloc's settings are.
"""

import contextlib
import ctypes
import os
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # from malloc.h
_LARGEST = 2**31 - 1
MOST_GROWN = 128_000_000  # Bytes that a process may have grown by since the first call after pages were given back.

_STATM = Path("/proc/self/statm")
_level: int | None = (
    None  # The bytes after that call, 0 until then; None where nothing is given back.
)


def keep_freed_memory() -> bool:
    """Tell malloc to reuse large blocks instead of unmapping them; best called before there are threads.

    Returns:
        Whether the C library took the settings (False where it is not glibc).
    """
    global _level
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))
    taken = [mallopt(name, value) for name, value in settings]  # every one, also after a refusal
    with contextlib.suppress(OSError):
        if all(taken):
            _level = _own_bytes()
    return all(taken)


def give_back() -> bool:
    """Give freed pages back if the process has grown much; nothing unless `keep_freed_memory` was called before.

    Returns:
        Whether pages were given back.
    """
    global _level
    if _level is None:
        return False
    try:
        now = _own_bytes()
    except OSError:  # No training ends for it.
        return False
    if _level == 0:
        _level = now
    if now < _level + MOST_GROWN:
        return False
    ctypes.CDLL(None).malloc_trim(0)
    _level = 0
    return True


def _own_bytes() -> int:
    """What of the process is in memory and no file."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
