"""Run folders written by hand, in the format that experiments.loso leaves behind."""

import csv
import json
from pathlib import Path

import numpy as np

from stfer.evaluation.run_folder import FORMAT

CLASSES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")


def write_run(
    folder: Path,
    predicted: dict[str, str],
    *,
    maximum: dict[str, str] | None = None,
    folds_total: int | None = None,
    epochs: int = 3,
    seconds: float = 2.0,
    parameters: int = 1000,
    everybody: int | None = None,
    **identity,
) -> Path:
    """Write a finished run.

    Args:
        folder: where to write.
        predicted: sequence id "SUBJECT_LABEL[_anything]" to predicted class, by summed probability.
        maximum: the same by the other vote; as `predicted` if None.
        folds_total: folds of the protocol; the number of subjects if None.
        epochs: rows of the history for each fold.
        seconds: training seconds of each subject.
        parameters: as stated in result.json.
        everybody: subjects of the data; the folds under leave-one-subject-out, or those predicted, if None.
        identity: architecture, data, checksum, protocol, seed, settings, code.
    """
    ident = {
        "architecture": "single_frame",
        "data": "synthetic",
        "checksum": "c0ffee",
        "protocol": "loso",
        "seed": 0,
    } | identity
    subjects = sorted({sequence.split("_")[0] for sequence in predicted})
    folder.mkdir(parents=True)
    settings = {"epochs": epochs, "batch_size": 8, "learning_rate": 1e-4, "precision": "float32"}
    settings |= {"adam_epsilon": 1e-7, "preset": "demo", "protocol": ident["protocol"]}
    settings |= {"architecture": ident["architecture"], "seed": ident["seed"]}
    settings |= ident.pop("settings", {})
    if everybody is None:
        everybody = folds_total if folds_total and ident["protocol"] == "loso" else len(subjects)
    config = {
        "format": FORMAT,
        "settings": settings,
        "data": {
            "name": ident["data"],
            "checksum": ident["checksum"],
            "classes": CLASSES,
            "sequences": everybody * len(CLASSES),
            "subjects": everybody,
            "crop": {"detector": "lbp", "margin": 0.2},
        },
        "arguments": {"data": ident["data"], "synthetic_subjects": len(subjects)},
        "versions": {"python": "3.12", "jax": "0.12"},
        "code": ident.pop("code", {}),
    }
    votes = {"summed": predicted, "maximum": maximum or predicted}
    rows, figures = [], {}
    for vote, answers in votes.items():
        matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
        for sequence, answer in answers.items():
            subject, label = sequence.split("_")[:2]
            matrix[CLASSES.index(label), CLASSES.index(answer)] += 1
            shares = [0.5 if name == answer else 0.1 for name in CLASSES]
            rows.append([sequence, subject, label, vote, answer, *shares])
        accuracy = np.trace(matrix) / matrix.sum()
        figures[vote] = {
            "accuracy": accuracy,
            "accuracy_interval": [max(0, accuracy - 0.1), min(1, accuracy + 0.1)],
            # Numbers of their own, so that a column taken for another shows.
            "subject_mean_accuracy": accuracy - 0.01,
            "unweighted_average_recall": accuracy - 0.02,
            "macro_f1": accuracy - 0.03,
            "chance": matrix.sum(axis=1).max() / matrix.sum(),
            "confusion_matrix": matrix.tolist(),
        }
    result = {
        "architecture": ident["architecture"],
        "data": ident["data"],
        "folds_done": len(subjects),
        "folds_total": folds_total or len(subjects),
        "sequences": len(predicted),
        "seconds_per_subject": seconds,
        "votes": figures,
        "classes": CLASSES,
        "protocol": ident["protocol"],
        "seed": ident["seed"],
        "hardware": [{"device": "cpu", "cpu": "a processor", "cores": 2}],
        "training_seconds": seconds * len(subjects),
        "parameters": parameters,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "result.json").write_text(json.dumps(result))
    _write(
        folder / "predictions.csv",
        ["sequence", "subject", "label", "vote", "predicted", *CLASSES],
        rows,
    )
    history = [
        [subject, epoch, 2 / epoch, 1 - 1 / epoch, 2.5 / epoch + i / 10, 1 - 1.5 / (epoch + 1)]
        for i, subject in enumerate(subjects)
        for epoch in range(1, epochs + 1)
    ]
    columns = [
        "subject",
        "epoch",
        "train_loss",
        "train_accuracy",
        "heldout_loss",
        "heldout_accuracy",
    ]
    _write(folder / "history.csv", columns, history)
    timing = [[subject, seconds, 0.1, 6] for subject in subjects]
    _write(
        folder / "timing.csv",
        ["subject", "training_seconds", "testing_seconds", "sequences"],
        timing,
    )
    return folder


def sequences(subjects: int, first: int = 1) -> list[str]:
    """One sequence a subject and class, such as "S003_fear"; subjects are numbered from `first`."""
    return [
        f"S{number:03d}_{label}" for number in range(first, first + subjects) for label in CLASSES
    ]


def answers(
    subjects: int, wrong: int, seed: int = 0, into: str = "sadness", first: int = 1
) -> dict[str, str]:
    """Predictions of which `wrong`, drawn by the seed, go to the class `into` (or to anger)."""
    names = sequences(subjects, first)
    chosen = set(np.random.default_rng(seed).choice(names, wrong, replace=False))
    return {name: _wrong(name, into) if name in chosen else name.split("_")[1] for name in names}


def _wrong(name: str, into: str) -> str:
    return into if name.split("_")[1] != into else "anger"


def _write(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
