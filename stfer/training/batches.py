"""Which rows a fold trains on, in which order: from seed, fold name and epoch only.

An epoch visits every training row once in a fresh order; its last batch may be short (as Keras' `fit`
does). Every fold of a run gets index arrays of one shape: rows beyond the data have mask 0, steps
beyond the data are inactive. So folds of different sizes share one compiled program, exactly.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from stfer.data.examples import Draws
from stfer.data.folds import Fold

_DRAW = 1  # Ends the seed of a step's draws, which must not be that of an epoch's order.


@dataclass(frozen=True)
class Shape:
    """The one shape of every fold's index arrays.

    Attributes:
        steps: Steps of the longest epoch.
        batch: Rows of a batch.
        heldout: Held-out rows that are scored at once, at most a batch.
        parts: How many times that many hold the most rows held out.
        validation: The same two numbers of validation rows, parts first; (0, 0) without any.
    """

    steps: int
    batch: int
    heldout: int
    parts: int = 1
    validation: tuple[int, int] = (0, 0)

    @staticmethod
    def covering(folds: Sequence[Fold], batch_size: int) -> "Shape":
        """Return the smallest shape that holds every one of the folds."""
        steps = max(steps_an_epoch(fold, batch_size) for fold in folds)
        parts, heldout = _parts(max(1, *(len(fold.test) for fold in folds)), batch_size)
        validation = _parts(max(len(fold.validation) for fold in folds), batch_size)
        return Shape(steps, batch_size, heldout, parts, validation)


def _parts(rows: int, most: int) -> tuple[int, int]:
    """The fewest equal parts of at most `most` rows that hold `rows`, and the rows of a part."""
    parts = -(-rows // most)
    return parts, -(-rows // parts) if parts else 0


def fold_code(name: str) -> int:
    """A stable number for a fold's name (CRC-32), so that a fold's random streams depend on no other fold."""
    return zlib.crc32(name.encode())


def steps_an_epoch(fold: Fold, batch_size: int) -> int:
    """How many steps an epoch of the fold takes; its last batch may be short."""
    return -(-len(fold.train) // batch_size)


def init_key(seed: int, fold: str) -> jax.Array:
    """The random key of a fold's initial parameters."""
    return jax.random.fold_in(jax.random.key(seed), np.uint32(fold_code(fold)))


def epoch_plan(
    fold: Fold, epoch: int, seed: int, shape: Shape, draws: Draws | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the batches of an epoch.

    Args:
        fold: The split.
        epoch: From 0.
        seed: The run's seed.
        shape: The run's shape.
        draws: Draws a clip for every row, by a key of the step; None where each has one.

    Returns:
        indices: int32 [steps, batch], examples of the set, which are its rows where each has one clip; padding
            repeats row 0 of the fold.
        mask: float32 [steps, batch], 1 for a row of data.
    """
    code = fold_code(fold.held_out)
    order = np.random.default_rng((seed, code, epoch)).permutation(fold.train)
    indices, mask = _padded(order, (shape.steps, shape.batch))
    if draws is not None:
        before = epoch * steps_an_epoch(fold, shape.batch)
        for step, rows in enumerate(indices):
            random = np.random.default_rng((seed, code, before + step, _DRAW))
            drawn = draws.places(rows, random.random(len(rows)))
            indices[step] = np.where(mask[step] > 0, drawn, rows)
    return indices, mask


def watched_plans(fold: Fold, shape: Shape) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The held-out rows and, where the run has any, the validation rows.

    Returns:
        For each, rows int32 [parts, rows] and their mask float32 [parts, rows].
    """
    plans = [_padded(fold.test, (shape.parts, shape.heldout))]
    if shape.validation[0]:
        plans.append(_padded(fold.validation, shape.validation))
    return tuple(plans)


def _padded(rows: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    size = int(np.prod(shape))
    filler = rows[0] if len(rows) else 0
    indices = np.full(size, filler, np.int32)
    indices[: len(rows)] = rows
    mask = (np.arange(size) < len(rows)).astype(np.float32)
    return indices.reshape(shape), mask.reshape(shape)
