"""Where a measured figure comes from: the device that computed it, and the code that ran."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

_ASK = "from stfer.runs.environment import hardware; print(hardware()['device'])"


def device(environment: Mapping[str, str]) -> str:
    """The device that a new process computes on, asked in one, so that this process holds no GPU.

    Args:
        environment: All variables of that process.

    Raises:
        ValueError: JAX finds none; with the end of what it says.
    """
    asked = subprocess.run(
        [sys.executable, "-c", _ASK],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ValueError(f"JAX finds no device to measure: {last}")
    return asked.stdout.strip().splitlines()[-1]


def code() -> str:
    """Stfer's version, and a digest of its source and of the benchmark's, in one phrase."""
    import stfer
    from stfer.runs.source import package_digest

    digests = "-".join(package_digest(name) for name in ("stfer", "experiments.benchmark"))
    return f"stfer {stfer.__version__} ({digests})"
