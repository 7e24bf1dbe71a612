"""The synthesize command as a user runs it: bad flags, a picture, a kill."""

import os
import signal
import subprocess
import sys
import time

import pytest

from experiments_run import run
from patience import PATIENCE

COMMAND = (sys.executable, "-m", "experiments.synthesize")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--out is needed"),
        (("--out=x", "--subjects=0"), "subjects"),
        (("--out=x", "--seed=-1"), "seed"),
        (("--out=x", "--colour=red"), "colour"),
        (("--out=taken",), "taken exists already"),
        (("--contact_sheet=sheet.gif",), ".jpg or .png"),
        (("--contact_sheet=nowhere/sheet.jpg",), "no folder nowhere"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, arguments, words):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine")
    done = run("synthesize", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process_id}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def children(process_id):
    with open(f"/proc/{process_id}/task/{process_id}/children") as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="reads Linux's /proc")
def test_a_killed_run_leaves_no_set_and_no_workers(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, f"--out={tmp_path / 'out'}", "--subjects=2", "--workers=2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + PATIENCE
        while not list(tmp_path.glob(".out.partial-*/**/*.png")):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.1)
        workers = children(process.pid)
        assert len(workers) >= 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "out").exists()
    until = time.monotonic() + PATIENCE
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.1)
