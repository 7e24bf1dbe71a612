"""What each change from one preset to another is worth: one at a time and all together, same folds, same seeds.

    python -m experiments.ablate --arch=late_fusion --base=paper --target=strong --protocol=kfold --epochs=40

Flags of settings hold for both ends, so --epochs=40 makes them equally long. Interrupted, the same command goes on. It
ends in a table and a figure "what each change adds" with intervals over people and corrected tests, and in one page.
"""

from pathlib import Path

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    shared.define_settings("late_fusion")
    shared.define_seeds()
    shared.define_folds()
    shared.define_launch(shares=False, ray=True)
    ends = "A preset, or a JSON file such as a search's best.json."
    flags.DEFINE_string("base", "paper", f"What the changes start from. {ends}")
    flags.DEFINE_string("target", "strong", f"What they lead to. {ends}")
    further = "NAME=VALUE that the target has besides, as --set takes it: --change=pairs=all."
    flags.DEFINE_multi_string("change", [], further)
    flags.DEFINE_string("out", None, "Folder; default: WORKDIR/ablation/DATA/ARCH.")
    flags.DEFINE_enum("vote", "summed", ["summed", "maximum"], "The vote that is compared.")


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from stfer.models import registration
    from stfer.runs import ablation, crossval, environment
    from stfer.runs.plan import folder_name, needed_streams
    from stfer.runs.stop import stop_requests

    shared.import_modules()
    registration(FLAGS.arch)
    seeds = shared.seeds()
    base = shared.end_settings("base", [])
    target = shared.end_settings("target", FLAGS.change)
    streams = needed_streams(base) | needed_streams(target)
    source = shared.data().with_streams(streams)
    environment.set_up_jax(source.cache)
    shards = source.load()
    place = Path(FLAGS.workdir) / "ablation" / folder_name(shards.name) / FLAGS.arch
    out = Path(FLAGS.out or place)
    study = ablation.Ablation(
        base, target, shards, FLAGS.protocol, out, seeds, FLAGS.modules, source.arguments()
    )
    first = next(iter(study.plans().values()))
    searched = shared.searched_on(shards, ("base", "target"))
    names = crossval.select_folds(first, FLAGS.subjects, FLAGS.max_folds, searched)
    shown = {"base": FLAGS.base, "target": FLAGS.target, "seeds": ", ".join(map(str, seeds))}
    shown |= {"steps": "; ".join(step.name for step in study.steps())}
    shown |= {"folds": f"{len(names)} of {len(first.folds)} ({FLAGS.protocol})", "out": out}
    command.print_settings("Ablation", shown)
    if note := crossval.searched_note(first, names, searched):
        print(f"note: {note}")
    failures: list[str] = []
    with stop_requests() as should_stop:
        make = _maker(source, should_stop, failures)
        whole = ablation.run(study, names, make, _print_step)
        if should_stop():
            print(f"\nstopped; the same command goes on where it was ({out})")
            return should_stop.exit_code
    reported = _report(out)
    return 0 if reported and whole and not failures else command.FAILED


def _maker(source, should_stop, failures):
    """What makes one run and keeps the folds that failed; false ends the study."""
    from stfer.runs import crossval

    launch, train = shared.launch(), shared.trainer(source)

    def make(plan, names) -> bool:
        outcome = crossval.run(plan, names, launch, should_stop, train)
        for sentence in outcome.failures:
            print(f"failed: {sentence}")
        failures.extend(outcome.failures)
        return not outcome.stopped

    return make


def _print_step(step, seed, number, total) -> None:
    print(f"\n[{number}/{total}] {step}, seed {seed}", flush=True)


def _report(out) -> bool:
    """The table, the figure and the page; whether there was anything to compare."""
    from stfer.reporting import ablation as reporting
    from stfer.reporting import from_folders

    study = reporting.read_study(out)
    if study is None:
        print(f"{out} has no base and step with a finished fold to compare")
        return False
    options = from_folders.Options(out / "report", FLAGS.vote)
    folders = [run.folder for run in study.ends]
    command.print_paths(from_folders.write(folders, [], options, studies=[study]))
    return True


if __name__ == "__main__":
    command.run(main, define_flags)
