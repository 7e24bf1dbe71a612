"""Freed memory that is kept, and given back when it has become much."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys

import numpy as np

from stfer.storage import freed_memory
from stfer.storage.freed_memory import _resident, keep_freed_memory, settle

assert not settle()  # Nothing is kept yet.
if not keep_freed_memory():
    sys.exit(3)
settle()
start = _resident()
assert not settle()
block = np.ones(300_000_000, np.uint8)
pinned = [bytes(100_000) for _ in range(3)]  # Behind the block, so that it is not the heap's end.
del block
kept = _resident() - start
again = np.ones(300_000_000, np.uint8)
del again
given, after = settle(), _resident() - start
less = np.ones(100_000_000, np.uint8)
del less
print(kept, _resident() >= start, given, after, settle())
"""


def test_many_freed_pages_are_given_back_and_few_are_kept():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    kept, _, given, after, again = done.stdout.split()
    assert int(kept) > 250_000_000
    assert given == "True"
    assert int(after) < 50_000_000
    assert again == "False"
