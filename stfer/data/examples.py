"""Examples: what a model and its task see of each sequence, as dicts of arrays (paper VI-B).

An example holds `frames` uint8 [time, height, width, channel], `label` int32 [], and the further streams of
the set that the model's inputs and the task name, such as `landmarks` float32 [time, point, 2]; each with its own
clip rule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from stfer.data import clips as clips_lib
from stfer.data.clips import ClipRule
from stfer.data.shards import Shards

LABEL = "label"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Draws:
    """Where the clips that training draws from lie among the examples of a set.

    Example `row` is the paper's own clip of sequence `row`; its further clips follow after those of all sequences.

    Attributes:
        counts: int64 [sequences], how many clips a sequence has, its own included.
        sequences: int64 [examples], the sequence of each example.
    """

    counts: np.ndarray
    sequences: np.ndarray

    def places(self, rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """The examples that numbers in [0, 1) draw for int rows, both [n]: int32 [n]."""
        further = self.counts - 1
        first = len(self.counts) + np.cumsum(further) - further
        choice = (uniform * self.counts[rows]).astype(np.int64)
        return np.where(choice == 0, rows, first[rows] + choice - 1).astype(np.int32)


@dataclass(frozen=True)
class Examples:
    """The training examples of every sequence of a set, read when asked for; mostly one each.

    Attributes:
        labels: int32 [examples].
        shapes: From each further field's name to its shape and dtype, without the axis of examples.
        read: From int rows [n] to the further fields, [n, ...] each.
        draws: How training draws among several clips a sequence; None where each has one.
    """

    labels: np.ndarray
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    read: Callable[[np.ndarray], Arrays]
    draws: Draws | None = None

    def sequences(self, rows: np.ndarray) -> np.ndarray:
        """The sequences of examples."""
        return rows if self.draws is None else self.draws.sequences[rows]

    @property
    def nbytes(self) -> int:
        """Bytes that all examples take."""
        one = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.shapes.values())
        return len(self.labels) * one

    def gather(self, rows: np.ndarray) -> Arrays:
        """The examples of int rows [n]."""
        return self.read(rows) | {LABEL: self.labels[rows]}

    def empty(self, count: int) -> Arrays:
        """`count` examples of zeros."""
        fields = {**self.shapes, LABEL: ((), self.labels.dtype)}
        return {name: np.zeros((count, *shape), dtype) for name, (shape, dtype) in fields.items()}


def training_examples(shards: Shards, rules: Mapping[str, ClipRule]) -> Examples:
    """The training clip of every sequence.

    Args:
        shards: The set.
        rules: From each stream's name to which of its frames are seen.

    Raises:
        ValueError: The set lacks a stream, or a sequence is shorter than a clip.
    """
    choices = {
        name: [
            clips_lib.training_choices(rule, int(length), sequence)
            for length, sequence in zip(shards.lengths, shards.ids, strict=True)
        ]
        for name, rule in rules.items()
    }
    draws = _draws(choices) if any(rule.random for rule in rules.values()) else None
    sequences = np.arange(len(shards)) if draws is None else draws.sequences
    # The own clips of all sequences, then the further ones: as `Draws` counts.
    places = {
        name: [found[0] for found in clips] + [clip for found in clips for clip in found[1:]]
        for name, clips in choices.items()
    }
    shapes = {name: _shape(shards, name, rule) for name, rule in rules.items()}

    def read(rows: np.ndarray) -> Arrays:
        found = {
            name: np.empty((len(rows), *shape), dtype) for name, (shape, dtype) in shapes.items()
        }
        for name, array in found.items():
            for place, row in enumerate(rows):
                frames = shards.stream(name, int(sequences[row]))
                array[place] = frames[places[name][int(row)]]
        return found

    return Examples(shards.labels[sequences], shapes, read, draws)


def _draws(choices: Mapping[str, list[np.ndarray]]) -> Draws:
    """Raises ValueError where the streams have unlike numbers of clips."""
    counts = {name: np.array(list(map(len, found))) for name, found in choices.items()}
    first, *others = counts.values()
    if any((first != other).any() for other in others):
        raise ValueError(
            f"clips is 'random', and the clip rules of {', '.join(counts)} give unlike numbers of clips to draw "
            "from; leave it at paper for this architecture"
        )
    rows = np.arange(len(first))
    return Draws(first, np.concatenate([rows, np.repeat(rows, first - 1)]))


def evaluation_examples(shards: Shards, rules: Mapping[str, ClipRule], row: int) -> Arrays:
    """The evaluation clips of one sequence, [clips, time, ...] a stream, each with the sequence's label.

    Raises:
        ValueError: As `training_examples`; or the streams' rules give unlike numbers of clips.
    """
    length, sequence = int(shards.lengths[row]), shards.ids[row]
    places = {
        name: clips_lib.evaluation_clips(rule, length, sequence) for name, rule in rules.items()
    }
    count = max(map(len, places.values()))
    for name, frames in places.items():
        if len(frames) not in (1, count):
            raise ValueError(
                f"the clip rules of {', '.join(rules)} give unlike numbers of evaluation clips: "
                f"{name} has {len(frames)} and another {count}"
            )
        places[name] = np.broadcast_to(frames, (count, frames.shape[1]))
    found = {name: shards.stream(name, row)[frames] for name, frames in places.items()}
    return found | {LABEL: np.full(count, shards.labels[row], np.int32)}


def _shape(shards: Shards, name: str, rule: ClipRule) -> tuple[tuple[int, ...], np.dtype]:
    if name not in shards.streams:
        raise ValueError(
            f"{shards.name} has no stream {name!r}, only {', '.join(shards.streams)}: preprocess the set "
            f"with it (--{name}, where preprocess offers it), or choose another architecture"
        )
    dtype, shape = shards.streams[name]
    return (rule.frames, *shape), np.dtype(dtype)
