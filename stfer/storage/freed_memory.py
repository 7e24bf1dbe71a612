"""What becomes of memory that a program has freed, where the C library is glibc.

XLA:CPU allocates a program's scratch memory anew at each call. By default glibc gives such large blocks back to the
operating system, and the next call pays for mapping and clearing every page again, in pages of 4 KiB: about a third
of the time of a forward pass. `keep_freed_memory` lets malloc keep them in its heap. But a kept block is not always
found again (glibc before 2.38 cuts a few bytes off each aligned one), and then the heap grows by a whole scratch
memory, several times. So after a call of a large program `settle` gives the pages back after all, and has the heap
in huge pages, of which a call touches a five-hundredth as many.
"""

import ctypes
import functools
import os
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # from malloc.h
_HUGE_PAGES = 14  # from mman.h of Linux
_LARGEST = 2**31 - 1
MOST_KEPT = 128_000_000  # Bytes that may have come since pages were given back last; small programs never reach it.

_MAPS, _STATM = Path("/proc/self/maps"), Path("/proc/self/statm")
_settled: int | None = (
    None  # Resident bytes when pages were given back last; None where freed memory is not kept.
)


def keep_freed_memory() -> bool:
    """Tell malloc to reuse large blocks instead of unmapping them; best called before there are threads.

    Returns:
        Whether the C library took the settings (False where it is not glibc).
    """
    global _settled
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))
    taken = [mallopt(name, value) for name, value in settings]  # every one, also after a refusal
    if all(taken) and _STATM.exists():
        _settled = 0
    return all(taken)


def settle() -> bool:
    """Give freed pages back where many have come; nothing unless `keep_freed_memory` was called before.

    Returns:
        Whether pages were given back.
    """
    global _settled
    if _settled is None or _resident() < _settled + MOST_KEPT:
        return False
    library = _library()
    library.malloc_trim(0)
    for line in _MAPS.read_text().splitlines():
        if line.endswith("[heap]"):
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            library.madvise(start, end - start, _HUGE_PAGES)  # Refused where there are none.
    _settled = _resident()
    return True


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
