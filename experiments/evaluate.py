"""Tests a trained model on shards, of its own set or of another.

    python -m experiments.evaluate --model=models/late_fusion --data=shards/oulu_strong

Class sets are matched by name and a mismatch is explained. Sequences of people whom the model was trained
on are left out where there are others (--people=all keeps them, with a warning). The faces of the synthetic set are cut
as the model's were.
"""

from __future__ import annotations

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    shared.define_model()
    flags.DEFINE_enum(
        "people", "new", ["new", "all"], "Test on people whom the model has not seen, or on all."
    )
    flags.DEFINE_enum(
        "classes",
        "model",
        ["model", "shared"],
        "Which classes can be predicted: all of the model's, or those that the data have too.",
    )
    flags.DEFINE_string(
        "out", None, "Folder to make for the result; default: evaluations/MODEL-on-DATA-DIGEST."
    )


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    from pathlib import Path

    import tqdm

    from stfer.inference import evaluation, load_model
    from stfer.reporting.console import votes_text
    from stfer.runs import environment
    from stfer.storage.files import check_new

    if FLAGS.out:
        check_new(FLAGS.out)
    shared.import_modules()
    environment.set_up_jax(shared.data().cache)
    where = shared.model_folder()
    model = load_model(where)
    shards = shared.data().with_streams(model.inputs).cut_for(model.crop).load()
    selection = evaluation.select(model, shards, FLAGS.people, FLAGS.classes)
    out = Path(FLAGS.out or evaluation.default_folder(model, where, shards, selection))
    check_new(out)
    count = len(selection.rows)
    command.print_settings(
        "Evaluation",
        {
            "model": f"{where} ({model.architecture})",
            "data": f"{shards.name}: {count} of {len(shards)} sequences",
            "classes": ", ".join(selection.match.shared),
            "out": out,
        },
    )
    for note in selection.notes:
        print(f"note: {note}")
    with tqdm.tqdm(total=count, unit="sequence", dynamic_ncols=True) as bar:
        found, paths = evaluation.evaluate_into(model, shards, selection, out, where, bar.update)
    print(f"\n{count} sequences in {found.seconds:.2f} s, compilation included")
    print(votes_text(found.votes, selection.classes))
    command.print_paths(paths)


if __name__ == "__main__":
    command.run(main, define_flags, ("model", "data", "people", "classes", "out"))
