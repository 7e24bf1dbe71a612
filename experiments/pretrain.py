"""Makes a model for real faces that saw synthetic people only: a pair network on rendered moments.

    python -m experiments.pretrain --out=models/pair_difference

Renders the moments that are needed of --people people (kept in the cache), trains the pair-difference network on them
and tests it on --test_people others of another seed. The same command gives the same weights on the same machine.
"""

import functools

from absl import flags

from experiments import command, final_model
from experiments import flags as shared

FLAGS = flags.FLAGS
SIZE = 96


def define_flags() -> None:
    """Define this command's flags."""
    flags.DEFINE_string("data", "pairs", "Not to be given: the pairs are rendered.")
    flags.DEFINE_string("cache_dir", None, "Folder for rendered pairs and compiled programs.")
    flags.DEFINE_integer("people", 320, "Synthetic people to train on.", lower_bound=2)
    flags.DEFINE_integer("people_seed", 1, "Seed of these people.", lower_bound=0)
    flags.DEFINE_integer("test_people", 24, "Other people to test on.", lower_bound=1)
    flags.DEFINE_integer("workers", None, "Processes that render (all cores).")
    shared.define_settings("pair_difference")
    shared.define_seeds()
    flags.DEFINE_string("out", "models/pair_difference", "The model folder to make.")
    shared.define_launch(shares=False, ray=False)


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from stfer.data.sources import default_cache_dir
    from stfer.runs import environment, pretraining

    FLAGS.preset = FLAGS.preset or (None if FLAGS.settings else "carry")
    configs = [shared.settings(seed) for seed in shared.seeds()]
    if configs[0].validation:
        raise command.UserError(
            f"--validation={configs[0].validation}: every one of --people is trained on and --test_people are others; "
            "give --validation=none"
        )
    folders = final_model.folders(FLAGS.out, configs)
    cache, code = FLAGS.cache_dir or default_cache_dir(), 0
    people = {"people": FLAGS.people, "people_seed": FLAGS.people_seed}
    environment.set_up_jax(cache)
    sets = pretraining.pair_sets(
        cache, FLAGS.people, FLAGS.people_seed, FLAGS.test_people, SIZE, FLAGS.workers
    )
    trainings = [pretraining.training(config, sets, out) for out, config in folders.items()]
    for training in final_model.missing(trainings):
        shown = training.config.to_dict() | people | {"out": training.out}
        command.print_settings("Settings", shown)
        write = functools.partial(pretraining.write, training, sets=sets)
        if code := final_model.make(training, write):
            break
    return code


if __name__ == "__main__":
    command.run(main, define_flags, ("people", "test_people", "out"))
