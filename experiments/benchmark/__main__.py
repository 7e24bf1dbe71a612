"""Measures speed: forward and training steps beside PyTorch and Keras, single layers, prediction, a GPU.

    python -m experiments.benchmark --archs=single_frame --torch_python=~/torch/bin/python
    python -m experiments.benchmark --what=gpu --minutes=9 --out=runs/gpu.json

Every contender of a comparison lives in a process of its own and they take turns, so that a busy machine slows all
of them alike. A peer whose library is not installed is named and left out; --torch_python and --keras_python point to
interpreters that have it. "loop" is a training step inside several in a row.
"""

import json
import os
import sys
from pathlib import Path

from absl import flags

from experiments import command
from experiments.benchmark import networks, parts
from experiments.benchmark.networks import ARCHITECTURES, CONTENDERS
from experiments.benchmark.peers.systems import SYSTEMS
from stfer.nearest import did_you_mean
from stfer.training.config import PRECISIONS

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    flags.DEFINE_enum(
        "what",
        "training",
        ["training", "layers", "generation", "prediction", "gpu", "scale"],
        "What to measure: networks, single layers, frames made, videos classified end to end, all that "
        "is to know of a GPU, or what grows with folds and clips.",
    )
    flags.DEFINE_list(
        "archs", list(ARCHITECTURES), "Architectures to measure; of training, section III's too."
    )
    flags.DEFINE_list("contenders", list(CONTENDERS), "Who takes part.")
    flags.DEFINE_integer("batch_size", 32, "Clips a step.", lower_bound=1)
    flags.DEFINE_integer("size", 170, "Pixels a side.", lower_bound=128)
    flags.DEFINE_integer("repeats", 7, "Measurements after warm-up.", lower_bound=1)
    flags.DEFINE_integer("loop_steps", 4, "Training steps in a row in a loop.", lower_bound=1)
    flags.DEFINE_enum("precision", "float32", list(PRECISIONS), "Of the arithmetic.")
    flags.DEFINE_string("torch_python", sys.executable, "Interpreter that has PyTorch.")
    flags.DEFINE_string("keras_python", sys.executable, "Interpreter that has Keras.")
    flags.DEFINE_string("out", "runs/benchmark.json", "JSON file for the figures.")
    flags.DEFINE_integer("subjects", 2, "Subjects to generate (--what=generation).", lower_bound=1)
    parts.define_flags()


def main(argv: list[str]) -> None:
    """Measure and write."""
    del argv
    for flag, given, known in (
        ("archs", FLAGS.archs, (*ARCHITECTURES, *(SYSTEMS if FLAGS.what == "training" else ()))),
        ("contenders", FLAGS.contenders, CONTENDERS),
    ):
        for name in given:
            if name not in known:
                raise ValueError(
                    f"--{flag}: unknown {name!r}; known are {', '.join(known)}{did_you_mean(name, known)}"
                )
    names = ["what", "archs", "contenders", "batch_size", "size", "repeats", "precision", "out"]
    command.print_settings("Benchmark", {name: FLAGS[name].value for name in names})
    if FLAGS.what in ("gpu", "scale"):
        from experiments.benchmark import gpu, scale

        command.print_paths([parts.measure({"gpu": gpu, "scale": scale}[FLAGS.what])])
        return
    results = {"settings": {name: FLAGS[name].value for name in names}, "cores": os.cpu_count()}
    if FLAGS.what == "generation":
        results["generation"] = networks.generation()
    elif FLAGS.what == "layers":
        import jax

        from experiments.benchmark import layers

        if FLAGS.precision != "float32":
            raise command.UserError("--what=layers measures float32 only: leave --precision out")
        with jax.default_matmul_precision("highest"):
            asked = FLAGS.batch_size, FLAGS.size, FLAGS.repeats
            results["layers"] = layers.measure(*asked) + layers.augmentations(*asked)
        layers.print_rows(results["layers"])
    elif FLAGS.what == "prediction":
        from experiments.benchmark import prediction
        from stfer.data.sources import default_cache_dir
        from stfer.runs import environment

        environment.set_up_jax(default_cache_dir())
        results["prediction"] = prediction.measure(FLAGS.archs)
        prediction.print_rows(results["prediction"])
    else:
        for arch in FLAGS.archs:
            results[arch] = networks.measure(arch)
            results[arch]["ratios"] = networks.ratios(results[arch]["contenders"])
            print(networks.table(arch, results[arch]), flush=True)
            write(results)  # an hour's work is not lost to what comes after
    command.print_paths([write(results)])


def write(results: dict) -> Path:
    """Write the figures so far; returns the path."""
    out = Path(FLAGS.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=2) + "\n")
    return out


if __name__ == "__main__":
    command.run(main, define_flags)
