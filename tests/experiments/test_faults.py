"""Full disks, read-only and vanished folders, damaged files, a clock set back, a loss that is no number.

Each ends in one clear sentence or goes on cleanly, and what was finished stays readable.
"""

import json
import os
import re
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import tiny
from fork_server import Forks
from stfer.evaluation.run_folder import RunFolder
from stfer.runs import plan
from stfer.storage.weights import CheckpointError, load_weights
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig

NOBODY = 65534


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    return Forks(tmp_path_factory.mktemp("output"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_set(tmp_path_factory.mktemp("data") / "tiny", subjects=3)


@pytest.fixture(scope="module")
def flags(data):
    return (
        *("--modules=tiny", "--arch=tiny", f"--data={data}"),
        *("--epochs=2", "--batch_size=4", "--learning_rate=0.01"),
    )


@pytest.fixture(scope="module")
def half(server, flags, tmp_path_factory):
    """A run with one of its three folds finished, to copy."""
    workdir = tmp_path_factory.mktemp("half")
    code, printed = server.run(*flags, f"--workdir={workdir}", "--max_folds=1")
    assert code == 0, printed
    return workdir


def run_folder(workdir, name="tiny-set"):
    return workdir / name / "loso" / "tiny" / "seed=0"


def sentence(printed):
    """The error line; nothing like a traceback around it."""
    assert "Traceback" not in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    return line


def first_fold_stays(workdir, half):
    found = RunFolder(run_folder(workdir)).read_fold("S000")
    assert found == RunFolder(run_folder(half)).read_fold("S000")
    load_weights(run_folder(workdir) / "folds" / "held_out=S000" / "checkpoint")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "what"), [(8_000, "a result"), (1_300, "the settings")], ids=["result", "settings"]
)
def test_a_full_disk_is_one_sentence_and_loses_nothing(server, flags, half, tmp_path, limit, what):
    """No file can grow beyond the limit, as where the disk is full; then there is room again."""
    workdir = tmp_path / "runs"
    if what == "a result":
        shutil.copytree(half, workdir)
    flags = (*flags, f"--workdir={workdir}", "--checkpoint_seconds=0")
    code, printed = server.run(*flags, TEST_FILE_LIMIT=str(limit))
    assert code == 2, printed
    assert str(workdir) in sentence(printed)
    assert "File too large" in sentence(printed)
    if what == "a result":
        first_fold_stays(workdir, half)
    code, printed = server.run(*flags)
    assert code == 0, printed
    assert json.loads((run_folder(workdir) / "result.json").read_text())["folds_done"] == 3


def test_a_full_disk_while_shards_are_written_leaves_none(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            tiny.write_set(tmp_path / "set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "set").exists()
    tiny.write_set(tmp_path / "set")


def others_reach(path):
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not write")
@pytest.mark.skipif(
    not others_reach(Path(sys.prefix)), reason="another user cannot enter this virtual environment"
)
def test_a_read_only_workdir_is_one_sentence(server, flags, data, half):
    # Not in pytest's folder, which others than its owner may not enter.
    with tempfile.TemporaryDirectory() as public:
        Path(public).chmod(0o755)
        workdir = Path(public) / "runs"
        shutil.copytree(half, workdir)
        shutil.copytree(data, Path(public) / "set")
        code, printed = server.run(
            *flags, f"--workdir={workdir}", f"--data={public}/set", TEST_USER=str(NOBODY)
        )
        assert code == 2, printed
        assert f"{run_folder(workdir)}" in sentence(printed)
        assert "denied" in sentence(printed)
        first_fold_stays(workdir, half)


@pytest.mark.slow
def test_a_run_folder_removed_under_a_job_ends_it_with_a_sentence(server, flags, tmp_path):
    folder = run_folder(tmp_path)
    command = server.start(*flags, f"--workdir={tmp_path}", "--epochs=5000")
    assert command.wait_until(lambda: re.search(r"epoch \d+/", command.printed))
    shutil.rmtree(folder)
    assert command.wait() == 2
    assert f"{folder} was removed" in sentence(command.printed.replace("\r", "\n"))
    assert not folder.exists()


@pytest.mark.slow
def test_a_clock_that_runs_backwards_changes_nothing(server, flags, half, tmp_path):
    flags = (*flags, "--checkpoint_seconds=0")
    code, printed = server.run(*flags, f"--workdir={tmp_path}", "--max_folds=1", TEST_CLOCK="back")
    assert code == 0, printed
    ours, theirs = (RunFolder(run_folder(w)).read_fold("S000") for w in (tmp_path, half))
    assert (ours.predictions, ours.history) == (theirs.predictions, theirs.history)
    assert ours.training_seconds >= 0


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_its_fold_alone(server, flags, tmp_path):
    """One marked sequence has no finite loss: every fold but the one that holds it out trains on it."""
    rows = list(tiny.sequences(subjects=3))
    rows[0][3][-1, 0, 0] = 7, 77, 177
    data = tiny.write_shards(tmp_path / "marked", rows, name="marked")
    kept = [flag for flag in flags if not flag.startswith(("--data", "--arch", "--modules"))]
    code, printed = server.run(
        *kept,
        *("--modules=poisoned", "--arch=poisoned", f"--data={data}", f"--workdir={tmp_path}"),
    )
    assert code == 1, printed
    failed = [line for line in printed.splitlines() if "failed:" in line]
    assert len(failed) == 2
    for line, name in zip(failed, ("S001", "S002"), strict=True):
        assert f"fold {name}" in line
        assert "learning rate 0.01" in line
        assert " step " in line
        assert rows[0][0] in line
    assert "1 of 3 folds" in printed


def test_a_flipped_bit_in_a_shard_is_found_at_load(server, flags, data, tmp_path):
    copy = tmp_path / "set"
    shutil.copytree(data, copy)
    file = copy / "frames-00000.npy"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    kept = [flag for flag in flags if not flag.startswith("--data")]
    code, printed = server.run(*kept, f"--data={copy}", f"--workdir={tmp_path}")
    assert code == 2
    assert str(file) in sentence(printed)


@pytest.mark.parametrize("name", ["..", ".", "../../outside", "/outside", "~"])
def test_a_hostile_set_name_stays_in_the_workdir(tmp_path, name):
    workdir = tmp_path / "a" / "b" / "runs"
    path = plan.run_path(workdir, name, "loso", TrainConfig("tiny"))
    assert workdir == path.parents[3]
    assert os.path.normpath(path) == str(path)


@pytest.mark.parametrize("name", ["..", "../../outside", "/outside", ".", "a/b"])
def test_a_hostile_subject_name_stays_in_the_run_folder(tmp_path, name):
    fold = RunFolder(tmp_path).fold(name)
    assert fold.parent == tmp_path / "folds"
    assert os.path.normpath(fold) == str(fold)


def test_states_that_are_not_finite_are_not_saved(tmp_path):
    saved = FoldCheckpoints(tmp_path / "fold", {"a": 1})
    good = {"params": np.arange(3.0)}
    assert saved.save(good, {"epoch": 1})
    assert not saved.save({"params": np.array([1.0, np.nan, 2.0])}, {"epoch": 2})
    _, progress = saved.restore(good)
    assert progress == {"epoch": 1}


@pytest.mark.slow
def test_weights_without_their_arrays_are_refused(half, tmp_path):
    shutil.copytree(run_folder(half) / "folds" / "held_out=S000" / "checkpoint", tmp_path / "w")
    for path in (tmp_path / "w").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=str(tmp_path / "w")):
        load_weights(tmp_path / "w")


def test_nothing_is_read_through_pickle():
    """A pickle can run code; no file of ours is one, and NumPy is never allowed to read one."""
    from pathlib import Path

    import experiments
    import stfer

    for package in (stfer, experiments):
        for file in Path(package.__file__).parent.rglob("*.py"):
            text = file.read_text()
            for word in ("import pickle", "allow_pickle=True", "cloudpickle", "joblib", "marshal"):
                assert word not in text, f"{file} has {word}"
