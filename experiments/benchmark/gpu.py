"""All that a lent GPU must answer, as parts that are kept one by one (`experiments.benchmark.parts`).

    python -m experiments.benchmark --what=gpu --minutes=9 --out=runs/gpu.json

Given again, the same command makes what is missing. `experiments.report` shows what is there. Peers that are not
installed are noted and left out. With --tiny everything is tried with tiny networks, on whatever device there is.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from experiments.benchmark import networks, parts
from experiments.benchmark.networks import Absent, Contender

FLAGS = flags.FLAGS
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
CONTENDERS = ("ours", "torch_eager", "torch_compiled")
FOLDS_PER_DEVICE = (1, 2, 4, 8)
EPOCHS = 200
TEST_PROCESSES = 9
TINY_FIELDS = {
    "block1_features": 4,
    "block2_features": 4,
    "block3_features": [4, 4, 4],
    "head_features": [8, 8],
}
SETTINGS = (
    "archs",
    "batch_size",
    "size",
    "repeats",
    "loop_steps",
    "epochs",
    "tiny",
    "accuracy_data",
)


def plan() -> list[parts.Part]:
    """The parts, the most important first, with the seconds that they are expected to take."""
    first, *others = FLAGS.archs
    # An H200 with 16 cores took these for networks and tests; the others are estimated: imports and the compiler are
    # most of them.
    seconds = {"networks": 75.0, "subject": 90.0, "folds": 110.0}
    kinds = [(kind, arch) for arch in FLAGS.archs for kind in ("networks", "subject")]
    named = [("device", 10.0), ("tests", 90.0)]
    named += [(f"{kind}:{arch}", seconds[kind]) for kind, arch in kinds]
    named += [(f"folds:{first}", seconds["folds"]), ("accuracy", 200.0)]
    named += [(f"folds:{arch}", seconds["folds"]) for arch in others]
    return [parts.Part(name, 1.0 if FLAGS.tiny else needed) for name, needed in named]


def settings() -> dict[str, Any]:
    """What makes two measurements the same."""
    return {name: FLAGS[name].value for name in SETTINGS}


def lacks(result: Any) -> bool:
    """Whether PyTorch was not there when a part was made, and is there now."""
    without = isinstance(result, dict) and result.get("torch") is False
    return without and _takes_torch() and networks.has_torch()


def _takes_torch() -> bool:
    return any(name.startswith("torch") for name in FLAGS.contenders)


def show(results: Mapping[str, Any]) -> None:
    """Print the table."""
    from stfer.reporting import speed, tables

    print("\n" + tables.to_text(speed.table(results)))


def make(name: str) -> Any:
    """Make one part, in this process."""
    kind, _, arch = name.partition(":")
    one_by_name = {"device": device, "tests": tests, "accuracy": accuracy}
    one_by_arch = {"networks": one_by_one, "subject": subject, "folds": folds}
    return one_by_name[kind]() if kind in one_by_name else one_by_arch[kind](arch)


def device() -> dict[str, Any]:
    """The card."""
    from stfer.runs.environment import hardware

    return hardware()


def tests() -> dict[str, Any]:
    """The tests that are marked `gpu`, on this device, in several processes where pytest-xdist is there."""
    import importlib.util
    import re

    import jax

    folder = Path(__file__).parents[2] / "tests"
    if not folder.is_dir():
        raise ValueError(f"{folder} is not there: the tests come with the sources")
    platform = "cpu" if jax.default_backend() == "cpu" else "cuda"
    chosen = ["tests/training/test_batches.py"] if FLAGS.tiny else ["-m", "gpu"]
    options = [
        "-q",
        "-p", "no:cacheprovider",
        "-p", "no:benchmark",  # Beside xdist it warns, and a warning ends the tests.
        "--continue-on-collection-errors",  # Where a library is missing its tests are errors; the others run.
    ]  # fmt: skip
    if importlib.util.find_spec("xdist") and not FLAGS.tiny:
        options += ["-n", str(min(os.cpu_count() or 1, TEST_PROCESSES))]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen],
        cwd=folder.parent,
        env=os.environ | {"JAX_PLATFORMS": platform},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    counts = {
        word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", lines[-1])
    }
    if not counts:
        raise ValueError(f"pytest ended with code {done.returncode}: {lines[-1]}")
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"counts": counts, "failed": failed}


def _network(arch: str, precision: str) -> dict[str, Any]:
    """What a contender is built with."""
    fields = TINY_FIELDS if FLAGS.tiny else {}
    return {
        "arch": arch, "num_classes": 6, "size": FLAGS.size, "batch_size": FLAGS.batch_size,
        "precision": precision, "fields": fields,
    }  # fmt: skip


def one_by_one(arch: str) -> dict[str, Any]:
    """Steps and forward passes beside PyTorch in every precision: all are built at once, and measured in turns."""
    absent: dict[str, dict[str, str]] = {precision: {} for precision in PRECISIONS}

    def build(precision: str, name: str) -> dict[str, Contender]:
        return networks.start([name], _network(arch, precision), absent[precision])

    names = [name for name in CONTENDERS if name in FLAGS.contenders]
    pairs = [(precision, name) for precision in PRECISIONS for name in names]
    with concurrent.futures.ThreadPoolExecutor(len(pairs)) as pool:
        built = list(pool.map(lambda pair: build(*pair), pairs))
    found: dict[str, Any] = {}
    try:
        for precision in PRECISIONS:
            own = [one for (which, _), one in zip(pairs, built, strict=True) if which == precision]
            contenders = {name: one for group in own for name, one in group.items()}
            _leave_out_others(contenders, absent[precision])
            figures = networks.in_turns(contenders, absent[precision])
            figures["ratios"] = networks.ratios(figures["contenders"])
            found[precision] = figures
    finally:
        for group in built:
            for contender in group.values():
                contender.close()
    operations = networks.operations(
        arch, FLAGS.batch_size, FLAGS.size, _network(arch, "")["fields"]
    )
    torch = networks.has_torch() if _takes_torch() else None
    return {"operations": operations, "precisions": found, "torch": torch}


def _leave_out_others(contenders: dict[str, Contender], absent: dict[str, str]) -> None:
    """Peers whose network has another number of parameters than ours say nothing."""
    if "ours" not in contenders:
        return
    ours = contenders["ours"].built["parameters"]
    for name, contender in list(contenders.items()):
        if (theirs := contender.built["parameters"]) != ours:
            absent[name] = f"its network has {theirs} parameters, ours {ours}"
            contenders.pop(name).close()


def _training(arch: str, precision: str, folds_per_device: int) -> dict[str, Any]:
    sequences, subjects = (8, 8) if FLAGS.tiny else (198, 118)
    more = {"folds_per_device": folds_per_device, "sequences": sequences, "subjects": subjects}
    return _network(arch, precision) | more


def subject(arch: str) -> dict[str, Any]:
    """Seconds a subject at CK+'s size, in every precision: all are built at once, and measured one by one."""
    return _trained({p: _training(arch, p, 1) for p in PRECISIONS}, arch, len(PRECISIONS))


def folds(arch: str) -> dict[str, Any]:
    """Seconds a subject with several folds side by side on the device.

    All are built at once, since the compiler is most of the time. A training keeps its memory until it ends; those
    that failed, as one that found none does, are built again one by one.
    """
    numbers = FOLDS_PER_DEVICE[:2] if FLAGS.tiny else FOLDS_PER_DEVICE
    trainings = {str(n): _training(arch, "float32", n) for n in numbers}
    found = _trained(trainings, arch, len(numbers))
    absent = {name: trainings[name] for name in found if "absent" in found[name]}
    return found | _trained(absent, arch, 1)


def _trained(trainings: dict[str, dict], arch: str, beside: int) -> dict[str, Any]:
    """Build so many trainings beside each other, and measure one at a time."""
    found: dict[str, Any] = {}
    for some in itertools.batched(trainings, beside):
        with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(beside) as pool:
            built = {name: pool.submit(_started, stack, trainings[name]) for name in some}
            # A compiler beside a measurement would slow it.
            concurrent.futures.wait(built.values())
            for name, worker in built.items():
                try:
                    found[name] = _seconds_a_subject(worker.result(), trainings[name], arch)
                except Absent as reason:  # out of memory, say: the others go on
                    found[name] = {"absent": str(reason)}
    return found


def _started(stack: contextlib.ExitStack, training: dict) -> Contender:
    """A training that is compiled, and ends with `stack`."""
    worker = stack.enter_context(contextlib.closing(Contender("trainings")))
    worker.built = worker.ask("build", settings=training)
    return worker


def _seconds_a_subject(worker: Contender, training: dict, arch: str) -> dict[str, Any]:
    """Few epochs, scaled to the paper's 200; what a training costs once is not scaled with them."""
    epochs = FLAGS.epochs
    short, long = (
        statistics.median(
            worker.ask("loop", steps=steps)["seconds"] * steps for _ in range(min(FLAGS.repeats, 3))
        )
        for steps in (1, 1 + epochs)
    )
    rate = worker.ask("matrix_product")["rate"]
    memory = {"epochs_measured": epochs, "memory": worker.ask("memory")}
    if long <= short:
        reason = (
            f"{1 + epochs} epochs took {long:.3g} s and one took {short:.3g} s, which tells nothing of an epoch: "
            "give more --epochs"
        )
        return memory | {"not_measured": reason}
    return memory | scaled(short, long, epochs, training, arch, rate)


def scaled(
    short: float, long: float, epochs: int, training: Mapping[str, Any], arch: str, rate: float
) -> dict[str, float]:
    """Seconds a subject, from a training of one epoch and a longer one.

    Args:
        short: Seconds of one epoch, with what a training costs once.
        long: Seconds of `1 + epochs` epochs; more than `short`.
        epochs: How many more.
        training: What was trained.
        arch: Its architecture.
        rate: Operations a second of a large matrix product.
    """
    beside, trained = training["folds_per_device"], training["sequences"]
    epoch = (long - short) / epochs
    once = max(short - epoch, 0.0)
    steps = math.ceil((trained - trained // training["subjects"]) / FLAGS.batch_size)
    step = networks.operations(arch, FLAGS.batch_size, FLAGS.size, training["fields"])["training"]
    return {
        "seconds_an_epoch": epoch / beside,
        "seconds_once": once / beside,
        "seconds_a_subject": (once + EPOCHS * epoch) / beside,
        "limit": beside * steps * step / (rate * epoch),
    }


def accuracy() -> dict[str, Any]:
    """The same folds in float32 and in bfloat16: accuracy, and how far the predictions are apart."""
    import pandas as pd

    from stfer.data.sources import default_cache_dir
    from stfer.runs import cross_validate, environment
    from stfer.runs.local import Launch

    environment.set_up_jax(default_cache_dir())
    arch, launch = FLAGS.archs[0], Launch(folds_per_device=1 if FLAGS.tiny else 4)
    settings = {"epochs": 1, "model": TINY_FIELDS} if FLAGS.tiny else {}
    settings |= {"preset": "demo", "max_folds": 2 if FLAGS.tiny else 8, "launch": launch}
    found: dict[str, Any] = {"architecture": arch}
    tables = {}
    for precision in ("float32", "bfloat16"):
        with tempfile.TemporaryDirectory() as folder:
            result = cross_validate(
                arch, FLAGS.accuracy_data, folder, precision=precision, **settings
            )
            (file,) = Path(folder).rglob("predictions.csv")
            rows = pd.read_csv(file)
        found[precision] = result["votes"]["summed"]["accuracy"]
        found |= {"sequences": result["sequences"], "folds": result["folds_done"]}
        tables[precision] = rows[rows.vote == "summed"].set_index("sequence").sort_index()
    classes = list(tables["float32"].columns[4:])
    one, other = (tables[precision] for precision in ("float32", "bfloat16"))
    found["same_class"] = float((one.predicted == other.predicted).mean())
    found["largest_difference"] = float((one[classes] - other[classes]).abs().max().max())
    return found
