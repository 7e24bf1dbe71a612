"""experiments.report as a user runs it: in a process of its own, on runs written by hand."""

import functools
import json

import pytest

import experiments_run
from experiments_run import ROOT
from run_folders import answers, write_run
from speed_figures import figures
from stfer.data.shards import load_shards
from tiny import write_set

run = functools.partial(experiments_run.run, "report", cwd=ROOT)


def test_help_names_what_it_does():
    done = run("--help")
    assert done.returncode == 0
    assert "reads run folders only" in done.stdout
    assert "--vote" in done.stdout


@pytest.mark.slow
def test_report_of_real_shards_prints_tables_and_shows_frames(tmp_path):
    """The runs' sequences are those of a shard folder, so that the page can show their frames."""
    folder = write_set(tmp_path / "shards", name="tiny-set", uneven=False)
    shards = load_shards(folder)
    checksum = str(shards.checksum)
    labels = [shards.classes[label] for label in shards.labels]
    names = [f"{subject}_{label}" for subject, label in zip(shards.subjects, labels, strict=True)]
    workdir = tmp_path / "runs"
    for architecture, wrong in (("late_fusion", 4), ("rnn", 20)):
        made = write_run(
            workdir / architecture,
            answers(4, wrong, first=0),
            data="tiny-set",
            checksum=checksum,
            architecture=architecture,
        )
        # The writer's ids are SUBJECT_LABEL; the shards' are others.
        text = (made / "predictions.csv").read_text()
        for name, identity in zip(names, shards.ids, strict=True):
            text = text.replace(f"{name},", f"{identity},")
        (made / "predictions.csv").write_text(text)

    (workdir / "gpu.json").write_text(json.dumps(figures()))
    flags = (f"--workdir={workdir}", f"--data={folder}", "--vote=maximum")
    done = experiments_run.run_alone("report", *flags, cwd=ROOT, PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    # Table I is counted from the models; it is the paper's to the last digit.
    for count in (
        "24,760,392",
        "25,074,024",
        "28,954,696",
        "26,355,878",
        "26,050,694",
        "3,763,390",
    ):
        assert done.stdout.count(count) == 2
    assert "Speed on a card: a batch of 32 clips" in done.stdout
    assert "In order: late fusion 83 %, RNN 17 %." in done.stdout
    assert "With 4 subjects and 1 pair no difference can be established" in done.stdout
    assert done.stdout.rstrip().endswith(str(workdir / "report" / "figures"))
    assert "data:image/jpeg" in (workdir / "report" / "index.html").read_text()

    done = run(
        f"--workdir={workdir}",
        f"--data={folder}",
        "--pictures=false",
        f"--out={tmp_path / 'plain'}",
    )
    assert done.returncode == 0, done.stderr
    assert "data:image/jpeg" not in (tmp_path / "plain" / "index.html").read_text()

    other = write_set(tmp_path / "other", name="tiny-set", seed=1)
    done = run(f"--workdir={workdir}", f"--data={other}")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: --data: no run in --workdir was made on tiny-set as it is now"
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--workdir=nowhere"],
            "error: nowhere is not a folder; --workdir names the folder of the runs\n",
        ),
        (
            ["--workdir=."],
            "error: . holds no finished run (no result.json); experiments.loso makes one\n",
        ),
    ],
)
def test_a_wrong_folder_is_one_sentence(tmp_path, flags, message):
    done = run(*flags, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, message)
