"""Keep freed memory for the next step, where the C library is glibc.

XLA:CPU allocates a program's scratch memory anew at each call. By default glibc gives such large blocks back to the
operating system, and the next call pays for mapping and clearing every page again: about a third of the time of a
forward pass.
"""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # from malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell malloc to reuse large blocks instead of unmapping them; best called before there are threads.

    Returns:
      Whether the C library took the settings (False where it is not glibc).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))
    taken = [mallopt(name, value) for name, value in settings]  # every one, also after a refusal
    return all(taken)
