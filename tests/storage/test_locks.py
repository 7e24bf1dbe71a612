"""Locks between processes: who is named, and that a dead owner's lock is free."""

import signal
import subprocess
import sys

import pytest

from stfer.storage.locks import LockedError, held

HOLD = """
import sys, time
from stfer.storage.locks import held
with held(sys.argv[1], "it", shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    time.sleep(3600)
"""


def holder(file, kind="alone"):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file), kind], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_the_owners_name_until_the_owner_dies(tmp_path):
    file = tmp_path / ".lock"
    with holder(file) as process:
        sentence = f"process {process.pid} on .* is working on the set in {tmp_path}; wait for it$"
        with pytest.raises(LockedError, match=sentence), held(file, "the set"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with held(file, "the set"):  # The dead owner's lock is free at once.
        assert str(process.pid) not in file.read_text()


def test_shared_holds_keep_others_out_and_name_all_that_live(tmp_path):
    file = tmp_path / ".lock"
    with holder(file, "shared") as first, holder(file, "shared") as second:
        with held(file, "it", shared=True):
            pass
        with pytest.raises(LockedError) as caught, held(file, "it", advice="come later"):
            pass
        assert f"process {first.pid} on " in str(caught.value)
        assert f"process {second.pid} on " in str(caught.value)
        assert str(caught.value).endswith("; come later")
        second.kill()
        second.wait()
        with pytest.raises(LockedError) as caught, held(file, "it"):
            pass
        assert f"process {second.pid} on " not in str(caught.value)
        first.kill()
