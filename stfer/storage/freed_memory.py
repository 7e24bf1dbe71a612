"""What becomes of memory that a program has freed, where the C library is glibc.

XLA:CPU allocates a program's scratch memory anew at each call. By default glibc gives such large blocks back to the
operating system, and the next call pays for mapping and clearing every page again: about a third of the time of a
forward pass. `keep_freed_memory` lets malloc keep them in its heap. `make_room`, before a training step, sees to it
that the step finds the block of the step before, and gives freed pages back where the process would grow much without;
`give_back`, which trainings call between steps, does so where it has grown.

All are of the process, as malloc's settings are.
"""

import contextlib
import ctypes
import functools
import os
import threading
import time
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # from malloc.h
_NEVER = -1  # of the threshold above which malloc would trim by itself
LEAST_BLOCK = 64_000_000  # Bytes; a smaller block that is not found again does not matter.
LITTLE = 1_000_000  # Bytes that are not worth waiting for.
MOST_GROWN = 128_000_000  # Bytes that a process may have grown by since the first call after pages were given back.

# Of glibc where pointers have 64 bits.
_ALIGNMENT = 64  # XLA:CPU's of its buffers
_GRAIN = 16  # malloc's own alignment
_EXTRA = _ALIGNMENT + 32  # what glibc before 2.38 looks for beyond the size of an aligned block
_SPACER = 2048  # A thread's cache keeps smaller chunks back, so that they do not join the free memory around them.

_STATM = Path("/proc/self/statm")
# The bytes after that call, 0 until then; None where nothing is given back.
_level: int | None = None
_spacer: int | None = None  # the address of `_place`'s
_room = threading.Lock()


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.malloc.restype = library.realloc.restype = ctypes.c_void_p
    library.malloc.argtypes = (ctypes.c_size_t,)
    library.realloc.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    library.free.argtypes = (ctypes.c_void_p,)
    library.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
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
    """Have malloc give the next aligned block of `size` bytes from freed memory that is resident.

    Where too little of it is resident, so that the process would grow much, freed pages are given back first. A
    program's results are there a little before its scratch memory is freed: that is waited for, some milliseconds.
    Nothing happens unless `keep_freed_memory` was called before, nor for less than `LEAST_BLOCK`.

    Returns:
        Whether pages were given back.
    """
    if _level is None or size < LEAST_BLOCK:
        return False
    with _room:
        _remove_spacer()
        for seconds in (0.0, 0.001, 0.002, 0.004):
            time.sleep(seconds)
            missing = _missing(size) or 0
            if missing < LITTLE:
                break
        if much := _is_much(missing):
            _trim()
        _place(size)
    return much


def _is_much(missing: int) -> bool:
    """Whether a process that maps so many bytes more has grown by more than `MOST_GROWN`."""
    if missing < LITTLE:
        return False
    grown = 0
    if _level:
        with contextlib.suppress(OSError):
            grown = _own_bytes() - _level
    return missing + grown > MOST_GROWN


def _trim() -> None:
    global _level
    _library().malloc_trim(0)
    _level = 0


def _place(size: int) -> None:
    """Leave a small block, the spacer, in front of where malloc will give the next aligned block of `size` bytes.

    For a block at a multiple of 64 bytes, glibc before 2.38 takes a chunk of 112 bytes more than it needs, and frees
    what lies before the multiple and behind the block as chunks of their own, which are so small that others soon use
    them. One in use behind the block keeps it, once freed, from joining the heap's free end; it is then a few bytes too
    small for the next call, for which the heap grows by another block.

    From an address 16 bytes below a multiple of 64, the first multiple with room for a chunk before it is 80 bytes on,
    and what remains behind the block is too little for a chunk and stays with it. The spacer's size leads there.
    """
    global _spacer
    library = _library()
    start = library.malloc(_with_spacer(size))
    if start:
        after = start + _SPACER  # where the next chunk's own bytes would begin
        shift = (-_GRAIN - after) % _ALIGNMENT
        # A chunk has half a grain of its own besides its bytes. It shrinks where it is.
        _spacer = library.realloc(start, _SPACER + shift - _GRAIN // 2)


def _remove_spacer() -> None:
    global _spacer
    spacer, _spacer = _spacer, None
    if spacer:
        _library().free(spacer)


def _with_spacer(size: int) -> int:
    return _SPACER + size + _EXTRA


def _missing(size: int) -> int | None:
    """Bytes of the block that malloc would give that are not resident; None where it gives none or nobody says."""
    library = _library()
    block = library.malloc(_with_spacer(size))
    if not block:
        return None  # There is no room at all; the program itself will say so.
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        first, last = -(-block // page), (block + size) // page
        resident = ctypes.create_string_buffer(last - first)
        if library.mincore(first * page, (last - first) * page, resident):
            return None
        return page * (last - first - resident.raw.count(b"\1"))
    finally:
        library.free(block)


def _own_bytes() -> int:
    """What of the process is in memory and no file."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
