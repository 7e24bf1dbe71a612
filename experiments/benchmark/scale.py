"""What is no network at scale: folds on a cluster, a set larger than memory, and how the cost grows.

    python -m experiments.benchmark --what=scale --minutes=30 --out=runs/scale.json

The networks are those of `experiments.benchmark.small_networks`, so that their own time hardly counts. Parts are kept
one by one, as with --what=gpu.
"""

from __future__ import annotations

import contextlib
import os
import resource
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from experiments.benchmark.parts import Part

FLAGS = flags.FLAGS
MODULE = "experiments.benchmark.small_networks"
SETS = 2
SEQUENCES = (100, 1_000, 10_000)
FOLDS = (5, 20, 80)
DEVICES = (1, 2, 4)
STREAMED = 100_000
SMALLER = 100  # --tiny divides the numbers of folds and clips by this.


def plan() -> list[Part]:
    """The parts, with the seconds that they are expected to take."""
    grown = [("sequences", SEQUENCES), ("folds", FOLDS), ("devices", DEVICES)]
    named = [("ray", 300.0), ("stream", 300.0)]
    named += [(f"{what}:{number}", 60.0) for what, numbers in grown for number in numbers]
    return [Part(name, 1.0 if FLAGS.tiny else seconds) for name, seconds in named]


def settings() -> dict[str, Any]:
    """What makes two measurements the same."""
    return {"scale": True, "tiny": FLAGS.tiny}


def lacks(result: Any) -> bool:
    """Never: all is measured at once."""
    del result
    return False


def show(results: Mapping[str, Any]) -> None:
    """Print a line a part."""
    for name, part in results["parts"].items():
        shown = part.get("result", {"failed": part.get("error")})
        print(f"{name:<18}" + ", ".join(f"{key} {_short(value)}" for key, value in shown.items()))


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def make(name: str) -> dict[str, Any]:
    """Make one part, in this process."""
    kind, _, number = name.partition(":")
    if kind == "devices":
        import jax

        jax.config.update("jax_num_cpu_devices", int(number))
    whole = {"ray": folds_on_a_cluster, "stream": stream}
    if kind in whole:
        return whole[kind]()
    folds = {"sequences": 2, "folds": int(number), "devices": 8}[kind]
    return trained(int(number) if kind == "sequences" else 200, folds)


@contextlib.contextmanager
def made_set(sequences: int, subjects: int, frames: int, size: int, name: str) -> Iterator[Path]:
    """A shard folder of noise, which is another for every name."""
    import numpy as np

    from stfer.data.sequence import EMOTIONS_6
    from stfer.data.shards import write_shards

    random = np.random.default_rng(zlib.crc32(name.encode()))
    noise = random.integers(0, 256, (64 * frames, size, size, 3), np.uint8)

    def clips() -> Iterator[tuple]:
        for number in range(sequences):
            person = f"P{number % subjects:04d}"
            start = (number * 7) % (len(noise) - frames + 1)
            label = EMOTIONS_6[(number + number // subjects) % len(EMOTIONS_6)]
            yield f"{person}/{number:06d}", person, label, noise[start : start + frames]

    with tempfile.TemporaryDirectory(prefix="stfer-scale-") as folder:
        yield write_shards(Path(folder) / name, clips(), name=name)


def folds_on_a_cluster() -> dict[str, Any]:
    """Every fold of six architectures and two sets as a task on two nodes, one of which is killed half-way."""
    from ray.cluster_utils import Cluster

    from experiments.benchmark.small_networks import NAMES
    from stfer.data.shards import load_shards
    from stfer.runs import ray
    from stfer.runs.local import Launch
    from stfer.runs.plan import prepare
    from stfer.training.config import preset

    people = max(100 // (SMALLER if FLAGS.tiny else 1), 3)
    with contextlib.ExitStack() as stack:
        workdir = stack.enter_context(tempfile.TemporaryDirectory())
        sets = [
            stack.enter_context(made_set(2 * people, people, 15, 16, f"made-{number}"))
            for number in range(SETS)
        ]
        runs = []
        for folder in sets:
            shards = load_shards(folder)
            for name in NAMES:
                config = preset("paper", name, epochs=1, batch_size=64, learning_rate=1e-3)
                plan = prepare(config, "loso", shards, workdir, (MODULE,), {"data": str(folder)})
                runs.append(ray.Run(plan, plan.fold_names, str(folder)))
        os.environ["JAX_PLATFORMS"] = "cpu"
        cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        stack.callback(cluster.shutdown)
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        watch = _Watch(runs, lambda: cluster.remove_node(second, allow_graceful=False))
        options = ray.RayOptions(
            cluster.address, 1.0, 0.0, 3, False, (MODULE,), str(Path(workdir) / "cache")
        )
        began = time.monotonic()
        failures = ray.train_grid(runs, options, Launch(), watch)
        return watch.report(time.monotonic() - began) | {"failures": len(failures)}


class _Watch:
    """Asked by the driver between folds: notes what it takes, and kills a node half-way."""

    def __init__(self, runs, kill):
        import psutil

        self._runs, self._kill = runs, kill
        self._total = sum(len(run.folds) for run in runs)
        self._process = psutil.Process()
        self._began = self._last = time.monotonic()
        self._notes: list[tuple[float, int, int, int]] = []  # seconds, folds, bytes, open files
        self._killed: int | None = None

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self._last < (0.0 if FLAGS.tiny else 1.0):  # Tiny folds are over too soon.
            return False
        self._last, done = now, sum(map(self._done, self._runs))
        memory, files = self._process.memory_info().rss, self._process.num_fds()
        self._notes.append((now - self._began, done, memory, files))
        if self._killed is None and done >= self._total // 2:
            self._killed = done
            self._kill()
        return False

    @staticmethod
    def _done(run) -> int:
        return sum(1 for _ in (run.plan.folder.path / "folds").glob("*/fold.json"))

    def report(self, seconds: float) -> dict[str, Any]:
        """What is to know at the end."""
        import json

        from stfer.runs.ray import LOG

        logged = [
            (number, json.loads(line)["fold"])
            for number, run in enumerate(self._runs)
            for line in (run.plan.folder.path / LOG).read_text().splitlines()
        ]
        working = [note for note in self._notes if 0 < note[1] < self._total]
        under_way = None  # Where all was over within a second or two.
        if len(working) > 1:
            first, last = working[0], working[-1]
            under_way = (last[1] - first[1]) / (last[0] - first[0])
        spent = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "folds": self._total,
            "finished": sum(map(self._done, self._runs)),
            "logged_once": len(logged) == len(set(logged)) == self._total,
            "killed_after": self._killed,
            "seconds": seconds,
            "folds_a_second": self._total / seconds,
            "folds_a_second_under_way": under_way,
            "driver_processor_seconds": spent.ru_utime + spent.ru_stime,
            "driver_mb": [round(note[2] / 1e6) for note in _spread(working)],
            "driver_open_files": [note[3] for note in _spread(working)],
        }


def _spread(notes: list, count: int = 5) -> list:
    """The first, the last and some between."""
    last = len(notes) - 1
    return [notes[round(i * last / (count - 1))] for i in range(count)] if notes else []


def stream() -> dict[str, Any]:
    """A set of many clips that does not stay in memory: one epoch of one fold of ten, and its test."""
    count = STREAMED // (SMALLER if FLAGS.tiny else 1)
    with made_set(count, 1000 if count > 10_000 else 20, 2, 64, "streamed") as folder:
        return _one_fold(folder, batch_size=256)


def trained(sequences: int, folds: int) -> dict[str, Any]:
    """So many folds of a set of so many sequences, an epoch each."""
    import jax

    from stfer.data.shards import load_shards
    from stfer.runs import crossval
    from stfer.runs.local import Launch

    subjects = max(folds, 10)
    with (
        made_set(max(sequences, subjects), subjects, 2, 32, "grown") as folder,
        tempfile.TemporaryDirectory() as workdir,
    ):
        plan = _plan(load_shards(folder), "loso", workdir, batch_size=32)
        began, spent = time.monotonic(), time.process_time()
        outcome = crossval.run(plan, plan.fold_names[:folds], Launch())
        seconds, spent = time.monotonic() - began, time.process_time() - spent
    return {
        "sequences": max(sequences, subjects),
        "folds": outcome.result["folds_done"],
        "devices": jax.device_count(),
        "seconds": seconds,
        "processor_seconds": spent,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
    }


def _plan(shards, protocol: str, workdir: str, batch_size: int):
    from stfer import registries
    from stfer.runs.plan import prepare
    from stfer.training.config import preset

    registries.import_modules([MODULE])
    config = preset("paper", "small_late_fusion", epochs=1, batch_size=batch_size)
    return prepare(config, protocol, shards, workdir, (MODULE,))


def _one_fold(folder: Path, batch_size: int) -> dict[str, Any]:
    """Train and test one fold with batches streamed; where the time went, and what memory it took."""
    from stfer.data.shards import load_shards
    from stfer.runs import folds
    from stfer.runs.folds import Engines

    with tempfile.TemporaryDirectory() as workdir:
        # From here on: what the set's making took is not what its use takes.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        shards = load_shards(folder)
        plan = _plan(shards, "kfold", workdir, batch_size)
        engines = Engines(plan, resident=False)
        began, spent = time.monotonic(), time.process_time()
        (fitted,) = folds.train(engines, [plan.folds[0]], checkpoint_seconds=float("inf"))
        trained_at = time.monotonic()
        result = folds.evaluate(plan, engines.last, fitted)
        ended = time.monotonic()
    return {
        "clips": len(shards),
        "tested": len(result.predictions),
        "training_seconds": trained_at - began,
        "testing_seconds": ended - trained_at,
        "processor_seconds": time.process_time() - spent,
        "waiting_share": (engines.last.waited_seconds or 0.0) / (trained_at - began),
        "set_mb": sum(file.stat().st_size for file in folder.glob("*.npy")) // 10**6,
        **_memory(),
    }


def _memory() -> dict[str, int]:
    """Megabytes of this process: the most that were resident, and of what is resident now what is no file."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kib = {name: int(status[name].split()[0]) for name in ("VmHWM", "RssAnon", "RssFile")}
    names = {"VmHWM": "peak_mb", "RssAnon": "own_mb", "RssFile": "mapped_mb"}
    return {names[name]: value * 1024 // 10**6 for name, value in kib.items()}
