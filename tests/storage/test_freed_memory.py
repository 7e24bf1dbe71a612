"""Freed memory that is kept, and given back when it has become much."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys

import numpy as np

from stfer.storage import freed_memory
from stfer.storage.freed_memory import _own_bytes, give_back, keep_freed_memory

assert not give_back()  # Nothing is kept yet.
if not keep_freed_memory():
    sys.exit(3)
if "[never]" in freed_memory._ENABLED.read_text():
    sys.exit(3)
start = _own_bytes()
assert not give_back()
block = np.ones(300_000_000, np.uint8)
pinned = [bytes(100_000) for _ in range(3)]  # Behind the block, so that it is not the heap's end.
del block
kept = _own_bytes() - start
again = np.ones(300_000_000, np.uint8)
del again
given, after = give_back(), _own_bytes() - start
less = np.ones(100_000_000, np.uint8)
del less
few = give_back()
more = np.ones(300_000_000, np.uint8)
freed_memory._MAPS = freed_memory._MAPS / "gone"
failed = give_back(), give_back()
print(kept, given, after, few, *failed)
"""


def test_many_freed_pages_are_given_back_and_few_are_kept():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc, or the system has no huge pages")
    assert done.returncode == 0, done.stderr
    kept, given, after, few, *failed = done.stdout.split()
    assert int(kept) > 250_000_000
    assert given == "True"
    assert int(after) < 50_000_000
    assert few == "False"
    assert failed == ["False", "False"]
