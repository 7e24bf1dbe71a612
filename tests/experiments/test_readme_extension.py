"""The README's example of an architecture of one's own, taken from its text and run."""

import json
import re
import shlex

import numpy as np
import pytest

from experiments_run import ROOT, run
from stfer.data.shards import write_shards

MARK = "<!-- example: extend -->"


def blocks():
    """The Python and the shell block after the mark in README.md."""
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count(MARK) == 1, f"README.md must have one {MARK}"
    after = text.split(MARK)[1]
    python = re.search(r"```python\n(.*?)```", after, re.DOTALL).group(1)
    shell = re.search(r"```(?:sh|bash|shell|console)\n(.*?)```", after, re.DOTALL).group(1)
    return python, shell


@pytest.mark.slow
def test_it_is_under_forty_lines_and_trains(tmp_path):
    code, shell = blocks()
    assert len(code.splitlines()) < 40
    command = shlex.split(shell.strip().splitlines()[0])
    assert command[:3] == ["python", "-m", "experiments.loso"]
    (module,) = [part.split("=")[1] for part in command if part.startswith("--modules=")]
    (name,) = [part.split("=")[1] for part in command if part.startswith("--arch=")]
    (tmp_path / f"{module}.py").write_text(code)
    random = np.random.default_rng(0)
    rows = [
        (f"{who}_{label}", who, label, random.integers(0, 256, (15, 64, 64, 3), np.uint8))
        for who in ("S1", "S2", "S3")
        for label in ("anger", "surprise")
    ]
    write_shards(tmp_path / "set", rows, name="noise", classes=("anger", "surprise"))
    further = ("--data=set", "--epochs=1", "--max_folds=2", "--workdir=runs")
    done = run("loso", *command[3:], *further, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = (tmp_path / "runs").rglob("result.json")
    found = json.loads(result.read_text())
    assert (found["architecture"], found["folds_done"], found["folds_total"]) == (name, 2, 3)
