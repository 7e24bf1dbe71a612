"""What is kept of a tested sequence and of a finished fold, and the tables and metrics pooled from them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stfer.evaluation import metrics, voting
from stfer.evaluation.voting import VOTES
from stfer.storage.tables import csv_text

HISTORY_COLUMNS = ("epoch", "train_loss", "train_accuracy", "heldout_loss", "heldout_accuracy")


@dataclass(frozen=True)
class Prediction:
    """What the two votes say of one held-out sequence.

    Attributes:
        sequence: Its id.
        subject: Who is seen in it.
        label: The true class's name.
        predicted: From vote name to the predicted class's name.
        probabilities: From vote name to a number a class: the mean clip probability (summed), or the
            share of clips that voted for it (maximum).
    """

    sequence: str
    subject: str
    label: str
    predicted: Mapping[str, str]
    probabilities: Mapping[str, Sequence[float]]

    @classmethod
    def by_votes(
        cls, sequence: str, subject: str, label: str, classes: Sequence[str], clips: np.ndarray
    ) -> "Prediction":
        """Both votes (paper VI-B, Figure 16) over `clips`, a sequence's clip probabilities [clips, classes].

        Raises:
            ValueError: As `stfer.evaluation.voting.vote`.
        """
        tally = voting.count(clips)
        winners, shares = tally.winners(), tally.shares()
        return cls(
            sequence,
            subject,
            label,
            {vote: classes[winners[vote]] for vote in VOTES},
            {vote: [float(p) for p in shares[vote]] for vote in VOTES},
        )


@dataclass(frozen=True)
class FoldResult:
    """Everything that is kept of a finished fold.

    Attributes:
        name: The held-out subject, or the held-out group of a k-fold protocol.
        predictions: One a held-out sequence.
        history: One dict an epoch with the keys of `HISTORY_COLUMNS` at least.
        training_seconds: Time spent on training.
        testing_seconds: Time spent on classifying the held-out sequences.
        hardware: What it was trained on, as `config.json` records it.
    """

    name: str
    predictions: Sequence[Prediction]
    history: Sequence[Mapping[str, float]]
    training_seconds: float
    testing_seconds: float
    hardware: Mapping[str, Any]


def history_columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The columns of a history's table: `HISTORY_COLUMNS`, then what some of its rows have besides."""
    return list(dict.fromkeys([*HISTORY_COLUMNS, *(name for row in rows for name in row)]))


def vote_metrics(
    predictions: Sequence[Prediction], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """`stfer.evaluation.metrics.summarise` of each vote over pooled predictions; empty without any.

    Args:
        predictions: Of all folds together.
        classes: Class names in label order.
    """
    if not predictions:
        return {}
    number = {name: index for index, name in enumerate(classes)}
    labels = [number[p.label] for p in predictions]
    subjects = [p.subject for p in predictions]
    return {
        vote: metrics.summarise(
            labels, [number[p.predicted[vote]] for p in predictions], subjects, len(classes)
        )
        for vote in VOTES
    }


def prediction_table(predictions: Iterable[Prediction], classes: Sequence[str]) -> str:
    """`predictions.csv`: a row for each sequence and vote."""
    rows = (
        (p.sequence, p.subject, p.label, vote, p.predicted[vote], *p.probabilities[vote])
        for p in predictions
        for vote in VOTES
    )
    return csv_text(("sequence", "subject", "label", "vote", "predicted", *classes), rows)


def pooled_result(
    finished: Sequence[FoldResult], total: int, classes: Sequence[str]
) -> dict[str, Any]:
    """The fields of `result.json` that the finished folds decide."""
    predictions = [p for fold in finished for p in fold.predictions]
    seconds = [fold.training_seconds for fold in finished]
    return {
        "folds_done": len(finished),
        "folds_total": total,
        "sequences": len(predictions),
        "seconds_per_subject": float(np.mean(seconds)) if seconds else None,
        "training_seconds": float(np.sum(seconds)),
        "testing_seconds": float(sum(fold.testing_seconds for fold in finished)),
        "classes": list(classes),
        "hardware": [
            dict(item) for item in dict.fromkeys(tuple(f.hardware.items()) for f in finished)
        ],
        "votes": vote_metrics(predictions, classes),
    }
