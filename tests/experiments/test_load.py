"""Many folds in one process: neither memory nor open files grow from fold to fold.

`STFER_LOAD_SUBJECTS=120 pytest tests/experiments/test_load.py -s` measures a long run and prints it.
"""

import os
from pathlib import Path

import pytest

import tiny
from fork_server import Forks

SUBJECTS = int(os.environ.get("STFER_LOAD_SUBJECTS", "16"))
WARM = 6  # Folds after which caches have filled.


def resident_mib(process):
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def counts(process):
    files = len(os.listdir(f"/proc/{process}/fd"))
    threads = len(os.listdir(f"/proc/{process}/task"))
    return resident_mib(process), files, threads


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc")
def test_folds_leave_no_memory_and_no_open_files_behind(tmp_path, capsys):
    data = tiny.write_set(tmp_path / "tiny", subjects=SUBJECTS)
    folds = tmp_path / "runs" / "tiny-set" / "loso" / "tiny" / "seed=0" / "folds"
    samples = {}
    command = Forks(tmp_path).start(
        *("--modules=tiny", "--arch=tiny", f"--data={data}", f"--workdir={tmp_path / 'runs'}"),
        *("--epochs=1", "--batch_size=256", "--learning_rate=0.01", "--checkpoint_seconds=0"),
    )

    def another():
        done = len(list(folds.glob("*/fold.json")))
        return done if done not in samples and done else 0

    while command.wait_until(another):
        try:
            samples[another()] = counts(command.process)
        except FileNotFoundError:
            break
    assert command.wait() == 0, command.printed
    assert f"{SUBJECTS} of {SUBJECTS} folds" in command.printed
    seen = [samples[done] for done in sorted(samples) if WARM <= done < SUBJECTS]
    memory, files, threads = ([sample[part] for sample in seen] for part in range(3))
    with capsys.disabled():
        if SUBJECTS > 16:
            print(f"\nfolds {min(samples)} to {max(samples)}")
            for name, values in (("MiB", memory), ("files", files), ("threads", threads)):
                print(f"{name}: {values[0]:.0f}, {values[len(values) // 2]:.0f}, {values[-1]:.0f}")
    growth = memory[-1] - memory[0]
    # The tiny network's states are too small to show here; tests/training/test_fit.py counts arrays.
    assert growth < 20 + 0.25 * SUBJECTS, memory
    # Sampled in the middle of things, so single files and threads come and go.
    assert max(files[len(files) // 2 :]) <= max(files[: len(files) // 2]) + 8, files
    assert max(threads[len(threads) // 2 :]) <= max(threads[: len(threads) // 2]) + 8, threads
