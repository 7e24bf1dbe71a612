"""The class `neutral`: every sequence's calm beginning as a sequence of its own.

Sequences run from neutral to apex, so their first frames are calm. A sequence of this class goes back and forth over
them, as long as the longest clip of the six architectures needs; its first and last frames are different ones.
"""

import dataclasses
import hashlib

import numpy as np

from stfer.data.labels import NEUTRAL
from stfer.data.shards import Shards

LENGTH = 15
LEAST_CALM = 3
SHARE = 1 / 6  # of a sequence, from its start: what counts as calm.


@dataclasses.dataclass(frozen=True, eq=False)
class _WithNeutral(Shards):
    """The original sequences, then one calm beginning for each."""

    def stream(self, name: str, index: int) -> np.ndarray:
        """As `Shards.stream`; of a calm beginning a copy."""
        count = len(self.ids) // 2
        if index < count:
            return super().stream(name, index)
        return super().stream(name, index - count)[calm_frames(int(self.lengths[index - count]))]


def calm_frames(length: int) -> np.ndarray:
    """Frames of the calm beginning of a sequence of `length` frames, back and forth: int64 [LENGTH]."""
    calm = min(length, max(LEAST_CALM, round(SHARE * length)))
    there = np.arange(calm)
    cycle = np.concatenate([there, there[-2:0:-1]])
    return np.resize(cycle, LENGTH)


def with_neutral(shards: Shards) -> Shards:
    """A set with the class `neutral` after its own, and each sequence's calm beginning in it.

    Raises:
        ValueError: The set has that class already.
    """
    if NEUTRAL in shards.classes:
        raise ValueError(f"{shards.name} has the class {NEUTRAL} already: leave --neutral out")
    fields = {f.name: getattr(shards, f.name) for f in dataclasses.fields(Shards)}
    count = len(shards)
    checksum = hashlib.sha256(f"{shards.checksum} with {NEUTRAL}".encode()).hexdigest()
    changed = {
        "name": f"{shards.name} with {NEUTRAL}",
        "classes": (*shards.classes, NEUTRAL),
        "ids": (*shards.ids, *(f"{name} {NEUTRAL}" for name in shards.ids)),
        "subjects": shards.subjects * 2,
        "labels": np.append(shards.labels, np.full(count, len(shards.classes), np.int32)),
        "lengths": np.append(shards.lengths, np.full(count, LENGTH, np.int32)),
        "checksum": checksum,
    }
    return _WithNeutral(**(fields | changed))
