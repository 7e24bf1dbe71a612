"""Tests a trained model on shards, of its own set or of another.

    python -m experiments.evaluate --model=models/late_fusion --data=shards/oulu_strong

Class sets are matched by name and a mismatch is explained. Sequences of people whom the model was trained
on are left out where there are others (--people=all keeps them, with a warning).
"""

from __future__ import annotations

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    flags.DEFINE_string("model", None, "The model folder.")
    flags.DEFINE_enum(
        "people", "new", ["new", "all"], "Test on people whom the model has not seen, or on all."
    )
    flags.DEFINE_enum(
        "classes",
        "model",
        ["model", "shared"],
        "Which classes can be predicted: all of the model's, or those that the data have too.",
    )
    flags.DEFINE_string("out", None, "Folder for the result; default: evaluations/MODEL-on-DATA.")


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    import urllib.parse
    from pathlib import Path

    if not FLAGS.model:
        raise command.UserError("--model is needed: a folder that experiments.train wrote")
    from stfer.inference import load_model
    from stfer.inference.evaluation import differing_crops, match_classes
    from stfer.runs import environment, modules

    modules.import_modules(FLAGS.modules)
    environment.set_up_jax(shared.data().cache)
    model = load_model(FLAGS.model)
    shards = shared.data().load()
    name = f"{Path(FLAGS.model).resolve().name}-on-{urllib.parse.quote(shards.name, safe='+ ')}"
    out = Path(FLAGS.out or Path("evaluations") / name)
    match = match_classes(model.classes, shards.classes)
    rows, notes = _rows(model, shards, match)
    notes += [f"faces were cut otherwise: {line}" for line in differing_crops(model, shards)]
    command.print_settings(
        "Evaluation",
        {
            "model": f"{FLAGS.model} ({model.architecture})",
            "data": f"{shards.name}: {len(rows)} of {len(shards)} sequences",
            "classes": ", ".join(match.shared),
            "out": out,
        },
    )
    for note in notes:
        print(f"note: {note}")
    _evaluate(model, shards, match, rows, notes, out)


def _rows(model, shards, match):
    """The rows to test on, and what should be known of the choice."""
    import numpy as np

    from stfer.inference.evaluation import seen_in_training

    known = np.isin(np.asarray(shards.classes)[shards.labels], match.shared)
    notes = []
    if mismatch := match.explain(int((~known).sum()), FLAGS.classes == "shared"):
        notes.append(mismatch)
    seen = seen_in_training(model, shards)
    keep = known
    if seen.any() and FLAGS.people == "new":
        keep = known & ~seen
        if not keep.any():
            raise command.UserError(
                f"every person in {shards.name} was in this model's training; --people=all tests on them "
                "all the same, which says nothing about new people"
            )
        notes.append(
            f"{int((known & seen).sum())} sequences left out: their people were in training"
        )
    elif seen.any():
        notes.append(
            f"{int((known & seen).sum())} of {int(known.sum())} sequences show people of the training, "
            "so the accuracy says little about new people"
        )
    if not keep.any():
        raise command.UserError(f"{shards.name} holds no sequence of {', '.join(match.shared)}")
    return np.flatnonzero(keep), notes


def _evaluate(model, shards, match, rows, notes, out) -> None:
    import time

    import tqdm

    from stfer.evaluation import records
    from stfer.inference.evaluation import predict_shards
    from stfer.reporting import console
    from stfer.storage.files import write_atomically, write_json

    restrict = match.shared if FLAGS.classes == "shared" else None
    classes = restrict or model.classes
    began = time.monotonic()
    with tqdm.tqdm(total=len(rows), unit="sequence", dynamic_ncols=True) as bar:
        predictions = predict_shards(model, shards, rows, restrict, bar.update)
    seconds = time.monotonic() - began
    votes = records.vote_metrics(predictions, classes)
    print(f"\n{len(predictions)} sequences in {seconds:.2f} s, compilation included")
    print(console.votes_text(votes, classes))
    result = {
        "format": 1,
        "architecture": model.architecture,
        "model": str(FLAGS.model),
        "data": {"name": shards.name, "checksum": shards.checksum},
        "classes": list(classes),
        "sequences": len(predictions),
        "notes": notes,
        "testing_seconds": round(seconds, 3),
        "votes": votes,
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "result.json", result)
    write_atomically(out / "predictions.csv", records.prediction_table(predictions, classes))
    command.print_paths([out / "result.json", out / "predictions.csv"])


if __name__ == "__main__":
    command.run(main, define_flags)
