"""Trains one architecture on a whole set and writes a model folder (the final model of paper section VII).

    python -m experiments.train --arch=late_fusion --held_out=0.25 --out=models/late_fusion
    python -m experiments.train --arch=late_fusion --data=ck_plus,oulu_strong,oulu_weak,oulu_dark --held_out=P042

Held-out subjects are tested at the end and decide nothing. With --validation further subjects are held out,
and the epoch of their smallest loss is used, else the last. Interrupted, the same command goes on.
"""

from __future__ import annotations

from absl import flags

from experiments import _app, _data, _settings

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    _data.define_flags()
    flags.DEFINE_string("arch", "late_fusion", "The architecture.")
    _settings.define_flags()
    flags.DEFINE_string(
        "held_out", "", "Subjects to test on: names, a fraction such as 0.1, or none."
    )
    flags.DEFINE_string("validation", "", "Further subjects, for early stopping: as --held_out.")
    flags.DEFINE_integer(
        "patience", 10, "Early stopping: epochs without a better validation loss.", lower_bound=1
    )
    flags.DEFINE_string("out", None, "The model folder to make; default: models/ARCH.")
    flags.DEFINE_enum(
        "parallel",
        "auto",
        ["auto", "batch", "none"],
        "With several devices: split each batch over them (auto), or use one.",
    )


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    import dataclasses
    import os
    from pathlib import Path

    from experiments import _modules

    _modules.check_architecture(FLAGS.arch, FLAGS.modules)
    out = Path(os.path.abspath(FLAGS.out or f"models/{FLAGS.arch}"))
    from experiments import _final
    from stfer.storage.files import check_new

    check_new(out)
    config = _settings.config(FLAGS.arch, FLAGS.data, FLAGS.seed)
    if FLAGS.validation:  # The epoch is chosen by the loss that its running statistics give.
        if FLAGS.recompute_statistics:
            raise _app.UserError(
                "--recompute_statistics cannot go with --validation: the epoch is chosen by the running statistics"
            )
        config = dataclasses.replace(config, recompute_statistics=False)
    where = {"data": FLAGS.data, "out": out}
    _app.print_settings("Settings", config.to_dict() | where)
    _app.set_up_jax(_data.cache_dir())
    shards = _data.load(FLAGS.data)
    parts = _final.split(shards.subjects, FLAGS.held_out, FLAGS.validation, config.seed)
    training = _final.FinalTraining(config, shards, parts, out, FLAGS.patience, FLAGS.modules)
    _print_plan(training)
    return _run(training)


def _print_plan(training) -> None:
    from experiments import _crossval

    shards, parts, hardware = training.shards, training.parts, _crossval.hardware()
    everyone = set(shards.subjects)
    trained_on = len(everyone) - len(parts.held_out) - len(parts.validation)
    settings = {
        "data": f"{shards.name}: {len(shards)} sequences, {len(everyone)} subjects",
        "trained on": f"{len(parts.train_rows)} sequences of {trained_on} subjects",
        "held out": f"{', '.join(parts.held_out) or 'nobody'} ({len(parts.held_out_rows)} sequences)",
        "validation": f"{', '.join(parts.validation)}, patience {training.patience} epochs"
        if parts.validation
        else "none: the last epoch's weights",
        "hardware": f"{hardware['device']} ({hardware['backend']}, {hardware['cores']} cores)",
    }
    _app.print_settings("Training", settings)


def _run(training) -> int:
    import shutil

    from experiments import _stop
    from stfer.training.fit import NonFiniteLossError, Stopped

    with _stop.stop_requests() as should_stop, training.plan.folder.lock():
        try:
            model, history, seconds = _train(training, should_stop)
        except Stopped as stopped:
            print(f"\n{stopped} ({training.states}); the same command goes on where it was")
            return should_stop.exit_code
        except NonFiniteLossError as error:
            raise _app.UserError(f"{error}; try a smaller --learning_rate") from error
        written = _finish(training, model, history, seconds)
    shutil.rmtree(training.states)
    _app.print_paths([written])
    return 0


def _train(training, should_stop):
    import tqdm

    from stfer.training import parallel

    epochs = training.config.epochs
    resident = _settings.resident()
    with tqdm.tqdm(total=epochs, unit="epoch", dynamic_ncols=True, desc=FLAGS.arch) as bar:

        def on_epoch(progress):
            row = progress.history[-1]
            watched = row["heldout_loss"]
            more = "" if watched != watched else f", watched loss {watched:.3f}"
            bar.set_postfix_str(f"loss {row['train_loss']:.3f}{more}", refresh=False)
            bar.update(progress.epoch - bar.n)

        how = parallel.resolve(FLAGS.parallel, many_folds=False)
        return training.run(should_stop, on_epoch, FLAGS.checkpoint_seconds, resident, how)


def _finish(training, model, history, seconds):
    """Test, print, write the model folder."""
    import dataclasses

    from experiments import _final
    from stfer.evaluation import records

    classes = training.shards.classes
    predictions, testing = training.test(model)
    votes = records.vote_metrics(predictions, classes)
    card = dict(model.card) | {
        "metrics": {
            "held_out": votes or None,
            "sequences": len(predictions),
            "training_seconds": round(seconds, 3),
            "testing_seconds": round(testing, 3),
            "last_epoch": {k: v for k, v in history[-1].items() if v == v},
        }
    }
    files = {"history.csv": _final.history_table(history)}
    if predictions:
        files["predictions.csv"] = records.prediction_table(predictions, classes)
    print(f"\ntrained {len(history)} epochs in {seconds:.1f} s", end="")
    if training.best_epoch:
        print(f"; the weights are epoch {training.best_epoch}'s (smallest validation loss)", end="")
    print()
    if votes:
        print(f"held-out subjects: {len(predictions)} sequences in {testing:.2f} s")
        _app.print_votes(votes, classes)
    else:
        print("no subject was held out, so nothing is known of its accuracy on new people")
    return dataclasses.replace(model, card=card).save(training.out, files)


if __name__ == "__main__":
    _app.run(main, define_flags)
