"""Writes tables, figures and one HTML page from finished runs.

    python -m experiments.report --workdir=runs

reads run folders only and trains nothing. Tables I to VIII stand beside the paper's, differences between
architectures with their intervals and corrected p-values. With --data the page shows frames of
misclassified sequences.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data(default=[])
    flags.DEFINE_string("workdir", "runs", "Folder that holds the runs, at any depth.")
    flags.DEFINE_string(
        "speed", None, "What experiments.benchmark --what=gpu wrote (default: WORKDIR/gpu.json)."
    )
    shared.define_report()


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from stfer.reporting import ablation, from_folders, runs, speed

    measured = speed.read(FLAGS.speed) if FLAGS.speed else speed.find(FLAGS.workdir)
    studies = ablation.find_studies(FLAGS.workdir)
    folders = runs.run_folders(FLAGS.workdir) or [r.folder for s in studies for r in s.ends]
    options = from_folders.Options(shared.report_folder(), FLAGS.vote)
    found = runs.read_runs(folders) or runs.find_runs(FLAGS.workdir)
    pictures = FLAGS.pictures and FLAGS.data
    command.print_settings(
        "Settings", from_folders.settings(found, options, FLAGS.workdir, pictures)
    )
    sets = [source.load() for source in shared.sets()] if FLAGS.pictures else []
    command.print_paths(
        from_folders.write(folders, sets, options, studies=studies, measured=measured)
    )
    return 0


if __name__ == "__main__":
    command.run(main, define_flags, ("workdir", "data", "out", "vote", "pictures"))
