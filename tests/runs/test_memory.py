"""What memory a set may take."""

from types import SimpleNamespace

import jax
import psutil
import pytest

from stfer.runs import memory


@pytest.mark.parametrize(
    ("free", "limit", "resident"),
    [(4.0, 10.0, True), (2.0, 10.0, False), (10.0, 4.0, True), (10.0, 2.0, False)],
    ids=["free", "not free", "allowed", "not allowed"],
)
def test_a_set_is_kept_on_a_cpu_when_a_third_of_the_memory_holds_it(
    monkeypatch, free, limit, resident
):
    """Memory in multiples of the set: what the system has free, what a batch job may still take."""
    size = 1000
    monkeypatch.setattr(
        psutil, "virtual_memory", lambda: SimpleNamespace(available=int(free * size))
    )
    monkeypatch.setattr(memory, "left_to_group", lambda: limit * size)
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    assert memory.fits(size) == resident


@pytest.fixture
def free(monkeypatch):
    """1000 bytes are free, for one device."""
    monkeypatch.setattr(jax, "local_device_count", lambda: 1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    monkeypatch.setattr(memory, "left_to_group", lambda: float("inf"))


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(("folds", "most"), [(1, 333), (2, 200), (4, 111)])
def test_each_fold_beside_another_leaves_less_for_the_set(folds, most):
    assert memory.fits(most, folds)
    assert not memory.fits(most + 1, folds)


@pytest.mark.usefixtures("free")
def test_more_folds_than_the_memory_holds_are_refused_with_how_many_it_does():
    memory.check_folds(state_bytes=100, folds=5)
    with pytest.raises(ValueError, match=r"--folds_per_device=6 takes .* give at most 5$"):
        memory.check_folds(state_bytes=100, folds=6)


@pytest.mark.usefixtures("free")
def test_the_devices_of_a_processor_have_one_memory_together(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 2)
    memory.check_folds(state_bytes=100, folds=2)
    sentence = "^--folds_per_device=3 takes .* each of the 2 devices has .* give at most 2$"
    with pytest.raises(ValueError, match=sentence):
        memory.check_folds(state_bytes=100, folds=3)
    assert memory.fits(100, folds=2)
    assert not memory.fits(101, folds=2)


@pytest.mark.parametrize("version", [1, 2])
def test_the_least_limit_of_a_batch_job_counts_at_whatever_level(tmp_path, version):
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    top = tmp_path / "root" / ("memory" if version == 1 else "")
    for path, limit in (("job", "1000"), ("job/step", "max"), ("job/step/task", "5000")):
        (top / path).mkdir(parents=True)
        for name, text in zip(names[:2], (limit, "700"), strict=True):
            (top / path / name).write_text(f"{text}\n")
        (top / path / "memory.stat").write_text(f"anon 600\n{names[2]} 100\n")
    groups = tmp_path / "cgroup"
    groups.write_text("3:cpuset:/\n" + ("4:memory" if version == 1 else "0:") + ":/job/step/task\n")
    # The job's 1000 less its 700, of which 100 are files that can be dropped.
    assert memory.left_to_group(groups, tmp_path / "root") == 400
    assert memory.left_to_group(tmp_path / "absent", tmp_path / "root") == float("inf")
