"""experiments.compare with real training of a tiny architecture, in processes of their own."""

import json

import pytest

import experiments_run
from tiny import write_set

pytestmark = pytest.mark.slow


def run(tmp_path, *flags):
    """The command in a fork; the trainings that it starts are processes of their own, which need the whole path."""
    path = (tmp_path, experiments_run.ROOT)
    return experiments_run.run("compare", *flags, cwd=tmp_path, path=path)


@pytest.fixture
def flags(tmp_path):
    """Two tiny architectures on a set of three subjects."""
    write_set(tmp_path / "set", name="tiny-set", subjects=3)
    # A second architecture under another name, as a researcher's own module would bring it.
    (tmp_path / "mine.py").write_text(
        "from tiny import Tiny\nfrom stfer import models\n\nclass Mine(Tiny):\n    pass\n\n"
        "models.register('mine')(Mine)\n"
    )
    return [
        "--data=set",
        "--modules=tiny,mine",
        "--archs=tiny,mine",
        "--epochs=2",
        "--batch_size=6",
        "--learning_rate=1e-3",
        "--workdir=runs",
    ]


def test_runs_what_is_missing_and_then_only_that(tmp_path, flags):
    done = run(tmp_path, *flags, "--archs=tiny", "--max_folds=1")
    assert done.returncode == 0, done.stderr
    (first,) = (tmp_path / "runs").rglob("result.json")
    assert json.loads(first.read_text())["folds_done"] == 1
    assert "stands on 1 of 3 folds" in done.stdout

    done = run(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    results = {p.parent.parent.name: p for p in (tmp_path / "runs").rglob("result.json")}
    assert set(results) == {"tiny", "mine"}
    assert all(json.loads(path.read_text())["folds_done"] == 3 for path in results.values())
    assert "stands on" not in done.stdout
    page = tmp_path / "runs" / "report" / "index.html"
    assert "data:image/svg" in page.read_text()

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("fold.json")}
    done = run(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished already") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before

    done = run(tmp_path, *flags[:-2], "--learning_rate=1e-2", "--workdir=runs")
    assert done.returncode == 2
    assert (
        "holds a run with other settings (learning_rate is 0.001 there and 0.01 here)"
        in done.stderr
    )
    assert done.stderr.count("\n") == 1


def test_a_killed_run_costs_itself_alone(tmp_path, flags):
    (tmp_path / "dies.py").write_text(
        "import os, signal\nfrom tiny import Tiny\nfrom stfer import models\n\nclass Dies(Tiny):\n"
        "    def __call__(self, *args, **options):\n        os.kill(os.getpid(), signal.SIGKILL)\n\n"
        "models.register('dies')(Dies)\n"
    )
    done = run(tmp_path, *flags, "--modules=tiny,dies", "--archs=dies,tiny", "--max_folds=1")
    assert done.returncode == 1, done.stderr
    assert "failed: dies on set, seed 0" in done.stdout
    assert "stopped" not in done.stdout
    (result,) = (tmp_path / "runs").rglob("result.json")
    assert json.loads(result.read_text())["architecture"] == "tiny"
    assert (tmp_path / "runs" / "report" / "index.html").is_file()


def test_what_cannot_run_is_said_before_anything_trains(tmp_path, flags):
    (tmp_path / "elsewhere").mkdir()
    write_set(tmp_path / "elsewhere" / "set", name="tiny-set", subjects=4)
    done = run(tmp_path, *flags, "--data=set,elsewhere/set")
    assert done.returncode == 2
    assert "set and elsewhere/set are both named tiny-set" in done.stderr
    done = run(tmp_path, *flags, "--protocol=kfold")
    assert done.returncode == 2
    assert "at least 10 subjects" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_several_seeds_give_a_spread(tmp_path, flags):
    done = run(tmp_path, *flags, "--archs=tiny", "--seeds=0,1", "--epochs=1")
    assert done.returncode == 0, done.stderr
    assert "accuracy over seeds" in done.stdout
    assert len(list((tmp_path / "runs").rglob("result.json"))) == 2


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--seeds=1,x", "error: --seeds=1,x must be numbers from 0, such as --seeds=0,1,2\n"),
        ("--archs=tiny,typo", "error: --archs names typo, not among "),
        ("--data=", "error: --data without a value: give one, or leave the flag out\n"),
        ("--arch=tiny", "error: Unknown command line flag 'arch'"),
    ],
)
def test_a_wrong_flag_is_one_sentence(tmp_path, flag, message):
    done = run(tmp_path, "--modules=tiny", flag)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
