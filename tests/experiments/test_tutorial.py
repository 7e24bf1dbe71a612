"""The tutorial notebook runs from the first cell to the last, and is short."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "experiments/tutorial.ipynb"


def test_it_is_short_and_carries_no_output():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert 5 <= len(cells) <= 20
    assert not any(cell.get("outputs") for cell in cells)


@pytest.mark.slow
def test_every_cell_runs(tmp_path):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    parts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    quick = {"synthetic_subjects=6": "synthetic_subjects=2", "epochs=8": "epochs=2"}
    assert all(sum(part.count(words) for part in parts) == 1 for words in quick)
    for words, fewer in quick.items():
        parts = [part.replace(words, fewer) for part in parts]
    checks = [
        "assert len(table) == len(video) and table['label'].notna().any()",
        "assert len(plt.get_fignums()) >= 5",
        "assert len(history) == 2 and found.label in model.classes",
    ]
    script = "\n\n".join([*parts, *checks])
    root = str(NOTEBOOK.parents[1])
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
        ],  # As in a notebook, worker processes find no main file to run.
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root, "MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
