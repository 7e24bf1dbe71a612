"""Trains and tests one architecture, each time without one subject: the main job.

    python -m experiments.loso --arch=early_fusion

trains the paper's network once for every subject, each time without that subject, and tests it on
that subject's sequences (paper VI-A). Interrupted, the same command goes on where it was.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    shared.define_settings("early_fusion")
    shared.define_seeds()
    shared.define_folds()
    shared.define_launch()
    flags.DEFINE_bool("tensorboard", False, "Write event files for TensorBoard at the end.")


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from stfer.data.folds import PROTOCOLS
    from stfer.models import registration
    from stfer.runs import environment
    from stfer.runs.plan import needed_streams, prepare
    from stfer.runs.stop import stop_requests

    if FLAGS.tensorboard:
        from stfer.reporting import tensorboard

        tensorboard.check_installed()
    shared.import_modules()
    configs = [shared.settings(seed) for seed in shared.seeds()]
    registration(configs[0].architecture)
    PROTOCOLS.find(FLAGS.protocol)
    launch = shared.launch()
    source = shared.data().with_streams(needed_streams(configs[0]))
    where = {"data": FLAGS.data, "protocol": FLAGS.protocol, "workdir": FLAGS.workdir}
    command.print_settings("Settings", configs[0].to_dict() | where | _several(configs))
    environment.set_up_jax(source.cache)
    shards, code = source.load(), 0
    with stop_requests() as should_stop:
        for config in configs:
            plan = prepare(
                config, FLAGS.protocol, shards, FLAGS.workdir, FLAGS.modules, source.arguments()
            )
            code = _run(plan, source, launch, should_stop) or code
            if should_stop():
                break
    return code


def _several(configs) -> dict[str, str]:
    """The seeds, where there are several."""
    return {"seed": ", ".join(str(one.seed) for one in configs)} if len(configs) > 1 else {}


def _run(plan, source, launch, should_stop) -> int:
    """One run, its tables and its figures; returns the exit code."""
    from stfer.runs import crossval

    searched = shared.searched_on(plan.shards)
    names = crossval.select_folds(plan, FLAGS.subjects, FLAGS.max_folds, searched)
    if note := crossval.searched_note(plan, names, searched):
        print(f"note: {note}")
    if FLAGS.merge:
        outcome = crossval.merge(plan, names)
    else:
        train = shared.trainer(source)
        outcome = crossval.run(plan, names, launch, should_stop, train, _print_plan(plan))
    if outcome.stopped:
        print(f"\n{outcome.stopped}; the same command goes on where it was ({plan.folder.path})")
        return should_stop.exit_code
    return _report(plan, outcome, names, launch)


def _print_plan(plan):
    from stfer.reporting import console

    def told(names, pending) -> None:
        command.print_settings("Run", console.run_settings(plan, names, pending))

    return told


def _report(plan, outcome, names, launch) -> int:
    """Draw, print, and say what is not finished."""
    from stfer.reporting import console, figures

    if launch.share is not None:
        done = [name for name in launch.own(names) if plan.folder.is_finished(name)]
        print(console.share_text(launch, done, outcome))
        command.print_paths(plan.folder.fold(name) for name in done)
        return 0 if not outcome.failures else command.FAILED
    drawn = figures.draw_run(plan.folder.path) if outcome.result["folds_done"] else []
    print(console.result_text(plan, outcome))
    paths = [plan.folder.path / name for name in ("result.json", "predictions.csv")]
    if FLAGS.tensorboard and drawn:
        from stfer.reporting import tensorboard

        paths.append(tensorboard.write_events(plan.folder.path))
    command.print_paths([*paths, *drawn])
    if FLAGS.merge and outcome.unfinished:
        print(f"not finished: {', '.join(outcome.unfinished)}")
    return 0 if outcome.is_whole else command.FAILED


if __name__ == "__main__":
    command.run(main, define_flags, ("arch", "data", "preset", "subjects", "max_folds", "workdir"))
