"""A trained model on shards, of its own set or of another (paper, section VII, and cross-set evaluation).

Class sets are matched by name. A sequence whose class the model does not know cannot be right, so it is
left out and counted; a class that the data lack can still be predicted, and is then wrong, unless the
probabilities are restricted to the classes that both have.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stfer.data import clips as clips_lib
from stfer.data.faces import CropSettings
from stfer.data.shards import Shards
from stfer.evaluation.records import Prediction
from stfer.inference.model import TrainedModel


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


def persons(shards: Shards) -> list[tuple[str, str]]:
    """Who is seen in each sequence: population and subject, under the names that they have alone."""
    headers = shards.header.get("sets") or [shards.header]
    populations = sorted({header["population"] for header in headers}, key=len, reverse=True)
    if len(populations) == 1:
        return [(populations[0], subject) for subject in shards.subjects]
    found = []
    for subject in shards.subjects:
        population = next(p for p in populations if subject.startswith(f"{p}:"))
        found.append((population, subject[len(population) + 1 :]))
    return found


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


def predict_shards(
    model: TrainedModel,
    shards: Shards,
    rows: Iterable[int],
    restrict: tuple[str, ...] | None = None,
    progress: Callable[[int], object] = lambda sequences: None,
) -> list[Prediction]:
    """Both votes over the evaluation clips of each sequence.

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
        frames = shards.frames(row)
        places = clips_lib.evaluation_clips(model.rule, len(frames), shards.ids[row])
        used, inverse = np.unique(places, return_inverse=True)
        items = model.network.encode([frames[place] for place in used])
        clips = [[items[i] for i in clip] for clip in inverse.reshape(places.shape)]
        probabilities = model.network.classify(clips)[:, columns].astype(np.float64)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        label = shards.classes[shards.labels[row]]
        predictions.append(
            Prediction.by_votes(
                shards.ids[row], shards.subjects[row], label, classes, probabilities
            )
        )
        progress(1)
    return predictions


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
