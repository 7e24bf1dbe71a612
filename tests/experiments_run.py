"""Commands as a user gives them: each in a process of its own, with the tests' modules and the folder's on the path."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(command, *flags, cwd, **environment):
    """`python -m experiments.COMMAND FLAGS` in a folder; its modules can be named by --modules."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(cwd)])
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{command}", *flags],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
