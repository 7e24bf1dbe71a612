"""Freed memory that is kept, and given back when it has become much, or a program would not use it."""

import platform
import subprocess
import sys

import pytest

from stfer.storage import freed_memory

MB = 1_000_000
# A program's scratch memory as XLA:CPU takes it, freed by another thread a little after its results are there, while
# small blocks of all sizes come and stay. Prints how often pages were given back, how many were mapped, how many bytes
# are between the spacer and the block, and how many the block has left.
AGAIN = """
import ctypes
import resource
import sys
import threading
import time

from stfer.storage import freed_memory
from stfer.storage.freed_memory import keep_freed_memory, make_room

if not keep_freed_memory():
    sys.exit(3)
library, block = freed_memory._library(), ctypes.c_void_p()
library.malloc_usable_size.argtypes = (ctypes.c_void_p,)
size, given_back = 200_000_000, 0
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def free_later(address, seconds):
    time.sleep(seconds)
    library.free(address)


for call in range(20):
    given_back += make_room(size)
    library.posix_memalign(ctypes.byref(block), 64, ctypes.c_size_t(size))
    ctypes.memset(block, 1, size)
    for small in range(8, 200, 8):
        for _ in range(10):  # more than a thread's cache keeps of a size
            library.malloc(small)
    gap = block.value - freed_memory._spacer - library.malloc_usable_size(freed_memory._spacer)
    left = library.malloc_usable_size(block) - size
    later = threading.Thread(target=free_later, args=(block.value, 0.001 * (call % 3)))
    later.start()
later.join()
print(given_back, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, gap, left)
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


def words_of(script):
    """What a script prints in a process of its own, whose memory settings end with it."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_freed_pages_are_given_back_when_a_process_grows():
    kept, after, freed, *given = words_of(SCRIPT)
    assert int(kept) > 290
    assert int(after) < 50
    assert int(freed) > 250
    # Of give_back as the process grows, then of make_room: a block that is there, a small one, one that is not.
    assert given == ["True", "False", "False", "False", "True", "False", "False", "True"]


@pytest.mark.parametrize(
    ("level", "missing", "looks", "given_back"),
    # At most 128 MB more are little; 28 MB are left where the process has grown by 100 already.
    [
        (0, [None], 1, False),
        (0, [100], 4, False),
        (0, [100, 0], 2, False),
        (0, [200], 4, True),
        (0, [1000, 1000, 0], 3, False),
        (900, [20], 4, False),
        (900, [100], 4, True),
        (500, [0], 1, False),
    ],
)
def test_room_is_made_where_a_process_would_grow_much(
    level, missing, looks, given_back, monkeypatch
):
    done = []

    def look(size):
        done.append("look")
        found = missing[min(len(done), len(missing)) - 1]
        return found and found * MB

    monkeypatch.setattr(freed_memory, "_level", level * MB)
    monkeypatch.setattr(freed_memory, "_own_bytes", lambda: 1000 * MB)
    monkeypatch.setattr(freed_memory, "_missing", look)
    monkeypatch.setattr(freed_memory, "_trim", lambda: done.append("trim"))
    monkeypatch.setattr(freed_memory, "_place", lambda size: done.append("place"))
    assert freed_memory.make_room(1000 * MB) == given_back
    assert done == ["look"] * looks + ["trim"] * given_back + ["place"]


def test_an_unknown_size_of_the_process_is_no_growth(monkeypatch, tmp_path):
    monkeypatch.setattr(freed_memory, "_level", 1)
    monkeypatch.setattr(freed_memory, "_STATM", tmp_path / "gone")
    assert not freed_memory._is_much(100 * MB)
    assert freed_memory._is_much(200 * MB)


def test_a_block_is_found_again_although_small_ones_take_what_lies_around_it():
    """Where glibc finds aligned blocks by itself, from 2.38 on, this shows that `make_room` does no harm."""
    given_back, faults, gap, left = map(int, words_of(AGAIN))
    assert given_back <= 2  # of 20; two blocks where one was freed late
    assert faults < 3 * 200 * MB / 4096
    if tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 38):
        assert gap == 80 + 8  # a chunk, and the bytes that each chunk has for itself
        assert left < 48  # No chunk was cut off behind it.
