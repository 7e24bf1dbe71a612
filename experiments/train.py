"""Trains one architecture on a whole set and writes a model folder (the final model of paper section VII).

    python -m experiments.train --arch=late_fusion --held_out=0.25 --out=models/late_fusion
    python -m experiments.train --arch=late_fusion --data=ck_plus,oulu_strong,oulu_weak,oulu_dark --held_out=P042

Held-out subjects are tested at the end and decide nothing. With --validation and --patience further subjects are
set aside, and the epoch of their smallest loss is used, else the last. Interrupted, the same command goes on.
"""

import os
from pathlib import Path

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS
PATIENCE = 10


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    shared.define_settings("late_fusion")
    flags.DEFINE_string(
        "held_out", "", "Subjects to test on: names, a fraction such as 0.1, or none."
    )
    flags.DEFINE_string("out", None, "The model folder to make; default: models/ARCH.")
    shared.define_launch(shares=False, ray=False)


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from stfer.models import registration
    from stfer.reporting import console
    from stfer.runs import environment, final, modules
    from stfer.runs.plan import needed_streams
    from stfer.storage.files import check_new

    modules.import_modules(FLAGS.modules)
    registration(FLAGS.arch)
    out = Path(os.path.abspath(FLAGS.out or f"models/{FLAGS.arch}"))
    check_new(out)
    config = _settings()
    command.print_settings("Settings", config.to_dict() | {"data": FLAGS.data, "out": out})
    source = shared.data().with_streams(needed_streams(config))
    environment.set_up_jax(source.cache)
    shards = source.load()
    fold = final.split(shards.subjects, FLAGS.held_out, config.validation, config.seed)
    training = final.FinalTraining(config, shards, fold, out, FLAGS.modules, source.arguments())
    command.print_settings("Training", console.training_settings(training.plan))
    return _run(training)


def _settings():
    """The settings; validation subjects stop early, as is usual, unless --patience says otherwise."""
    if FLAGS.validation and FLAGS.patience is None:
        FLAGS.patience = PATIENCE
        if FLAGS.recompute_statistics is None:
            FLAGS.recompute_statistics = False  # The epoch is chosen by the running statistics.
    return shared.settings()


def _run(training) -> int:
    import shutil

    from stfer.errors import keep_traceback
    from stfer.reporting import console
    from stfer.runs.stop import stop_requests
    from stfer.training.fit import NonFiniteLossError, Stopped

    with stop_requests() as should_stop, training.plan.folder.lock():
        try:
            with console.epoch_bar(training.plan) as on_epoch:
                fitted = training.train(shared.launch(), should_stop, on_epoch)
        except Stopped as stop:
            print(f"\n{stop} in {training.states}; the same command goes on where it was")
            return should_stop.exit_code
        except NonFiniteLossError as error:
            raise command.UserError(f"{error}; try a smaller --learning_rate") from error
        except Exception as error:
            keep_traceback(error, training.states)
            raise
        written, model = training.write(fitted)
    print(console.training_text(model, fitted))
    shutil.rmtree(training.states)
    command.print_paths([written])
    return 0


if __name__ == "__main__":
    command.run(main, define_flags)
