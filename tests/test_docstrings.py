"""Examples in docstrings run, and what a package names as public is there. Their form is checked by ruff's D rules."""

import importlib
import json
from pathlib import Path

import pytest

from experiments_run import run_code

ROOT = Path(__file__).parents[1]
# Its example needs a set of faces, which tests/runs/test_identity.py has.
ELSEWHERE = {"stfer.runs.crossval"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted((ROOT / "stfer").rglob("*.py"))}
WITH_EXAMPLES = [
    name
    for name, path in MODULES.items()
    if ">>> " in path.read_text("utf-8") and name not in ELSEWHERE
]
PACKAGES = [
    name for name, path in MODULES.items() if path.name == "__init__.py" and name != "stfer"
]


RUN = """
import doctest, importlib, json, sys
print(json.dumps({name: doctest.testmod(importlib.import_module(name)) for name in sys.argv[1:]}))
"""


def test_examples_run(tmp_path):
    """In a process of their own: what they register must not be there for other tests."""
    done = run_code(RUN, *WITH_EXAMPLES, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert results.keys() == set(WITH_EXAMPLES)
    for name, (failed, attempted) in results.items():
        assert failed == 0, f"{name}: {done.stdout}"
        assert attempted > 0, name


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_there(name):
    package = importlib.import_module(name)
    assert list(package.__all__) == sorted(set(package.__all__), key=_as_ruff_sorts)
    for public in package.__all__:
        assert hasattr(package, public) or f"{name}.{public}" in MODULES, public


def _as_ruff_sorts(name):
    """CONSTANTS, then Classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
