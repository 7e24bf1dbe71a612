"""experiments.search, ablate and votes as a user gives them, on a tiny set."""

import csv
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

import tiny
from experiments_run import ROOT, run
from patience import PATIENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("optuna") is None, reason="the extra 'search' is not installed"
    ),
]

SPACE = "learning_rate:log:1e-4:1e-1,batch_size:4|8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    tiny.write_set(folder / "set", subjects=6)
    return folder


@pytest.fixture(scope="module")
def flags():
    own = ("--modules=tiny", "--arch=tiny", "--data=set")
    return (*own, "--epochs=2", "--batch_size=4", "--learning_rate=0.01")


def trials_of(folder):
    """The study's trials in order, without those that were lost: values and accuracy."""
    with open(folder / "search.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["state"] != "lost"]
    return [
        (row["state"], row["accuracy"], row["learning_rate"], row["batch_size"]) for row in rows
    ]


def best_of(folder):
    """`best.json`, its trial's number as the row among those that were not lost."""
    with open(folder / "search.csv", newline="") as stream:
        numbers = [int(row["trial"]) for row in csv.DictReader(stream) if row["state"] != "lost"]
    best = json.loads((folder / "best.json").read_text())
    return best | {"trial": numbers.index(best["trial"])}


@pytest.fixture(scope="module")
def whole(folder, flags):
    done = run("search", *flags, f"--space={SPACE}", "--trials=8", "--held_out=S001,S004",
               "--inner_folds=2", "--out=whole", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "whole", done


def test_a_search_and_then_loso_on_people_outside_it(folder, flags, whole):
    out, done = whole
    assert "S001, S004" in done.stdout
    assert (out / "figures" / "best_so_far.svg").is_file()
    best = json.loads((out / "best.json").read_text())
    assert best["searched"]["people"] == {"tiny-set": ["S000", "S002", "S003", "S005"]}
    assert best["trials"] == 8
    done = run("loso", "--modules=tiny", "--data=set", f"--settings={out / 'best.json'}",
               "--seeds=0,1", "--workdir=runs", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the settings were chosen on 4 people" in done.stdout
    for seed in (0, 1):
        made = folder / "runs" / "tiny-set" / "loso" / "tiny" / f"seed={seed}"
        config = json.loads((made / "config.json").read_text())
        assert config["settings"]["learning_rate"] == best["chosen"]["learning_rate"]
        assert {p.name for p in (made / "folds").iterdir()} == {"held_out=S001", "held_out=S004"}
    refused = run("loso", "--modules=tiny", "--arch=rnn", "--data=set",
                  f"--settings={out / 'best.json'}", cwd=folder)  # fmt: skip
    assert refused.returncode == 2
    assert "is for tiny, not for rnn" in refused.stderr


def finished(study):
    """How many trials have ended, by SQL."""
    if not study.is_file():
        return 0
    try:
        with sqlite3.connect(f"file:{study}?mode=ro", uri=True) as connection:
            query = "SELECT COUNT(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            return connection.execute(query).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def test_a_killed_search_loses_at_most_the_trial_under_way(folder, flags, whole):
    words = [*flags, f"--space={SPACE}", "--trials=8", "--held_out=S001,S004"]
    words += ["--inner_folds=2", "--out=killed"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    for wanted in (2, 5):
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments.search", *words], cwd=folder, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while finished(folder / "killed" / "study.db") < wanted:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert finished(folder / "killed" / "study.db") >= wanted
    done = run("search", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert trials_of(folder / "killed") == trials_of(whole[0])
    # Lost trials keep their numbers, so the best one may have a later number: it is the same row without them.
    best, expected = map(best_of, (folder / "killed", whole[0]))
    assert best == expected


def test_two_processes_work_on_one_study(folder, flags):
    words = [*flags, f"--space={SPACE}", "--trials=9", "--inner_folds=2", "--out=both"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "experiments.search", *words], cwd=folder, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        _, printed = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, printed
    assert len(trials_of(folder / "both")) == 9
    with sqlite3.connect(folder / "both" / "study.db") as connection:
        owners = connection.execute(
            "SELECT DISTINCT value_json FROM trial_user_attributes WHERE key = 'owner'"
        ).fetchall()
    assert len(owners) == 2


def test_tasks_of_a_ray_cluster_work_on_one_study(folder, flags):
    pytest.importorskip("ray")
    done = run("search", *flags, f"--space={SPACE}", "--trials=4", "--inner_folds=2", "--out=ray",
               "--launcher=ray", "--ray_address=local", "--ray_cpus=1", "--tasks=2", cwd=folder,
               path=[ROOT])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(trials_of(folder / "ray")) == 4
    assert (folder / "ray" / "best.json").is_file()


def test_ablate_ends_in_a_table_and_a_page(folder, flags):
    done = run("ablate", "--modules=tiny", "--arch=tiny", "--data=set", "--base=paper", "--target=paper",
               "--epochs=1", "--change=augment=mirror", "--change=learning_rate=0.01", "--seeds=0,1",
               "--max_folds=3", "--out=ablation", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "[8/8] all together, seed 1" in done.stdout
    assert "no difference can be established" in done.stdout  # three people
    assert "augment mirror" in (folder / "ablation" / "report" / "index.html").read_text()
    again = run("report", "--workdir=ablation", "--out=again", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert (folder / "again" / "tables" / "ablation_1.md").is_file()


def test_votes_of_trained_folds(folder, flags):
    done = run("loso", *flags, "--workdir=votes", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = run("votes", *flags, "--workdir=votes", "--distance=1", "--apex=4", cwd=folder)
    assert done.returncode == 0, done.stderr
    table = folder / "votes" / "tiny-set" / "loso" / "tiny" / "seed=0" / "tables" / "pair_votes.csv"
    with open(table, newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["Pairs"] for row in rows] == ["last", "sliding", "sliding", "all", "all"]
    refused = run("votes", "--data=set", "--arch=rnn", "--workdir=votes", cwd=folder)
    assert refused.returncode == 2


def test_a_missing_space_is_one_sentence(folder, flags):
    done = run("search", *flags, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --space is empty")
