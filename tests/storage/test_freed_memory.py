"""Freed memory that is kept, and given back when it has become much, or a program would not use it."""

import subprocess
import sys

import pytest

from stfer.storage import freed_memory

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


@pytest.mark.parametrize(("share", "given_back"), [(None, False), (0.95, False), (0.7, True)])
def test_a_block_of_which_a_part_is_missing_has_room_made(share, given_back, monkeypatch):
    trims = []
    monkeypatch.setattr(freed_memory, "_level", 1)
    monkeypatch.setattr(freed_memory, "_share_kept", lambda size: share)
    monkeypatch.setattr(freed_memory, "_trim", lambda: trims.append(1))
    assert freed_memory.make_room(freed_memory.LEAST_BLOCK) == given_back
    assert len(trims) == given_back
