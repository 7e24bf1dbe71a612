"""What becomes of memory that a program has freed, where the C library is glibc.

XLA:CPU allocates a program's scratch memory anew at each call. By default glibc gives such large blocks back to the
operating system, and the next call pays for mapping and clearing every page again: about a third of the time of a
forward pass. `keep_freed_memory` lets malloc keep them in its heap. `make_room`, before a training step, sees to it
that the step finds the block of the step before, and where the process would grow much for it, gives the freed pages
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
_NEVER = -1
_ALIGNMENT = 64  # XLA:CPU's of its buffers
_UNIT = 16  # of malloc's blocks: their places and sizes are multiples of it
LEAST_BLOCK = 64_000_000  # Bytes; a smaller block that is not found again does not matter.
MOST_GROWN = 128_000_000  # Bytes that a process may have grown by since the first call after pages were given back.

_STATM = Path("/proc/self/statm")
# The bytes after that call, 0 until then; None where nothing is given back.
_level: int | None = None
_spacer: int | None = None  # the address of `_place`'s


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.malloc.restype = library.realloc.restype = ctypes.c_void_p
    library.malloc.argtypes = (ctypes.c_size_t,)
    library.realloc.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.free.argtypes = (ctypes.c_void_p,)
    return library


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
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER))
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
    """Have malloc give a freed block of `size` bytes that is in memory; else give freed pages back, if they are much.

    A program's results are there a little before its scratch memory is freed: that is waited for, some milliseconds.
    Nothing happens unless `keep_freed_memory` was called before, nor for less than `LEAST_BLOCK`.

    Returns:
        Whether pages were given back.
    """
    if _level is None or size < LEAST_BLOCK:
        return False
    for seconds in (0.0, 0.001, 0.002, 0.004):
        time.sleep(seconds)
        share = _place(size)
        if share is None or not _would_grow_much((1 - share) * size):
            return False
    _trim()
    _place(size)
    return True


def _would_grow_much(missing: float) -> bool:
    """Whether so many bytes more are more than `MOST_GROWN` since pages were given back."""
    if missing > MOST_GROWN or not _level:
        return missing > MOST_GROWN
    try:
        return _own_bytes() + missing > _level + MOST_GROWN
    except OSError:
        return False


def _trim() -> None:
    global _level
    _library().malloc_trim(0)
    _level = 0


def _place(size: int) -> float | None:
    """Choose where malloc will put an aligned block; the share of it that is in memory, None where that is not known.

    glibc before 2.38 takes up to 96 bytes more for an aligned block, and frees what lies in front of it and behind it
    as small blocks. Once one behind it is in use, the freed block does not join the free memory that follows, is a few
    bytes too small for the next call, and the heap grows by another. A block whose place starts 16 bytes before a
    multiple of the alignment has all of them in front. A small block, the spacer, is therefore left where the large
    one would start, until the next is placed.
    """
    global _spacer
    library = _library()
    if _spacer:
        library.free(_spacer)
    _spacer = library.malloc(size + 4 * _ALIGNMENT)
    if not _spacer:
        return None  # There is no room at all; the program itself will say so.
    share = _share_in_memory(_spacer, size)
    least = 2 * _UNIT  # of malloc's blocks, each with half a unit of its own
    behind = (-_UNIT - _spacer - least) % _ALIGNMENT
    _spacer = library.realloc(_spacer, least + behind - _UNIT // 2)  # A block shrinks where it is.
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
