"""Compiled programs that test runs share: a run has a folder of its own, and leaves what it compiled to the next."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

KEPT = Path(__file__).parents[1] / ".pytest_cache" / "d" / "programs"
BEGAN_HERE = "STFER_TESTS_XLA" not in os.environ  # Not in a worker, nor in tests that a test runs.
MOST_BYTES = 2_000_000_000  # More than that is not kept.


def folder(kept: Path = KEPT) -> str:
    """A new folder with the programs of earlier runs, which is removed when this process ends."""
    made = tempfile.mkdtemp(prefix="stfer-tests-xla-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    if kept.is_dir():
        shutil.copytree(kept, made, dirs_exist_ok=True)
    return made


def keep(made: str, kept: Path = KEPT, most: int = MOST_BYTES) -> None:
    """Leave a whole run's programs to the next one; `pytest --cache-clear` removes them."""
    new = [entry for entry in os.scandir(made) if not (kept / entry.name).exists()]
    if kept.is_dir() and sum(e.stat().st_size for e in [*os.scandir(kept), *new]) > most:
        shutil.rmtree(kept)
        new = list(os.scandir(made))
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for entry in new:
            whole = kept / f"{os.getpid()}.part"
            shutil.copyfile(entry.path, whole)
            whole.replace(kept / entry.name)
    except OSError:
        return  # Nothing can be written there: the next run compiles anew.
