"""Tests a run's finished folds again with votes over other pairs of frames, beside the paper's single pair.

    python -m experiments.loso --arch=late_fusion
    python -m experiments.votes --arch=late_fusion

takes the flags of the run that experiments.loso made and trains nothing.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags: loso's, without those of training."""
    shared.define_data()
    shared.define_settings("late_fusion")
    shared.define_folds()
    flags.DEFINE_integer("distance", None, "As --pair_distance, of the votes alone.", 1)
    flags.DEFINE_integer("apex", None, "As --apex_frames, of the votes alone.", 1)
    flags.DEFINE_list(
        "rules", ["last", "sliding", "all"], "Which pairs vote; last is compared with."
    )


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    import tqdm

    from stfer.reporting import tables, votes
    from stfer.runs import crossval, environment, pair_votes
    from stfer.runs.plan import needed_streams, prepare

    shared.import_modules()
    if FLAGS.rules[:1] != ["last"]:
        raise command.UserError("--rules starts with last, which the others are compared with")
    config = shared.settings()
    source = shared.data().with_streams(needed_streams(config))
    environment.set_up_jax(source.cache)
    shards = source.load()
    plan = prepare(config, FLAGS.protocol, shards, FLAGS.workdir, FLAGS.modules, source.arguments())
    names = crossval.select_folds(plan, FLAGS.subjects, FLAGS.max_folds)
    command.print_settings("Votes", {
        "run folder": plan.folder.path, "pairs": ", ".join(FLAGS.rules),
        "distance": FLAGS.distance or config.pair_distance,
        "apex part": f"the last {FLAGS.apex or config.apex_frames} frames",
    })  # fmt: skip
    with tqdm.tqdm(total=len(names), unit="fold", dynamic_ncols=True) as bar:
        found = pair_votes.vote_again(
            plan, names, FLAGS.rules, FLAGS.distance, FLAGS.apex, lambda name: bar.update()
        )
    table = votes.pair_table(found, f"{config.architecture} on {shards.name}, {FLAGS.protocol}")
    print("\n" + tables.to_text(table))
    command.print_paths(tables.write([table], plan.folder.path / "tables"))


if __name__ == "__main__":
    command.run(main, define_flags)
