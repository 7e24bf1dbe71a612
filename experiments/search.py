"""Searches hyper-parameters on training subjects alone: nobody who is tested later is in a trial.

    python -m experiments.search --arch=rnn --space=learning_rate:log:1e-5:1e-2,batch_size:8|16|32,model.units:int:5:64
    python -m experiments.loso --settings=runs/search/synthetic/rnn/best.json

The people of --held_out are in no trial. With --nested the search is made anew inside each outer fold of --protocol,
and its accuracy stands beside that of the settings without a search. Trials are kept in OUT/study.db: after a kill the
same command goes on; given several times at once, all of them work on one study.
"""

from pathlib import Path

from absl import flags

from experiments import command
from experiments import flags as shared
from experiments.flags import words

FLAGS = flags.FLAGS
_OUTER = (
    *("protocol", "subjects", "max_folds", "parallel", "folds_per_device", "device_data"),
    "checkpoint_seconds",
)
WITHOUT = (_OUTER, "these flags are of the outer folds, which only --nested has")
WITH_NESTED = (("launcher", "tasks", "held_out"), "--nested searches here, on all but each fold's people")  # fmt: skip


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    shared.define_settings("late_fusion")
    shared.define_folds()
    shared.define_seeds()
    shared.define_launch(shares=False, ray=True)
    space = "What is searched: NAME:log:LOW:HIGH, NAME:float:..., NAME:int:..., NAME:A|B|C, separated by commas."
    flags.DEFINE_string("space", None, space)
    flags.DEFINE_integer("trials", 40, "Trials, over all processes and sittings.", lower_bound=1)
    flags.DEFINE_float("minutes", None, "No trial of a search begins after so many.", 0.0)
    flags.DEFINE_integer("inner_folds", 3, "Groups that the searched people are cut into.", 2)
    flags.DEFINE_string("held_out", "0.25", "People in no trial: names, a fraction, or none.")
    flags.DEFINE_bool("nested", False, "Search anew inside each outer fold of --protocol.")
    flags.DEFINE_string("out", None, "Folder of the search; default: WORKDIR/search/DATA/ARCH.")
    flags.DEFINE_integer("tasks", 2, "--launcher=ray: tasks that work on one study.", 1)


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from stfer.runs import environment, final, inner_folds, search, search_space
    from stfer.runs.plan import folder_name, needed_streams
    from stfer.runs.stop import stop_requests

    search.check_optuna()
    words.refuse(*(WITH_NESTED if FLAGS.nested else WITHOUT))
    shared.import_modules()
    seeds = shared.seeds()
    config = shared.settings(seeds[0])
    space = search_space.parse_space(FLAGS.space or "")
    source = shared.data().with_streams(needed_streams(config))
    shown = {name: FLAGS[name].value for name in ("data", "space", "trials", "minutes")}
    command.print_settings("Settings", config.to_dict() | shown | {"seeds": seeds})
    environment.set_up_jax(source.cache)
    shards = source.load()
    kind = "nested" if FLAGS.nested else "search"
    place = Path(FLAGS.workdir) / kind / folder_name(shards.name) / config.architecture
    inner, out = (FLAGS.inner_folds, seeds), Path(FLAGS.out or place)
    found = inner_folds.Search(config, space, shards, out, *inner, modules=FLAGS.modules)
    with stop_requests() as should_stop:
        if FLAGS.nested:
            return _nested(found, source, should_stop)
        fold = final.split(shards.subjects, FLAGS.held_out, "", config.seed)
        return _search(found.among(fold.train), source, fold, should_stop)


def _search(search, source, fold, should_stop) -> int:
    """One search, here or on Ray; then its tables and figures."""
    from stfer.reporting import search as report
    from stfer.runs import search as searching
    from stfer.runs import search_ray, search_results

    people = f"{len(set(search.shards.subjects))} people, {len(search.shards)} sequences"
    outside = ", ".join(fold.subjects) or "nobody, so its best accuracy is of nobody new"
    command.print_settings("Search", {"searched on": people, "in no trial": outside, "out": search.folder})  # fmt: skip
    amount = (FLAGS.trials, FLAGS.minutes, should_stop)
    with report.progress_bar(search, FLAGS.trials) as told:
        if FLAGS.launcher == "ray":
            where = search_ray.Where(source, fold.train, shared.ray_options(), FLAGS.tasks)
            trials = search_ray.run(search, where, *amount, told)
        else:
            trials = searching.run(search, *amount, told)
    print(report.result_text(trials))
    command.print_paths([*search_results.write(search, trials), *report.draw(search.folder)])
    failed = 0 if any(trial.state == "complete" for trial in trials) else command.FAILED
    return should_stop.exit_code if should_stop() else failed


def _nested(template, source, should_stop) -> int:
    """A search in every outer fold, and what the procedure is worth."""
    from stfer.reporting import search as report
    from stfer.reporting import tables
    from stfer.runs import crossval, nested
    from stfer.training.fit import Stopped

    more = (FLAGS.minutes, shared.launch(), source.arguments())
    made = nested.Nested(template, FLAGS.protocol, FLAGS.trials, *more)
    names = crossval.select_folds(made.plan_of_base(), FLAGS.subjects, FLAGS.max_folds)
    try:
        result = nested.run(made, names, should_stop, report.nested_progress(FLAGS.trials))
    except Stopped:
        print(f"\nstopped; the same command goes on where it was ({template.folder})")
        return should_stop.exit_code
    shown = [report.nested_table(result, vote) for vote in ("summed", "maximum")]
    print("\n" + tables.to_text(shown[0]))
    written = tables.write(shown, template.folder / "tables")
    command.print_paths([template.folder / nested.RESULT, *written])
    return 0


if __name__ == "__main__":
    command.run(main, define_flags)
