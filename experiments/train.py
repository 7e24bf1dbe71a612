"""Trains one architecture on a whole set and writes a model folder (the final model of paper section VII).

    python -m experiments.train --arch=late_fusion --held_out=0.25 --out=models/late_fusion
    python -m experiments.train --arch=late_fusion --data=ck_plus,oulu_strong,oulu_weak,oulu_dark --held_out=P042

Held-out subjects are tested at the end and decide nothing. With --validation and --patience further subjects are
set aside, and the epoch of their smallest loss is used, else the last. Interrupted, the same command goes on.
"""

from absl import flags

from experiments import command, final_model
from experiments import flags as shared

FLAGS = flags.FLAGS
PATIENCE = 10


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    shared.define_settings("late_fusion")
    shared.define_seeds()
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
    from stfer.runs import environment, final
    from stfer.runs.plan import needed_streams

    shared.import_modules()
    configs = [_settings(seed) for seed in shared.seeds()]
    name = configs[0].architecture
    registration(name)
    folders = final_model.folders(FLAGS.out or f"models/{name}", configs)
    source = shared.data().with_streams(needed_streams(configs[0]))
    environment.set_up_jax(source.cache)
    shards, code, trainings = source.load(), 0, []
    for out, config in folders.items():
        fold = final.split(shards.subjects, FLAGS.held_out, config.validation, config.seed)
        more = (FLAGS.modules, source.arguments())
        trainings.append(final.FinalTraining(config, shards, fold, out, *more))
    for training in final_model.missing(trainings):
        where = {"data": FLAGS.data, "out": training.out}
        command.print_settings("Settings", training.config.to_dict() | where)
        command.print_settings("Training", console.training_settings(training.plan))
        if code := final_model.make(training, training.write):
            break
    return code


def _settings(seed):
    """The settings; validation subjects stop early, as is usual, unless --patience says otherwise."""
    if shared.is_somebody(FLAGS.validation) and FLAGS.patience is None:
        FLAGS.patience = PATIENCE
        if FLAGS.recompute_statistics is None:
            FLAGS.recompute_statistics = False  # The epoch is chosen by the running statistics.
    return shared.settings(seed)


if __name__ == "__main__":
    command.run(main, define_flags, ("arch", "data", "held_out", "validation", "preset", "out"))
