"""The folder of compiled programs that test runs share."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

KEPT = Path(__file__).parents[1] / ".pytest_cache" / "d" / "programs"
MOST_BYTES = 2_000_000_000  # Beyond, a run begins with none.


def folder(kept: Path = KEPT, most: int = MOST_BYTES) -> str:
    """The folder beside pytest's own cache, where it can be written and is not too large; else one for this run."""
    try:
        if kept.exists() and sum(entry.stat().st_size for entry in os.scandir(kept)) > most:
            shutil.rmtree(kept)
        kept.mkdir(parents=True, exist_ok=True)
        if os.access(kept, os.W_OK):
            return str(kept)
    except OSError:
        pass
    made = tempfile.mkdtemp(prefix="stfer-tests-xla-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
