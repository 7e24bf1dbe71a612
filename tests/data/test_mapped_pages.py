"""Pages of a set that have been read are let go, and the set reads the same."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from stfer.data.shards import load_shards, pages, write_shards

SIZE, FRAMES, CLIPS = 64, 40, 40  # 19.7 MB


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is in memory")
@pytest.mark.parametrize(("most", "kept"), [(2_000_000, False), (10**12, True)])
def test_pages_that_were_read_are_let_go(tmp_path, monkeypatch, most, kept):
    noise = np.random.default_rng(0).integers(0, 256, (CLIPS, FRAMES, SIZE, SIZE, 3), np.uint8)
    clips = ((f"c{n}", f"s{n % 4}", "happiness", noise[n]) for n in range(CLIPS))
    shards = load_shards(write_shards(tmp_path / "set", clips, name="set"))
    monkeypatch.setattr(pages, "MOST_READ", most)
    first = shards.frames(0)
    for _ in range(2):
        for number in range(CLIPS):
            np.testing.assert_array_equal(shards.frames(number), noise[number])
    resident = _resident_bytes(tmp_path)
    np.testing.assert_array_equal(first, noise[0])  # A view from before is read again.
    assert (resident > 15_000_000) == kept, resident
    if not kept:
        assert resident < 4_000_000
    assert pickle.loads(pickle.dumps(shards._pages))._read == 0


def _resident_bytes(folder):
    """What of the files in a folder is mapped into this process's memory."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split(maxsplit=1)[0]
        if "-" in first and not first.endswith(":"):
            inside = str(folder) in line
        elif inside and first == "Rss:":
            found += int(line.split()[1]) * 1024
    return found
