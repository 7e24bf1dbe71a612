"""What commands print of runs: sentences and small tables as text."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tqdm

from stfer.data.folds import Fold
from stfer.data.sequence import alike_warning
from stfer.inference.model import TrainedModel
from stfer.runs.crossval import Outcome
from stfer.runs.environment import hardware
from stfer.runs.local import Launch
from stfer.runs.plan import Plan
from stfer.training.fit import Fitted, Progress


def votes_text(votes: Mapping[str, Mapping], classes: Sequence[str]) -> str:
    """Both votes' accuracy and the summed vote's confusion matrix."""
    lines = []
    for vote, numbers in votes.items():
        interval = numbers["accuracy_interval"]
        spread = f", 95 % interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        recall, chance = numbers["unweighted_average_recall"], numbers["chance"]
        lines.append(
            f"  accuracy ({vote}) {numbers['accuracy']:.3f}{spread}; average recall {recall:.3f}; "
            f"chance {chance:.3f}"
        )
    width = max(map(len, classes))
    lines.append("  confusion matrix, summed vote (rows: true class; columns: predicted)")
    lines.append("  " + " " * width + "".join(f"  {name[:5]:>5}" for name in classes))
    for name, row in zip(classes, votes["summed"]["confusion_matrix"], strict=True):
        lines.append(f"  {name:<{width}}" + "".join(f"  {count:>5}" for count in row))
    return "\n".join(lines)


def _machine() -> str:
    found = hardware()
    return f"{found['device']} ({found['backend']}, {found['cores']} cores)"


def run_settings(plan: Plan, names: Sequence[str], pending: Sequence[str]) -> dict[str, object]:
    """What a cross-validation is about to do."""
    shards = plan.shards
    return {
        "data": f"{shards.name}: {len(shards)} sequences, {len(set(shards.subjects))} subjects, "
        f"{len(shards.classes)} classes",
        "folds": f"{len(names)} of {len(plan.folds)}, {len(names) - len(pending)} of them finished",
        "hardware": _machine(),
        "run folder": plan.folder.path,
    } | _warning(shards.subjects)


def result_text(plan: Plan, outcome: Outcome) -> str:
    """Accuracy with its interval, the confusion matrix, and what failed."""
    result = outcome.result or {}
    lines = [
        f"\n{plan.config.architecture} on {plan.shards.name}, {plan.protocol}: "
        f"{result['folds_done']} of {result['folds_total']} folds, {result['sequences']} sequences"
    ]
    if result["votes"]:
        lines.append(votes_text(result["votes"], plan.shards.classes))
    if result["seconds_per_subject"] is not None:
        lines.append(f"  {result['seconds_per_subject']:.1f} s of training a fold")
    return "\n".join([*lines, *(f"  failed: {sentence}" for sentence in outcome.failures)])


def share_text(launch: Launch, done: Sequence[str], outcome: Outcome) -> str:
    """What a share of an array job leaves; the tables come with `--merge`."""
    wanted = len(done) + len(outcome.unfinished)
    lines = [f"\nshare {launch.share} of {launch.shares}: {len(done)} of {wanted} folds finished"]
    return "\n".join([*lines, *(f"  failed: {sentence}" for sentence in outcome.failures)])


def training_settings(plan: Plan) -> dict[str, object]:
    """What a final training is about to do."""
    (fold,) = plan.folds
    shards, subjects = plan.shards, plan.shards.subjects
    watched = sorted({subjects[row] for row in fold.validation})
    trained_on = len({subjects[row] for row in fold.train})
    return {
        "data": f"{shards.name}: {len(shards)} sequences, {len(set(subjects))} subjects",
        "trained on": f"{len(fold.train)} sequences of {trained_on} subjects",
        "held out": f"{', '.join(fold.subjects) or 'nobody'} ({len(fold.test)} sequences)",
        "validation": f"{', '.join(watched)}, patience {plan.config.patience} epochs"
        if watched
        else "none: the last epoch's weights",
        "hardware": _machine(),
    } | _warning(subjects)


def _warning(subjects: Sequence[str]) -> dict[str, object]:
    """A warning about subjects that look like one person, before time is spent; often none."""
    text = alike_warning(subjects)
    return {"warning": text} if text else {}


@contextlib.contextmanager
def epoch_bar(plan: Plan) -> Iterator[Callable[[Fold, Progress], None]]:
    """A progress bar over the epochs of one training, and the function that moves it."""
    epochs = sum(stage.config(plan.config).epochs for stage in plan.stages)
    name = plan.config.architecture
    with tqdm.tqdm(total=epochs, unit="epoch", dynamic_ncols=True, desc=name) as bar:

        def on_epoch(fold: Fold, progress: Progress) -> None:
            del fold
            row: Mapping[str, Any] = progress.history[-1] if progress.history else {}
            watched = row.get("validation_loss", row.get("heldout_loss", float("nan")))
            more = "" if watched != watched else f", watched loss {watched:.3f}"
            if row:
                bar.set_postfix_str(f"loss {row['train_loss']:.3f}{more}", refresh=False)
            bar.update(progress.epoch - bar.n)

        yield on_epoch


def training_text(model: TrainedModel, fitted: Fitted) -> str:
    """What a final training came to."""
    metrics = model.card["metrics"]
    best = fitted.best_epoch
    chosen = f"; the weights are epoch {best}'s (smallest validation loss)" if best else ""
    epochs, seconds = len(fitted.progress.history), fitted.progress.seconds
    lines = [f"\ntrained {epochs} epochs in {seconds:.1f} s{chosen}"]
    if metrics["held_out"]:
        count, testing = metrics["sequences"], metrics["testing_seconds"]
        lines.append(f"held-out subjects: {count} sequences in {testing:.2f} s")
        lines.append(votes_text(metrics["held_out"], model.classes))
    else:
        lines.append("no subject was held out, so nothing is known of its accuracy on new people")
    return "\n".join(lines)
