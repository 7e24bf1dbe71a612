"""Checkpoints of one fold: train state and position, written by Orbax, checked on the way back.

While a fold trains, `training/` holds its last two states. When it has ended, `checkpoint/` holds the
weights alone (parameters and batch statistics of the last epoch) and `training/` goes. What lies beside
the arrays is `stfer.storage.weights`'s record.
"""

import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from stfer.storage import weights
from stfer.storage.weights import CheckpointError, ForeignCheckpointError
from stfer.training.step import TrainState

_log = logging.getLogger(__name__)


class FoldCheckpoints:
    """The checkpoints of one fold.

    Args:
        folder: The fold's folder; made when the first checkpoint is written.
        identity: JSON-serialisable settings that the state belongs to.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]):
        self._folder = Path(os.path.abspath(folder))
        self._identity = dict(identity)

    @property
    def identity(self) -> dict[str, Any]:
        """What the state belongs to."""
        return dict(self._identity)

    @property
    def _training(self) -> Path:
        return self._folder / "training"

    @property
    def weights(self) -> Path:
        """Where the finished fold's weights are."""
        return self._folder / "checkpoint"

    @property
    def folder(self) -> Path:
        """The fold's folder."""
        return self._folder

    @property
    def best(self) -> Path:
        """Where early stopping keeps the weights of the best epoch so far."""
        return self._folder / "best"

    def save(self, state: TrainState, progress: Mapping[str, Any]) -> bool:
        """Write the state and the position; an earlier good checkpoint stays until this one is complete.

        Returns:
            Whether it was written: a state with a number that is not finite is not, as training could not go on
            from it.

        Raises:
            OSError: The file system refused; names the folder.
        """
        host = jax.device_get(state)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(host)):
            return False
        with weights.writing(self._training), self._manager() as manager:
            taken = set(manager.all_steps())
            number = max(taken, default=-1) + 1
            manager.save(
                number,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(host),
                    record=ocp.args.JsonSave(
                        weights.describe(host, self._identity) | {"progress": dict(progress)}
                    ),
                ),
                force=True,
            )
        return True

    def restore(self, template: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Return the newest complete state and its position, or None where there is none.

        A checkpoint that does not read back as it was written is passed over with a warning; the one
        before it is taken, or training starts anew.

        Raises:
            CheckpointError: A complete checkpoint belongs to other settings; names the fields.
        """
        if not self._training.is_dir():
            return None
        abstract = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), template)
        with self._manager() as manager:
            for number in sorted(manager.all_steps(), reverse=True):
                where = self._training / str(number)
                try:
                    record = manager.restore(
                        number, args=ocp.args.Composite(record=ocp.args.JsonRestore())
                    )["record"]
                    weights.check_identity(where, record, self._identity)
                    state = manager.restore(
                        number, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
                    )["state"]
                    weights.check_digests(where, record, state)
                except ForeignCheckpointError:
                    raise
                except CheckpointError as error:
                    _log.warning("%s; passing it over", error)
                except (
                    Exception
                ) as error:  # Orbax and TensorStore raise many kinds for a broken file.
                    _log.warning(
                        "checkpoint %s cannot be read (%s); passing it over",
                        where,
                        weights.first_line(error),
                    )
                else:
                    return state, record["progress"]
        return None

    def discard_training(self) -> None:
        """Remove the states of the training that has ended."""
        for folder in (self._training, self.best):
            shutil.rmtree(folder, ignore_errors=True)

    def _manager(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        return ocp.CheckpointManager(self._training, options=options)
