"""Whole networks side by side with their peers: contenders in processes of their own, which take turns."""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from absl import flags

FLAGS = flags.FLAGS
ARCHITECTURES = ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")
CONTENDERS = ("ours", "torch_eager", "torch_compiled", "keras")
FOLDER = Path(__file__).parent / "peers"


class Absent(Exception):
    """A contender that cannot take part, with the reason."""


class Contender:
    """A process that answers `experiments.benchmark.peers.worker`'s requests."""

    def __init__(self, name: str):
        self.name = name
        script, interpreter = {
            "ours": ("ours.py", sys.executable),
            "trainings": ("trainings.py", sys.executable),
            "keras": ("keras_models.py", FLAGS.keras_python),
        }.get(name, ("torch_models.py", FLAGS.torch_python))
        command = [os.path.expanduser(interpreter), str(FOLDER / script)]
        command += ["--compiled"] if name == "torch_compiled" else []
        # Contenders share a GPU; JAX would take most of its memory for itself.
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        if name in ("ours", "trainings"):
            paths = [str(FOLDER.parents[2]), environment.get("PYTHONPATH", "")]
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if FLAGS.debug else subprocess.DEVNULL,
                env=environment,
                text=True,
            )
        except OSError as error:
            raise Absent(f"{command[0]}: {error.strerror}") from error

    def ask(self, what: str, **arguments: object) -> dict:
        """Send a request and wait for the answer; raise Absent if it is an error."""
        try:
            self.process.stdin.write(json.dumps({"what": what, **arguments}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            module = "keras and tensorflow" if self.name == "keras" else self.name.split("_")[0]
            raise Absent(f"its process ended; is {module} installed? (--debug shows why)")
        answer = json.loads(line)
        if "error" in answer:
            raise Absent(answer["error"])
        return answer

    def warm_up(self) -> None:
        """Measure the first calls."""
        self.first = {
            what: self.ask(what, steps=steps)["seconds"] * steps
            for what, steps in (("forward", 1), ("step", 1), ("loop", FLAGS.loop_steps))
        }

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


@functools.cache
def has_torch() -> bool:
    """Whether the interpreter that --torch_python names is there and has PyTorch."""
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    try:
        asked = subprocess.run(
            [os.path.expanduser(FLAGS.torch_python), "-c", look], capture_output=True, check=False
        )
    except OSError:
        return False
    return asked.returncode == 0


def start(names: list[str], settings: dict, absent: dict[str, str]) -> dict[str, Contender]:
    """Build a contender for each name; measure the first calls, compilation included."""
    contenders = {}
    for name in names:
        try:
            contender = contenders[name] = Contender(name)
            contender.built = contender.ask("build", settings=settings)
            first = next(iter(contenders))
            here, there = (contenders[n].built["parameters"] for n in (name, first))
            if here != there:
                raise Absent(f"its network has {here} parameters, that of {first} {there}")
            contender.warm_up()
        except Absent as reason:
            absent[name] = str(reason)
            if name in contenders:
                contenders.pop(name).close()
    return contenders


def measure(arch: str) -> dict:
    """All contenders on one architecture."""
    settings = {"arch": arch, "num_classes": 6, "size": FLAGS.size}
    settings |= {"batch_size": FLAGS.batch_size, "precision": FLAGS.precision}
    absent: dict[str, str] = {}
    contenders = start(FLAGS.contenders, settings, absent)
    try:
        figures = in_turns(contenders, absent)
    finally:
        for contender in contenders.values():
            contender.close()
    known = arch in ARCHITECTURES
    counted = operations(arch, FLAGS.batch_size, FLAGS.size) if known else None
    return {"operations": counted} | figures


def in_turns(contenders: dict[str, Contender], absent: dict[str, str]) -> dict:
    """Measure contenders that are warm; one that fails goes to `absent`."""
    times = {name: {"forward": [], "step": [], "loop": []} for name in contenders}
    rates, memory = [], {}
    asked = [("forward", 1), ("step", 1), ("loop", FLAGS.loop_steps), ("matrix_product", 1)]
    for what, steps in [*asked * FLAGS.repeats, ("memory", 1)]:
        for name, contender in list(contenders.items()):
            try:
                answer = contender.ask(what, steps=steps)
            except Absent as reason:  # out of memory, say: the others go on
                absent[name] = str(reason)
                contenders.pop(name).close()
                continue
            if what == "matrix_product":
                rates.append(answer["rate"])
            elif what == "memory":
                memory[name] = answer
            else:
                times[name][what].append(answer)
    return {
        "parameters": next((c.built["parameters"] for c in contenders.values()), None),
        "absent": absent,
        "matrix_product_rate": max(rates, default=None),
        "contenders": {
            name: {
                "about": contender.built["about"],
                "first_seconds": contender.first,
                "memory": memory[name],
                **{what: summary(answers) for what, answers in times[name].items()},
            }
            for name, contender in contenders.items()
        },
    }


def summary(answers: list[dict]) -> dict:
    """Median and least wall time and processor time, in seconds."""
    return {
        f"{statistic.__name__}_{kind}": statistic(answer[kind] for answer in answers)
        for kind in ("seconds", "cpu_seconds")
        for statistic in (statistics.median, min)
    }


def operations(
    arch: str, batch_size: int, size: int, fields: dict | None = None
) -> dict[str, float]:
    """Floating-point operations by the plain formulas (two for a product and its sum), whatever the algorithm.

    A training step takes three times a forward pass, less the gradient by the clips.
    """
    import jax
    import jax.numpy as jnp

    from stfer.models import create_model

    model = create_model(arch, **(fields or {}))
    clips = jax.ShapeDtypeStruct((batch_size, model.frames, size, size, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))  # shapes only: a GPU is the contenders'
    (_, endpoints), variables = jax.eval_shape(model.init_with_output, key, clips)
    forward, first = 0, 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"]):
        *layers, kind = (entry.key for entry in path)
        if kind not in ("kernel", "recurrent_kernel"):
            continue
        name = "/".join(layers).removeprefix("tower/")
        name = "gru/states" if name.startswith("gru") else name
        output = endpoints.get(name, endpoints["logits"])
        channels = leaf.shape[-1] // 3 if name == "gru/states" else leaf.shape[-1]
        count = 2 * leaf.size * (output.size // channels)
        forward += count
        first += count if name == "block1/conv" else 0
    return {"forward": forward, "training": 3 * forward - first}


def table(arch: str, figures: dict) -> str:
    """The figures of one architecture as text, times in milliseconds."""
    contenders, counted = figures["contenders"], figures["operations"]
    rate = figures["matrix_product_rate"] or 0
    work = f"{counted['training'] / 1e9:.0f} GFLOP a training step, " if counted else ""
    lines = [
        f"\n{arch}: {figures['parameters'] or 0:,} parameters, {work}matrix products at {rate / 1e9:.0f} GFLOP/s",
        f"{'median ms (least)':<16} {'forward':>15} {'step':>15} {'loop':>15} {'processor':>10} {'limit':>6}"
        f" {'memory MB':>10} {'first s':>8}",
    ]
    for name, row in contenders.items():
        cells = [
            f"{row[w]['median_seconds'] * 1e3:8.0f} ({row[w]['min_seconds'] * 1e3:4.0f})"
            for w in ("forward", "step", "loop")
        ]
        limit = "-"
        if counted and rate:
            limit = f"{counted['training'] / rate / row['loop']['median_seconds']:.0%}"
        memory = (row["memory"]["device"] or row["memory"]["resident"]) / 1e6
        lines.append(
            f"{name:<16} {' '.join(f'{cell:>15}' for cell in cells)}"
            f" {row['loop']['median_cpu_seconds'] * 1e3:>10.0f}"
            f" {limit:>6} {memory:>10.0f}"
            f" {row['first_seconds']['step']:>8.1f}"
        )
    lines += [f"{name:<16} absent: {reason}" for name, reason in figures["absent"].items()]
    if ratios := figures.get("ratios"):
        lines.append("ours / fastest peer: " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items()))
    return "\n".join(lines)


def ratios(contenders: dict) -> dict[str, float]:
    """Our median over the fastest peer's, by wall time and by processor time; a peer's best form counts."""
    peers = [row for name, row in contenders.items() if name != "ours"]
    if "ours" not in contenders or not peers:
        return {}
    ours, found = contenders["ours"], {}
    for what in ("forward", "step", "loop"):
        for kind in ("seconds", "cpu_seconds"):
            least = min(peer[what][f"median_{kind}"] for peer in peers)
            label = what if kind == "seconds" else f"{what} (processor)"
            found[label] = ours[what][f"median_{kind}"] / least
    return found


def generation() -> dict:
    """Frames a second of the synthetic set's generator."""
    import tempfile
    import time

    from stfer.data.synthetic.dataset import generate

    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        out = generate(Path(folder) / "set", subjects=FLAGS.subjects, progress=False)
        seconds = time.perf_counter() - started
        frames = sum(1 for path in out.rglob("*") if path.suffix in (".png", ".jpg", ".jpeg"))
    print(f"{frames} frames in {seconds:.1f} s, {frames / seconds:.1f} a second")
    return {"frames": frames, "seconds": seconds, "frames_per_second": frames / seconds}
