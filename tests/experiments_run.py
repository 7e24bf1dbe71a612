"""Commands as a user gives them, with the tests' modules and the folder's on the path."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fork_server import ROOT, Command

TESTS = ROOT / "tests"


def run(command, *flags, cwd, draw=False, path=(), **environment):
    """`python -m experiments.COMMAND FLAGS` in a folder; its modules, and those of `path`, can be named by --modules.

    It is a fork of a process that has imported the libraries; see `fork_server`. Figures are drawn on request only.
    """
    places = os.pathsep.join(map(str, (TESTS, *path)))
    return _run((command, *flags), cwd=cwd, draw=draw, PYTHONPATH=places, **environment)


def run_code(code, *words, cwd):
    """`python -c CODE WORDS` in a folder, as a fork too."""
    return _run(words, cwd=cwd, code=code, PYTHONPATH="")


def _run(words, **options):
    with tempfile.TemporaryDirectory() as scratch:
        out, errors = Path(scratch) / "out", Path(scratch) / "errors"
        ended = Command(words, out, errors, **options).wait()
        return subprocess.CompletedProcess(words, ended, out.read_text(), errors.read_text())


def run_alone(command, *flags, cwd, **environment):
    """As `run`, in a process that starts from nothing."""
    path = os.pathsep.join([str(ROOT), str(TESTS), str(cwd)])
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{command}", *flags],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
