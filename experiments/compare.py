"""Runs every architecture on every set, then the report: the paper's comparison.

    python -m experiments.compare --data=synthetic

runs what is missing and reuses what is finished: interrupted, the same command goes on where it was. Each
run is one `experiments.loso` in a process of its own, so that it starts with a clean device.
"""

from absl import flags

from experiments import command
from experiments import flags as shared
from experiments.flags import words

FLAGS = flags.FLAGS
OWN = ("data", "archs", "seeds", "out", "vote", "pictures", "launcher")  # not passed on to each run


def define_flags() -> None:
    """Define this command's flags: loso's, but for lists of sets, architectures and seeds."""
    shared.define_data(default=["synthetic"])
    shared.define_settings(None)
    shared.define_folds()
    flags.DEFINE_list(
        "archs",
        [],
        "The architectures (default: all but the systems of section III; 'all' has these, too).",
    )
    flags.DEFINE_list("seeds", ["0"], "The seeds, separated by commas; several give a spread.")
    shared.define_launch(shares=False, ray=True)
    shared.define_report()


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    import functools

    from stfer.runs import compare, environment
    from stfer.runs.plan import needed_streams, prepare

    seeds = compare.parse_seeds(FLAGS.seeds)
    shared.import_modules()
    if FLAGS.launcher != "ray":
        environment.check_platform()
    architectures = compare.check_architectures(FLAGS.archs)
    sources = shared.sets()
    shards = {source.data: source.load() for source in sources}
    opened = functools.cache(
        lambda source: source.load()
    )  # a set once without and once with landmarks
    plans = {
        compare.Job(source.data, name, seed): prepare(
            config := shared.settings(seed, name, source.data), FLAGS.protocol,
            opened(source.with_streams(needed_streams(config))), FLAGS.workdir,
            FLAGS.modules, source.arguments(),
        )
        for source in sources
        for name in architectures
        for seed in seeds
    }  # fmt: skip
    compare.check_plans(plans, FLAGS.subjects)
    finished = compare.finished_jobs(plans, FLAGS.subjects, FLAGS.max_folds, shared.searched_on)
    command.print_settings(
        "Settings",
        {
            "data": "; ".join(f"{one.name}, {len(one)} sequences" for one in shards.values()),
            "architectures": ", ".join(architectures),
            "seeds": ", ".join(map(str, seeds)),
            "runs": f"{len(plans)}, {len(finished)} of them finished",
            "passed on": " ".join(words.given(OWN)) or "nothing",
            "out": shared.report_folder(),
        },
    )
    if FLAGS.launcher == "ray":
        failed, stopped = _on_ray(plans, finished, sources)
    else:
        failed, stopped = compare.run_jobs(list(plans), finished, words.given(OWN))
    if stopped:
        print("\nstopped; the same command goes on where it was", flush=True)
        return stopped
    for job in failed:
        print(f"failed: {job} (its message stands above)")
    return _report(plans, shards) or (command.FAILED if failed else 0)


def _on_ray(plans, finished, sources):
    """Make what is missing of all runs as tasks of a Ray cluster; the failed runs and a stop's exit code."""
    from stfer.runs import compare, crossval
    from stfer.runs.stop import stop_requests

    folders = {source.data: source.folders() for source in sources}

    def chosen(plan):
        searched = shared.searched_on(plan.shards)
        return crossval.select_folds(plan, FLAGS.subjects, FLAGS.max_folds, searched)

    with stop_requests() as should_stop:
        failed, was_stopped = compare.run_on_ray(
            plans, finished, folders, chosen, shared.ray_options(), shared.launch(), should_stop
        )
        return failed, should_stop.exit_code if was_stopped else 0


def _report(plans, shards) -> int:
    from stfer.reporting import from_folders

    folders = [plan.folder.path for plan in plans.values() if plan.folder.path.is_dir()]
    shown = list(shards.values()) if FLAGS.pictures else []
    options = from_folders.Options(shared.report_folder(), FLAGS.vote)
    command.print_paths(from_folders.write(folders, shown, options, strict=False))
    return 0


if __name__ == "__main__":
    command.run(main, define_flags, ("data", "archs", "seeds", "preset", "workdir", "out"))
