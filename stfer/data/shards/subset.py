"""Some sequences of a set as a set of their own, through which nothing of the others is read."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from stfer.data.shards.reader import Shards


@dataclasses.dataclass(frozen=True, eq=False)
class _Subset(Shards):
    """Sequences of another set; `_whole` and `_rows` say which."""

    _whole: Shards | None = None
    _rows: tuple[int, ...] = ()

    def stream(self, name: str, index: int) -> np.ndarray:
        """As `Shards.stream`."""
        assert self._whole is not None
        return self._whole.stream(name, self._rows[index])


def subset(shards: Shards, rows: Sequence[int] | np.ndarray) -> Shards:
    """Some sequences of a set, in the order given.

    Args:
        shards: The set.
        rows: int [n], places in it.

    Returns:
        A set of the same name. Its checksum is over these sequences alone, whatever the others hold.

    Raises:
        ValueError: There is no row.
    """
    rows = tuple(int(row) for row in rows)
    if not rows:
        raise ValueError(f"a part of {shards.name} needs at least one sequence")
    fields = {field.name: getattr(shards, field.name) for field in dataclasses.fields(Shards)}
    changed = {
        "ids": tuple(shards.ids[row] for row in rows),
        "subjects": tuple(shards.subjects[row] for row in rows),
        "labels": shards.labels[list(rows)],
        "lengths": shards.lengths[list(rows)],
        "more": tuple(shards.more[row] for row in rows) if shards.more else (),
        "checksum": _checksum(shards, rows),
    }
    return _Subset(**(fields | changed), _whole=shards, _rows=rows)


def _checksum(shards: Shards, rows: Sequence[int]) -> str:
    """SHA-256 over what a model can see of these sequences."""
    digest = hashlib.sha256()
    for row in rows:
        about = (shards.ids[row], shards.subjects[row], shards.classes[shards.labels[row]])
        digest.update("\n".join(about).encode())
        for name in sorted(shards.streams):
            digest.update(np.ascontiguousarray(shards.stream(name, row)))
    return digest.hexdigest()
