"""A trained model on shards, of its own set or of another (paper, section VII, and cross-set evaluation).

Class sets are matched by name. A sequence whose class the model does not know cannot be right, so it is
left out and counted; a class that the data lack can still be predicted, and is then wrong, unless the
probabilities are restricted to the classes that both have.
"""

import hashlib
import time
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.examples import evaluation_examples
from stfer.data.faces import CropSettings
from stfer.data.shards import Shards
from stfer.data.shards.people import persons
from stfer.evaluation.records import Prediction, prediction_table, vote_metrics
from stfer.inference.model import TrainedModel
from stfer.storage.files import check_new, staged_folder, write_atomically, write_json


@dataclass(frozen=True)
class ClassMatch:
    """How a model's classes and a set's go together; `shared` is in the model's order."""

    shared: tuple[str, ...]
    only_model: tuple[str, ...]
    only_data: tuple[str, ...]

    def explain(self, left_out: int, restricted: bool) -> str:
        """The mismatch in a sentence or two; empty where there is none."""
        sentences = []
        if self.only_data:
            sentences.append(
                f"the data have {_listed(self.only_data)}, which the model does not know: "
                f"{left_out} sequence{'' if left_out == 1 else 's'} left out"
            )
        if self.only_model:
            fate = (
                "its probabilities are left out and the others made to sum to 1"
                if restricted
                else "predicting it counts as wrong"
            )
            sentences.append(
                f"the model knows {_listed(self.only_model)}, which the data lack: {fate}"
            )
        return "; ".join(sentences)


def match_classes(model: Iterable[str], data: Iterable[str]) -> ClassMatch:
    """Match two class sets by name.

    Raises:
        ValueError: They share fewer than two classes.
    """
    model, data = tuple(model), tuple(data)
    shared = tuple(name for name in model if name in data)
    if len(shared) < 2:
        raise ValueError(
            f"the model's classes ({', '.join(model)}) and the data's ({', '.join(data)}) share "
            f"{_listed(shared) if shared else 'none'}; at least two are needed"
        )
    return ClassMatch(
        shared,
        tuple(name for name in model if name not in data),
        tuple(name for name in data if name not in model),
    )


def differing_crops(model: TrainedModel, shards: Shards) -> list[str]:
    """How the data's faces were cut otherwise than the model's: a sentence a setting.

    Raises:
        ValueError: The size differs, so that the model cannot be run at all.
    """
    ours = model.crop.to_dict()
    theirs = CropSettings.from_dict(shards.crop | {"size": shards.size}).to_dict()
    if ours["size"] != shards.size:
        raise ValueError(
            f"{shards.name} holds faces of {shards.size} pixels, and the model was trained on "
            f"{ours['size']}: preprocess the set with --size={ours['size']}"
        )
    # How a missing face was met does not change a crop.
    return [
        f"{name} is {theirs[name]!r} in the data and {ours[name]!r} in the model's training"
        for name in ours
        if name not in ("size", "missing_faces") and ours[name] != theirs[name]
    ]


def seen_in_training(model: TrainedModel, shards: Shards) -> np.ndarray:
    """Which sequences show a person whom the model was trained on: bool [n]."""
    training = model.card.get("training", {})
    # The validation subjects chose the epoch, so they are no new people either.
    seen = [training.get(part) or {} for part in ("subjects", "validation")]
    return np.array(
        [
            any(subject in part.get(population, ()) for part in seen)
            for population, subject in persons(shards)
        ],
        bool,
    )


@dataclass(frozen=True)
class Selection:
    """Which sequences of a set a model is tested on.

    Attributes:
        rows: int64, indices of the shards.
        match: How the classes go together.
        classes: Which ones can be predicted.
        notes: What should be known of the choice, a sentence each.
    """

    rows: np.ndarray
    match: ClassMatch
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def select(
    model: TrainedModel, shards: Shards, people: str = "new", classes: str = "model"
) -> Selection:
    """Choose the sequences to test on: those whose class the model knows, of people whom it has not seen.

    Args:
        model: A trained model.
        shards: A set.
        people: `new`, or `all`: those of the training too.
        classes: Which can be predicted: all of the `model`'s, or the `shared` ones.

    Raises:
        ValueError: Nothing is left, the set lacks what the model takes, or its faces have another size.
    """
    for name in model.inputs:
        if name not in shards.streams:
            raise ValueError(
                f"{model.architecture} takes {name}, and {shards.name} has only {', '.join(shards.streams)}"
            )
    match = match_classes(model.classes, shards.classes)
    restricted = classes == "shared"
    known = np.isin(np.asarray(shards.classes)[shards.labels], match.shared)
    notes = []
    if mismatch := match.explain(int((~known).sum()), restricted):
        notes.append(mismatch)
    seen = seen_in_training(model, shards)
    both, keep = int((known & seen).sum()), known
    if seen.any() and people == "new":
        keep = known & ~seen
        if not keep.any():
            raise ValueError(
                f"every person in {shards.name} was in this model's training; --people=all tests on them "
                "all the same, which says nothing about new people"
            )
        notes.append(f"{both} sequences left out: their people were in training")
    elif seen.any():
        notes.append(
            f"{both} of {int(known.sum())} sequences show people of the training, "
            "so the accuracy says little about new people"
        )
    if not keep.any():
        raise ValueError(f"{shards.name} holds no sequence of {', '.join(match.shared)}")
    notes += [f"faces were cut otherwise: {line}" for line in differing_crops(model, shards)]
    allowed = match.shared if restricted else model.classes
    return Selection(np.flatnonzero(keep), match, allowed, tuple(notes))


def default_folder(
    model: TrainedModel, where: str | Path, shards: Shards, selection: Selection
) -> Path:
    """`evaluations/MODEL-on-DATA-DIGEST`; the digest tells apart what would have one name.

    Args:
        model: The model: its weights enter the digest.
        where: Its folder, whose name enters the path.
        shards: The set; its name is data, and is quoted.
        selection: What is tested.
    """
    rows = selection.rows.tolist()
    tested = f"{model.digest} {shards.checksum} {selection.classes} {rows}"
    digest = hashlib.sha256(tested.encode()).hexdigest()[:8]
    data = urllib.parse.quote(shards.name, safe="+ ")
    return Path("evaluations") / f"{Path(where).resolve().name}-on-{data}-{digest}"


@dataclass(frozen=True)
class Evaluation:
    """What a test came to; `votes` as `stfer.evaluation.records.vote_metrics` gives them."""

    predictions: list[Prediction]
    votes: dict[str, dict[str, Any]]
    seconds: float


def evaluate_into(
    model: TrainedModel,
    shards: Shards,
    selection: Selection,
    folder: str | Path,
    where: str | Path,
    progress: Callable[[int], object] = lambda sequences: None,
) -> tuple[Evaluation, list[Path]]:
    """Test a model on the selected sequences and write `result.json` and `predictions.csv`.

    Args:
        model: A trained model.
        shards: The set.
        selection: As `select` returns it.
        folder: For the result; must not be there.
        where: The model's folder, for the record.
        progress: Told after each sequence.

    Raises:
        FileExistsError: The folder is there.
    """
    check_new(folder)
    began = time.monotonic()
    predictions = predict_shards(model, shards, selection.rows, selection.classes, progress)
    seconds = time.monotonic() - began
    votes = vote_metrics(predictions, selection.classes)
    result = {
        "format": 1,
        "architecture": model.architecture,
        "model": str(where),
        "model_digest": model.digest,
        "data": {"name": shards.name, "checksum": shards.checksum},
        "classes": list(selection.classes),
        "sequences": len(predictions),
        "notes": list(selection.notes),
        "testing_seconds": round(seconds, 3),
        "votes": votes,
    }
    with staged_folder(folder) as part:
        write_json(part / "result.json", result)
        table = prediction_table(predictions, selection.classes)
        write_atomically(part / "predictions.csv", table)
    paths = [Path(folder) / name for name in ("result.json", "predictions.csv")]
    return Evaluation(predictions, votes, seconds), paths


def predict_shards(
    model: TrainedModel,
    shards: Shards,
    rows: Iterable[int],
    restrict: tuple[str, ...] | None = None,
    progress: Callable[[int], object] = lambda sequences: None,
) -> list[Prediction]:
    """Both votes over the evaluation clips of each sequence.

    The clips are those of `TrainedModel.judge`.

    Args:
        model: A trained model.
        shards: Faces cut to the model's size.
        rows: Sequences, as indices of the shards.
        restrict: Classes that count; the model's own if None.
        progress: Told after each sequence.

    Raises:
        ValueError: A sequence is too short for a clip; names it.
    """
    classes = restrict or model.classes
    columns = [model.classes.index(name) for name in classes]
    predictions = []
    for row in map(int, rows):
        probabilities = _of_clips(model, shards, row)[:, columns].astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        label = shards.classes[shards.labels[row]]
        predictions.append(
            Prediction.by_votes(
                shards.ids[row], shards.subjects[row], label, classes, probabilities
            )
        )
        progress(1)
    return predictions


def _of_clips(model: TrainedModel, shards: Shards, row: int) -> np.ndarray:
    """Class probabilities of a sequence's evaluation clips, float32 [clips, classes]."""
    if not model.sees_frames_alone:
        examples = evaluation_examples(shards, model.rules, row)
        return model.network.of_batch({name: examples[name] for name in model.inputs})
    return model.judge(shards.frames(row), shards.ids[row])[1]


def training_record(shards: Shards, rows: Iterable[int]) -> dict[str, Any]:
    """Who the rows of a set show, by population, for a model's card."""
    people = persons(shards)
    found: dict[str, set[str]] = {}
    for row in rows:
        population, subject = people[int(row)]
        found.setdefault(population, set()).add(subject)
    return {population: sorted(names) for population, names in sorted(found.items())}


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
