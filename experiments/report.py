"""Tables, figures and one HTML page from finished runs.

    python -m experiments.report --workdir=runs

reads run folders only and trains nothing. Tables I to VIII stand beside the paper's, differences between
architectures with their intervals and corrected p-values. With --data the page shows frames of
misclassified sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from experiments import _app, _data

if TYPE_CHECKING:
    from stfer.reporting.report import FrameSource
    from stfer.reporting.runs import Comparison

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    _data.define_flags()
    flags.DEFINE_string("workdir", "runs", "Folder that holds the runs, at any depth.")
    flags.DEFINE_list(
        "data",
        [],
        "For pictures: the sets of the runs, 'synthetic' or shard folders, separated by commas.",
        allow_override=True,
    )
    define_report_flags()


def define_report_flags() -> None:
    """Define the flags of every command that ends in a report."""
    flags.DEFINE_string("out", None, "Folder for the report (default: WORKDIR/report).")
    flags.DEFINE_enum("vote", "summed", ["summed", "maximum"], "The vote that is compared.")
    flags.DEFINE_bool(
        "pictures",
        True,
        "Show frames of misclassified sequences. Turn off for sets whose licence restricts showing faces.",
    )


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from stfer.reporting import runs

    found = runs.find_runs(FLAGS.workdir)
    comparisons = runs.comparisons(found)
    show_settings(comparisons)
    unfinished = runs.unfinished(runs.run_folders(FLAGS.workdir))
    paths = report(comparisons, load_sets(FLAGS.data), unfinished)
    _app.print_paths([paths[0], *(report_folder() / name for name in ("tables", "figures"))])
    return 0


def show_settings(comparisons: Sequence[Comparison]) -> None:
    """Print what is reported and where to."""
    runs = [run for comparison in comparisons for run in comparison.runs]
    partial = sum(not run.complete for run in runs)
    _app.print_settings(
        "Settings",
        {
            "runs": f"{len(runs)} in {FLAGS.workdir}"
            + (f", {partial} of them partial" if partial else ""),
            "comparisons": "; ".join(comparison.title for comparison in comparisons),
            "vote": FLAGS.vote,
            "pictures": "yes" if FLAGS.pictures and FLAGS.data else "no",
            "out": report_folder(),
        },
    )


def report_folder() -> Path:
    """Where the report goes."""
    return Path(FLAGS.out) if FLAGS.out else Path(FLAGS.workdir) / "report"


def load_sets(names: Sequence[str]) -> list:
    """Open the sets whose frames the page may show; none if pictures are off."""
    if not FLAGS.pictures:
        return []
    return [_data.load(name) for name in names]


def report(
    comparisons: Sequence[Comparison], sets: Sequence, unfinished: Sequence[tuple[Path, int]]
) -> list[Path]:
    """Write the report, print its tables and the summary; returns the paths.

    Args:
        comparisons: what to report.
        sets: shards to take pictures from; empty for none.
        unfinished: folders of runs without a result, with their finished folds.
    """
    from stfer.reporting import report as report_lib
    from stfer.reporting import tables

    shown, paths = report_lib.write_report(
        comparisons,
        report_folder(),
        vote=FLAGS.vote,
        parameters=count_parameters(),
        frames=frame_source(comparisons, sets),
        unfinished=unfinished,
    )
    print()
    print("\n".join(map(tables.to_text, shown)))
    print_summary(comparisons)
    return paths


def print_summary(comparisons: Sequence[Comparison]) -> None:
    """Print the sentences that the page starts with."""
    from stfer.reporting import summary
    from stfer.reporting.scores import compare

    for comparison in comparisons:
        pairs = compare(comparison, FLAGS.vote)
        print(f"Summary: {comparison.title}; vote by {FLAGS.vote} probability")
        holding, not_established = summary.differences(comparison, pairs)
        headline = summary.headline(comparison, FLAGS.vote, pairs)
        for sentence in headline + holding + not_established:
            print(f"  {sentence}")
        for note in summary.partial_notes(comparison):
            print(f"  {note}")
        print()


def count_parameters() -> Mapping[str, int]:
    """Table I from the models themselves: trainable parameters with the paper's number of classes."""
    import math

    import jax
    import jax.numpy as jnp

    from stfer import models
    from stfer.reporting.paper import PAPER

    counts = {}
    for name, paper in PAPER.items():
        model = models.create_model(name, num_classes=paper.classes)
        # Shapes only: nothing is computed and no device is touched.
        variables = jax.eval_shape(
            lambda model=model: model.init(
                jax.random.key(0), jnp.zeros((1, model.frames, 170, 170, 3))
            )
        )
        counts[name] = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return counts


def frame_source(comparisons: Sequence[Comparison], sets: Sequence) -> FrameSource | None:
    """Where the page gets its frames: the sets whose checksum is that of a comparison.

    Raises:
        UserError: `--data` names a set that no run was made on.
    """
    if not sets:
        return None
    known = {comparison.checksum for comparison in comparisons}
    for shards in sets:
        if str(shards.checksum) not in known:
            raise _app.UserError(
                f"--data: no run in {FLAGS.workdir} was made on {shards.name} as it is now "
                f"(checksum {str(shards.checksum)[:12]}); name the set that the runs used, or leave --data out"
            )
    by_checksum = {str(shards.checksum): shards for shards in sets}

    def frames(comparison: Comparison, sequence: str):
        shards = by_checksum.get(comparison.checksum)
        return None if shards is None else shards.frames(shards.ids.index(sequence))

    return frames


if __name__ == "__main__":
    _app.run(main, define_flags)
