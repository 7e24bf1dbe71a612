"""Errors: one sentence for the user's mistakes, and the place and traceback of all others."""

import re

import pytest

import tiny
from experiments_run import run

BROKEN = """from tiny import Tiny
from stfer import models


@models.register("broken")
class Broken(Tiny):
    def __call__(self, clips, *, train=False, mask=None):
        raise {}("the shapes (3,) and (4,) do not fit")
"""


@pytest.fixture
def flags(tmp_path):
    tiny.write_set(tmp_path / "set", subjects=2)
    return ("--data=set", "--arch=broken", "--modules=broken_model", "--epochs=1")


@pytest.mark.parametrize(
    "kind",
    [
        "ValueError",
        *(pytest.param(k, marks=pytest.mark.slow) for k in ("OSError", "ImportError", "KeyError")),
    ],
)
def test_a_fault_of_the_users_model_says_that_it_is_unexpected_and_where(tmp_path, flags, kind):
    (tmp_path / "broken_model.py").write_text(BROKEN.format(kind))
    done = run("loso", *flags, cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert re.match(rf"error: unexpected {kind} in .*broken_model.py, line 8: ", last), done.stderr
    assert "--debug shows all" in last
    assert "Traceback" not in done.stderr
    assert "Traceback" in run("loso", *flags, "--debug", cwd=tmp_path).stderr


@pytest.mark.slow
def test_the_traceback_of_a_run_is_kept_in_its_folder(tmp_path, flags):
    text = BROKEN.format("ValueError").replace(
        "        raise", "        if train:\n            raise"
    )
    text += "        return super().__call__(clips, train=train, mask=mask)\n"
    (tmp_path / "broken_model.py").write_text(text)
    done = run("loso", *flags, cwd=tmp_path)
    assert done.returncode == 1
    (kept,) = (tmp_path / "runs").rglob("error.txt")
    assert f"its traceback is in {kept.relative_to(tmp_path)}" in done.stderr
    assert "ValueError: the shapes" in kept.read_text()


def test_an_error_raised_for_the_user_is_one_sentence(tmp_path, flags):
    text = BROKEN.replace("raise {}", "raise UserError").replace(
        "from tiny", "from stfer.errors import UserError\nfrom tiny"
    )
    (tmp_path / "broken_model.py").write_text(text)
    done = run("loso", *flags, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1] == "error: the shapes (3,) and (4,) do not fit"
