"""What becomes of memory that a program has freed, where the C library is glibc.

XLA:CPU allocates a program's scratch memory anew at each call. By default glibc gives such large blocks back to the
operating system, and the next call pays for mapping and clearing every page again: about a third of the time of a
forward pass. `keep_freed_memory` lets malloc keep them in its heap. But a kept block is not always found again (glibc
before 2.38 cuts a few bytes off each aligned one), and then the heap grows by a whole scratch memory, several times.
So `make_room`, before a training step, asks for such a block, and where it is not in memory yet, gives the freed pages
back first; `give_back`, which trainings call between steps, does so where the process has grown.

All are of the process, as malloc's settings are.
"""

import contextlib
import ctypes
import functools
import os
import time
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # from malloc.h
_LARGEST = 2**31 - 1
_ALIGNMENT = 64  # XLA:CPU's of its buffers
LEAST_BLOCK = 64_000_000  # Bytes; a smaller block that is not found again does not matter.
LEAST_KEPT = 0.9  # of a block in memory: with less, the rest of the block would add to what the process holds.
MOST_GROWN = 128_000_000  # Bytes that a process may have grown by since the first call after pages were given back.

_STATM = Path("/proc/self/statm")
# The bytes after that call, 0 until then; None where nothing is given back.
_level: int | None = None


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def keep_freed_memory() -> bool:
    """Tell malloc to reuse large blocks instead of unmapping them; best called before there are threads.

    Returns:
        Whether the C library took the settings (False where it is not glibc).
    """
    global _level
    try:
        mallopt = _library().mallopt
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
    _trim()
    return True


def make_room(size: int) -> bool:
    """Give freed pages back unless malloc has a freed block of `size` bytes that is in memory.

    A program's results are there a little before its scratch memory is freed: that is waited for, some milliseconds.
    Nothing happens unless `keep_freed_memory` was called before, nor for less than `LEAST_BLOCK`.

    Returns:
        Whether pages were given back.
    """
    if _level is None or size < LEAST_BLOCK:
        return False
    for seconds in (0.0, 0.001, 0.002, 0.004):
        time.sleep(seconds)
        share = _share_kept(size)
        if share is None or share >= LEAST_KEPT:
            return False
    _trim()
    return True


def _trim() -> None:
    global _level
    _library().malloc_trim(0)
    _level = 0


def _share_kept(size: int) -> float | None:
    """The share in memory of the block that malloc would give; None where it gives none or the system does not say."""
    library, block = _library(), ctypes.c_void_p()
    if library.posix_memalign(ctypes.byref(block), _ALIGNMENT, ctypes.c_size_t(size)):
        return None  # There is no room at all; the program itself will say so.
    assert block.value is not None
    share = _share_in_memory(block.value, size)
    library.free(block)
    return share


def _share_in_memory(address: int, size: int, places: int = 64) -> float | None:
    """The share of a block's pages that are in memory, of some of them; None where the system does not say."""
    library, page = _library(), os.sysconf("SC_PAGE_SIZE")
    first, last = -(-address // page), (address + size) // page - 1
    answer, found = ctypes.c_ubyte(), 0
    for number in range(places):
        place = first + (last - first) * number // (places - 1)
        if library.mincore(ctypes.c_void_p(place * page), ctypes.c_size_t(1), ctypes.byref(answer)):
            return None
        found += answer.value & 1
    return found / places


def _own_bytes() -> int:
    """What of the process is in memory and no file."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
