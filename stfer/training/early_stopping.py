"""Early stopping on a fold's validation subjects (off in the paper; on request only).

Validation subjects are training subjects that the fold sets aside; the subjects that the accuracy is
reported on are never among them, so choosing an epoch never sees them.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from stfer.storage.weights import load_weights, save_weights
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.step import TrainState

History = Sequence[Mapping[str, float]]


def best_epoch(history: History) -> int | None:
    """The epoch (from 1) of the smallest validation loss, the first of equals; None without epochs."""
    losses = [row["validation_loss"] for row in history]
    return int(np.argmin(losses)) + 1 if losses else None


class BestWeights:
    """The weights of a fold's best epoch, kept on disk beside its training states.

    Args:
        checkpoints: The fold's.
        patience: Epochs without a better validation loss after which training is over; 0 keeps nothing and the
            last epoch counts.
    """

    def __init__(self, checkpoints: FoldCheckpoints, patience: int):
        self._checkpoints = checkpoints
        self._patience = patience

    def epoch(self, history: History) -> int | None:
        """The best epoch of a history; None where the last one counts."""
        return best_epoch(history) if self._patience else None

    def is_over(self, history: History) -> bool:
        """Whether patience has ended."""
        best = self.epoch(history)
        return best is not None and len(history) - best >= self._patience

    def keep(self, history: History, state: Callable[[], TrainState]) -> None:
        """Keep the state's weights where the history's last epoch is the best so far."""
        best = self.epoch(history)
        if best is not None and best == len(history):
            found = state()
            weights = {"params": found.params, "batch_stats": found.batch_stats}
            save_weights(self._place(best), weights, self._checkpoints.identity | {"epoch": best})

    def prune(self, history: History) -> None:
        """Remove what no saved state can come back to any more."""
        best = self.epoch(history)
        if best is not None:
            for other in self._checkpoints.best.glob("*epoch=*"):
                if other != self._place(best):
                    shutil.rmtree(other, ignore_errors=True)

    def used(self, state: TrainState, history: History) -> TrainState:
        """The state with the weights of the epoch that counts.

        Raises:
            FileNotFoundError: They are not there.
        """
        best = self.epoch(history)
        return state if best is None else state.replace(**load_weights(self._place(best))[0])

    def _place(self, epoch: int) -> Path:
        return self._checkpoints.best / f"epoch={epoch}"
