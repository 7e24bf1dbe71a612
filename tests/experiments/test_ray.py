"""A run on a real Ray cluster of two nodes, one of which dies in the middle."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tiny
from patience import PATIENCE

ROOT = Path(__file__).parents[2]
PATH = os.pathsep.join([str(ROOT), str(ROOT / "tests")])

# It is looked for, not imported: that takes a second, and every process of a test run reads this file.
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"
    ),
]


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    data = tiny.write_set(tmp_path_factory.mktemp("data") / "tiny", subjects=6)
    cache = tmp_path_factory.mktemp("cache")
    return (
        *("--modules=tiny", "--arch=tiny", f"--data={data}", f"--cache_dir={cache}"),
        *("--epochs=4", "--batch_size=4", "--learning_rate=0.01", "--checkpoint_seconds=0"),
    )


@pytest.fixture(scope="module")
def cluster():
    """A head and one more node, one core each, with the tests' modules on their path."""
    from ray.cluster_utils import Cluster

    changed = pytest.MonkeyPatch()
    changed.setenv("PYTHONPATH", PATH)
    changed.setenv("JAX_PLATFORMS", "cpu")
    made = Cluster(initialize_head=False)
    try:
        start_node(made, include_dashboard=False)
        made.second = start_node(made)
        yield made
    finally:
        made.shutdown()
        changed.undo()


def start_node(cluster, **options):
    """Start a node of one core and wait for it; Ray itself gives up after half a minute, whatever the machine."""
    try:
        node = cluster.add_node(wait=False, num_cpus=1, **options)
    except Exception as error:
        if "timed out during startup" in str(error):
            pytest.skip("Ray's own limit of 30 s for the start of a node is too short here")
        raise
    cluster.wait_for_nodes(PATIENCE)
    return node


def start(*flags, command="loso"):
    return subprocess.Popen(
        [sys.executable, "-m", f"experiments.{command}", *flags],
        env=os.environ | {"PYTHONPATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_folder(workdir):
    return workdir / "tiny-set" / "loso" / "tiny" / "seed=0"


def finished(folder):
    """Inode and time of each finished fold's record and weights."""
    kept = [*folder.glob("folds/*/fold.json"), *folder.glob("folds/*/checkpoint")]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in kept}


def events(folder):
    log = folder / "ray.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.slow
def test_an_address_where_no_cluster_is_ends_in_a_sentence(flags, tmp_path):
    driver = start(*flags, f"--workdir={tmp_path}", "--launcher=ray", "--ray_address=127.0.0.1:1")
    printed, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 2
    assert "--ray_address=127.0.0.1:1" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_sets_architectures_and_seeds_share_the_cluster(cluster, flags, tmp_path):
    flags = [flag for flag in flags if not flag.startswith(("--arch", "--epochs", "--check"))]
    driver = start(
        *(*flags, "--archs=tiny", "--seeds=0,1", "--epochs=1", "--nopictures"),
        "--subjects=S000,S001,S002",
        *(f"--workdir={tmp_path}", "--launcher=ray", f"--ray_address={cluster.address}"),
        command="compare",
    )
    printed, _ = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, printed
    nodes = set()
    for seed in (0, 1):
        folder = run_folder(tmp_path).parent / f"seed={seed}"
        assert json.loads((folder / "result.json").read_text())["folds_done"] == 3
        nodes |= {event["node"] for event in events(folder)}
    assert len(nodes) == 2


@pytest.mark.slow
def test_a_lost_node_loses_no_finished_fold_and_the_run_ends_complete(cluster, flags, tmp_path):
    local = start(*flags, f"--workdir={tmp_path / 'local'}")
    printed, _ = local.communicate(timeout=PATIENCE)
    assert local.returncode == 0, printed

    folder = run_folder(tmp_path / "ray")
    driver = start(
        *flags,
        *(f"--workdir={tmp_path / 'ray'}", "--launcher=ray", f"--ray_address={cluster.address}"),
    )
    try:
        until = time.monotonic() + PATIENCE
        while len({event["node"] for event in events(folder)}) < 2:
            assert driver.poll() is None, driver.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.02)
        before = finished(folder)
        assert driver.poll() is None
        cluster.remove_node(cluster.second, allow_graceful=False)
        printed, _ = driver.communicate(timeout=PATIENCE)
    finally:
        if driver.poll() is None:
            driver.send_signal(signal.SIGKILL)
    assert driver.returncode == 0, printed
    assert "6 of 6 folds" in printed
    after = finished(folder)
    assert {path: after[path] for path in before} == before
    assert sorted({event["fold"] for event in events(folder)}) == [f"S00{n}" for n in range(6)]
    for name in ("predictions.csv", "history.csv"):
        assert (folder / name).read_bytes() == (run_folder(tmp_path / "local") / name).read_bytes()
