"""Workers that die: by a signal, by an exit code, of one item of a group, and at their start."""

import os
import signal
import time

import pytest

from stfer.data import workers
from stfer.data.workers import Died, run, usable_cores


def nothing():
    pass


def fail_to_start():
    os._exit(7)


def work(items):
    """Squares; some items are the death of their worker."""
    for item in items:
        if item == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if item == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "exit":
            os._exit(3)
        if item == "slow":
            time.sleep(0.3)
        if item == "error":
            raise ValueError("a mistake in the work")
    return [item * 2 for item in items]


def died_once(items):
    """A worker dies of the item the first time only."""
    (path,) = items
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return ["done"]


def results(function, groups, count=2, set_up=nothing):
    return list(run(function, groups, count, set_up))


@pytest.mark.slow
def test_results_come_in_order():
    groups = [["slow"], [1, 2, 3], [4], ["slow", 5]]
    assert results(work, groups) == ["slowslow", 2, 4, 6, 8, "slowslow", 10]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("item", "code", "words"),
    [
        ("segv", -signal.SIGSEGV, "its worker process died of SIGSEGV, 2 times"),
        (
            "kill",
            -signal.SIGKILL,
            "died of SIGKILL, 2 times; perhaps memory ran out: fewer workers need less",
        ),
        ("exit", 3, "its worker process ended with exit code 3, 2 times"),
    ],
)
def test_a_deadly_item_costs_itself_alone(item, code, words):
    found = results(work, [[1, item, 2], [3], [4]], count=1)
    assert found == [2, Died(code), 4, 6, 8]
    assert str(found[1]).endswith(words)
    assert ("memory" in str(found[1])) == (item == "kill")


@pytest.mark.slow
def test_a_worker_that_dies_once_is_no_loss(tmp_path):
    assert results(died_once, [[str(tmp_path / "mark")]]) == ["done"]


def test_a_mistake_in_the_work_is_raised():
    with pytest.raises(ValueError, match="a mistake in the work"):
        results(work, [[1], ["error"], [2]])


def test_workers_that_cannot_start():
    with pytest.raises(OSError, match=r"could not start \(exit code 7\)"):
        results(work, [[1]], set_up=fail_to_start)


def test_memory_is_bounded_behind_a_slow_item():
    """What is ready waits for the slow first item, and only so much of it is made."""
    made = run(work, [["slow"], *([n] for n in range(50))], 2, nothing)
    assert next(made) == "slowslow"
    assert list(made) == [2 * n for n in range(50)]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 1 << 16),
        ({"job/cpu.max": "300000 100000\n"}, 3),
        ({"job/cpu.max": "300000 100000\n", "job/step/cpu.max": "max 100000\n"}, 3),
        ({"job/cpu.max": "300000 100000\n", "job/step/cpu.max": "100000 100000\n"}, 1),
        ({"other/cpu.max": "100000 100000\n"}, 1 << 16),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/docker/cpu.cfs_quota_us": "350000", "cpu/docker/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1 << 16),
        ({"cpu.max": "100000 0\n"}, 1 << 16),
        ({}, 1 << 16),
        ({"cpu.max": "what"}, 1 << 16),
    ],
)
def test_a_containers_quota(tmp_path, files, cores):
    """Of the process' own control group and of all above it."""
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    groups = tmp_path / "cgroup"
    groups.write_text("4:cpu,cpuacct:/docker\n3:cpuset:/elsewhere\n0::/job/step\n")
    assert workers.cores_of_group(groups, tmp_path / "root") == cores
    assert workers.cores_of_group(tmp_path / "absent", tmp_path / "root") == 1 << 16


def test_cores_follow_the_affinity():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= usable_cores() <= len(allowed)
