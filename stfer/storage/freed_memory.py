"""What becomes of memory that a program has freed, where the C library is glibc.

XLA:CPU allocates a program's scratch memory anew at each call. By default glibc gives such large blocks back to the
operating system, and the next call pays for mapping and clearing every page again, in pages of 4 KiB: about a third
of the time of a forward pass. `keep_freed_memory` lets malloc keep them in its heap. But a kept block is not always
found again (glibc before 2.38 cuts a few bytes off each aligned one), and then the heap grows by a whole scratch
memory, several times. So `give_back`, which trainings call between the steps of large networks, gives the pages back
after all, and has the heap in huge pages, of which the next call touches a five-hundredth as many. Where the system
has no huge pages all is kept.

Both are of the process, as malloc's settings are.
"""

import contextlib
import ctypes
import functools
import os
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # from malloc.h
_HUGE_PAGES = 14  # from mman.h of Linux
_LARGEST = 2**31 - 1
MOST_KEPT = 128_000_000  # Bytes that may have come since pages were given back last.

_MAPS, _STATM = Path("/proc/self/maps"), Path("/proc/self/statm")
_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_least: int | None = (
    None  # Bytes of the process since then, at the least; None where nothing is given back.
)


def keep_freed_memory() -> bool:
    """Tell malloc to reuse large blocks instead of unmapping them; best called before there are threads.

    Returns:
        Whether the C library took the settings (False where it is not glibc).
    """
    global _least
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))
    taken = [mallopt(name, value) for name, value in settings]  # every one, also after a refusal
    with contextlib.suppress(OSError):
        if all(taken) and "[never]" not in _ENABLED.read_text():
            _least = _own_bytes()
    return all(taken)


def give_back() -> bool:
    """Give freed pages back where many have come; nothing unless `keep_freed_memory` was called before.

    Returns:
        Whether pages were given back.
    """
    global _least
    if _least is None:
        return False
    try:
        now = _own_bytes()
        if now < _least + MOST_KEPT:
            _least = min(_least, now)
            return False
        library = _library()
        library.malloc_trim(0)
        for line in _MAPS.read_bytes().splitlines():
            if line.endswith(b"[heap]"):
                start, end = (int(number, 16) for number in line.split()[0].split(b"-"))
                library.madvise(start, end - start, _HUGE_PAGES)
        _least = _own_bytes()
    except OSError:  # No training ends for it.
        _least = None
        return False
    return True


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library


def _own_bytes() -> int:
    """What of the process is in memory and no file."""
    _, resident, shared, *_ = _STATM.read_text().split()
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
