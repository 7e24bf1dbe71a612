"""Freed memory that is kept, and given back when it has become much."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys

import numpy as np

from stfer.storage import freed_memory
from stfer.storage.freed_memory import _own_bytes, give_back, keep_freed_memory

MB = 1_000_000


def use(mb):
    block = np.ones(mb * MB, np.uint8)
    return [bytes(100_000) for _ in range(3)]  # Behind the block, so that it is not the heap's end.


assert not give_back()  # Nothing is kept yet.
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
print(kept // MB, after // MB, given, first, few, unknown, give_back())
"""


@pytest.mark.slow
def test_freed_pages_are_given_back_when_a_process_grows():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    assert done.returncode == 0, done.stderr
    kept, after, *given = done.stdout.split()
    assert int(kept) > 290
    assert int(after) < 50
    assert given == ["True", "False", "False", "False", "True"]
