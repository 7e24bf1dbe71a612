"""The main command on a tiny set: what it writes, how it goes on, what it refuses."""

import csv
import json
import shutil
import subprocess
import sys

import pytest

import tiny
from experiments_run import ROOT, run


def loso(*flags, cwd=ROOT, check=True, **options):
    """`experiments.loso` with the flags."""
    done = run("loso", *flags, cwd=cwd, **options)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_set(tmp_path_factory.mktemp("data") / "tiny", subjects=3)


@pytest.fixture(scope="module")
def flags(data):
    return (
        "--modules=tiny",
        "--arch=tiny",
        f"--data={data}",
        "--epochs=3",
        "--batch_size=4",
        "--learning_rate=0.01",
    )


@pytest.fixture(scope="module")
def finished(flags, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs")
    done = loso(*flags, f"--workdir={workdir}")
    return workdir / "tiny-set" / "loso" / "tiny" / "seed=0", done


def test_a_run_folder_has_the_documented_files_and_fields(finished):
    folder, done = finished
    result = json.loads((folder / "result.json").read_text())
    assert (result["folds_done"], result["folds_total"], result["sequences"]) == (3, 3, 17)
    assert result["architecture"] == "tiny"
    assert set(result["votes"]) == {"summed", "maximum"}
    assert result["votes"]["summed"]["accuracy"] > 0.5  # A bright band a class; chance is 1/6.
    assert sum(map(sum, result["votes"]["summed"]["confusion_matrix"])) == 17
    with open(folder / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 17
    right = [row["label"] == row["predicted"] for row in rows if row["vote"] == "summed"]
    assert sum(right) / 17 == pytest.approx(result["votes"]["summed"]["accuracy"])
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 3 * 3
    for subject in ("S000", "S001", "S002"):
        assert (folder / "folds" / f"held_out={subject}" / "checkpoint").is_dir()
        assert not (folder / "folds" / f"held_out={subject}" / "training").exists()
    assert done.stdout.index("Settings") < done.stdout.index("accuracy (summed)")
    assert str(folder / "result.json") in done.stdout.rpartition("Wrote")[2]


@pytest.mark.slow
def test_a_run_draws_its_figures_and_names_them(finished, flags):
    folder, _ = finished
    done = loso(*flags, f"--workdir={folder.parents[3]}", draw=True)
    drawn = list((folder / "figures").glob("*.png"))
    assert drawn
    for picture in drawn:
        assert str(picture) in done.stdout.rpartition("Wrote")[2]


def test_the_same_command_again_trains_nothing_and_says_the_same(finished, flags):
    folder, _ = finished
    before = (folder / "folds" / "held_out=S000" / "fold.json").stat().st_mtime_ns
    predictions = (folder / "predictions.csv").read_bytes()
    done = loso(*flags, f"--workdir={folder.parents[3]}")
    assert "3 of 3, 3 of them finished" in done.stdout
    assert (folder / "folds" / "held_out=S000" / "fold.json").stat().st_mtime_ns == before
    assert (folder / "predictions.csv").read_bytes() == predictions


@pytest.mark.slow
def test_one_fold_alone_predicts_as_it_does_among_all(finished, flags, tmp_path):
    folder, _ = finished
    loso(*flags, f"--workdir={tmp_path}", "--subjects=S001")
    alone = tmp_path / "tiny-set" / "loso" / "tiny" / "seed=0"
    assert json.loads((alone / "result.json").read_text())["folds_done"] == 1
    predictions = [
        json.loads((run / "folds" / "held_out=S001" / "fold.json").read_text())["predictions"]
        for run in (folder, alone)
    ]
    assert predictions[0] == predictions[1]


def refused(done, *words):
    """One sentence on standard error, no traceback."""
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[-1]


def test_other_settings_in_the_same_folder_are_refused(finished, flags):
    folder, _ = finished
    done = loso(*flags, f"--workdir={folder.parents[3]}", "--epochs=4", check=False)
    refused(done, "epochs is 3 there and 4 here", "--workdir")


def test_an_unknown_architecture_lists_the_six(tmp_path):
    done = loso("--arch=middle_fusion", cwd=tmp_path, check=False)
    refused(
        done, "middle_fusion", "single_frame, early_fusion, late_fusion, slow_fusion, conv3d, rnn"
    )
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_no_shards_is_said_so(tmp_path):
    (tmp_path / "photos").mkdir()
    done = loso("--data=photos", f"--workdir={tmp_path / 'runs'}", cwd=tmp_path, check=False)
    refused(done, "photos", "no shard folder")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("change", ["truncate", "flip"])
def test_a_changed_shard_is_named(data, tmp_path, flags, change):
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    file = next(copy.glob("*.npy"))
    content = bytearray(file.read_bytes())
    if change == "truncate":
        del content[-100:]
    else:
        content[-100] ^= 1
    file.write_bytes(content)
    done = loso(*flags, f"--data={copy}", f"--workdir={tmp_path / 'runs'}", check=False)
    refused(done, str(file))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_several_folds_on_a_device_give_the_same_predictions(flags, tmp_path):
    tables, records = [], []
    for beside in (1, 2):
        workdir = tmp_path / str(beside)
        # With the paper's epsilon Adam makes whole steps of gradients that are nothing but rounding.
        loso(*flags, "--adam_epsilon=1e-3", f"--workdir={workdir}", f"--folds_per_device={beside}")
        folder = workdir / "tiny-set" / "loso" / "tiny" / "seed=0"
        with open(folder / "predictions.csv", newline="") as stream:
            tables.append(list(csv.reader(stream)))
        records.append(json.loads((folder / "config.json").read_text()))
    ours, theirs = tables
    assert [row[:5] for row in ours] == [row[:5] for row in theirs]
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        assert list(map(float, one[5:])) == pytest.approx(list(map(float, other[5:])), abs=1e-4)
    assert records[0]["settings"] == records[1]["settings"]  # How it was run is no setting.


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--parallel=batch", ("--folds_per_device=2", "--parallel=folds or auto")),
        ("--launcher=ray", ("one fold a task", "leave --folds_per_device out")),
    ],
)
def test_where_no_folds_train_side_by_side_several_a_device_are_refused(
    flags, tmp_path, flag, words
):
    done = loso(*flags, flag, "--folds_per_device=2", f"--workdir={tmp_path}", check=False)
    refused(done, *words)
    assert not list(tmp_path.iterdir())


def test_an_unknown_subject_is_named_with_some_that_exist(flags, tmp_path):
    done = loso(*flags, f"--workdir={tmp_path / 'runs'}", "--subjects=S000,S077", check=False)
    refused(done, "S077", "S000, S001, S002")
    assert not (tmp_path / "runs").exists()


def test_a_sequence_shorter_than_a_clip_is_named(tmp_path, flags):
    from stfer.data.shards import write_shards

    rows = [(i, s, label, frames[-8:]) for i, s, label, frames in tiny.sequences(subjects=2)]
    short = write_shards(tmp_path / "short", rows)
    done = loso(
        "--arch=early_fusion", f"--data={short}", f"--workdir={tmp_path / 'runs'}", check=False
    )
    refused(done, "early_fusion", "10 frames", "S000/000 (8)")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--epochs=0", "epochs"),
        ("--epochs=many", "epochs"),
        ("--preset=fast", "preset"),
        ("--lerning_rate=1", "lerning_rate"),
    ],
)
def test_a_bad_flag_is_one_sentence(flags, tmp_path, flag, word):
    refused(loso(*flags, flag, f"--workdir={tmp_path}", check=False), word)


def test_help_needs_no_heavy_import():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "experiments.loso", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    for flag in ("--arch", "--data", "--[no]debug"):
        assert flag in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "absl.flags" in imported
    assert not {"jax", "cv2", "matplotlib", "sklearn", "pandas", "orbax", "flax"} & imported
