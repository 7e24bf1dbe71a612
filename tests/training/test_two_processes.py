"""One data-parallel training by two processes through `jax.distributed`, on this machine's CPU."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from patience import PATIENCE

TESTS = Path(__file__).parents[1]
SCRIPT = Path(__file__).parent / "two_processes.py"


def start(rank, count, port, out):
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(rank), str(count), str(port), str(out)],
        env=os.environ
        | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(3 - count)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_the_same_devices(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(rank, 2, port, tmp_path / "two") for rank in (0, 1)]
    processes.append(start(0, 1, 0, tmp_path / "one"))
    printed = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], printed
    one, first, second = (np.load(tmp_path / f"{n}.npz") for n in ("one-0", "two-0", "two-1"))
    for name in one.files:
        np.testing.assert_array_equal(first[name], second[name])
        np.testing.assert_allclose(first[name], one[name], rtol=1e-4, atol=1e-6)
    assert one["losses"][-1] < one["losses"][0]
