"""Freed memory that is kept, and given back when it has become much, or a program would not use it."""

import subprocess
import sys

import pytest

from stfer.storage import freed_memory

MB = 1_000_000
# A program's scratch memory as XLA:CPU takes it, while small blocks of all sizes come and stay. Prints how often pages
# were given back, and how many were mapped.
AGAIN = """
import ctypes
import resource
import sys

from stfer.storage.freed_memory import keep_freed_memory, make_room

if not keep_freed_memory():
    sys.exit(3)
library, block = ctypes.CDLL(None), ctypes.c_void_p()
library.malloc.restype = ctypes.c_void_p
size, given_back = 100_000_000, 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for call in range(20):
    given_back += make_room(size)
    library.posix_memalign(ctypes.byref(block), 64, ctypes.c_size_t(size))
    ctypes.memset(block, 1, size)
    for small in range(8, 200, 8):
        for _ in range(10):  # more than a thread keeps of a size
            library.malloc(small)
    library.free(block)
print(given_back, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
SCRIPT = """
import sys

import numpy as np

from stfer.storage import freed_memory
from stfer.storage.freed_memory import _own_bytes, give_back, keep_freed_memory, make_room

MB = 1_000_000


def use(mb):
    block = np.ones(mb * MB, np.uint8)
    return [bytes(100_000) for _ in range(3)]  # Behind the block, so that it is not the heap's end.


assert not give_back()  # Nothing is kept yet.
assert not make_room(300 * MB)
if not keep_freed_memory():
    sys.exit(3)
start = _own_bytes()
pins = [use(300)]
kept = _own_bytes() - start
given, after = give_back(), _own_bytes() - start
pins += [use(300)]
first = give_back()  # The first call's memory is what every call needs.
pins += [use(100)]
few = give_back()
pins += [use(600)]
freed_memory._STATM = freed_memory._STATM / "gone"
unknown = give_back()
freed_memory._STATM = freed_memory._STATM.parent
given = [given, first, few, unknown, give_back()]
pins += [use(300)]
fits, small = make_room(290 * MB), make_room(1000)
before = _own_bytes()
larger = make_room(900 * MB)
print(kept // MB, after // MB, (before - _own_bytes()) // MB, *given, fits, small, larger)
"""


@pytest.mark.slow
def test_freed_pages_are_given_back_when_a_process_grows():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    kept, after, freed, *given = done.stdout.split()
    assert int(kept) > 290
    assert int(after) < 50
    assert int(freed) > 250
    # Of give_back as the process grows, then of make_room: a block that is there, a small one, one that is not.
    assert given == ["True", "False", "False", "False", "True", "False", "False", "True"]


@pytest.mark.parametrize(
    ("level", "share", "given_back"),
    # At most 128 MB more are little; 28 MB are left where the process has grown by 100 already.
    [
        (0, None, False),
        (0, 0.9, False),
        (0, 0.8, True),
        (1000, 0.9, False),
        (900, 0.99, False),
        (900, 0.9, True),
    ],
)
def test_room_is_made_where_a_process_would_grow_much(level, share, given_back, monkeypatch):
    trims, places = [], []

    def place(size):
        places.append(size)
        return share

    monkeypatch.setattr(freed_memory, "_level", level * MB)
    monkeypatch.setattr(freed_memory, "_own_bytes", lambda: 1000 * MB)
    monkeypatch.setattr(freed_memory, "_place", place)
    monkeypatch.setattr(freed_memory, "_trim", lambda: trims.append(len(places)))
    assert freed_memory.make_room(1000 * MB) == given_back
    # Four looks, and the block is placed anew in what the trim has left.
    assert (len(places), trims) == ((5, [4]) if given_back else (1, []))


def test_a_block_is_found_again_although_small_ones_take_what_lies_around_it():
    done = subprocess.run(
        [sys.executable, "-c", AGAIN], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    given_back, faults = map(int, done.stdout.split())
    assert given_back <= 2  # Where the heap's free end comes into use.
    assert faults < 3 * 100 * MB / 4096  # of 20 times as many
