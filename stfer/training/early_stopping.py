"""Early stopping on validation subjects, around `stfer.training.fit` (off in the paper; on request only).

The held-out part of the fold given to `fit` holds the validation subjects; the subjects that the final
accuracy is reported on are in neither part, so choosing an epoch never sees them.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.folds import Fold
from stfer.storage.weights import load_weights, save_weights
from stfer.training.engine import Engine
from stfer.training.fit import Progress


def best_epoch(history: list[dict[str, float]]) -> int | None:
    """The epoch (from 1) of the smallest validation loss, the first of equals; None without epochs."""
    losses = [row["heldout_loss"] for row in history]
    return int(np.argmin(losses)) + 1 if losses else None


class EarlyStopping:
    """Stands in for an engine of one lane, and keeps the weights of the best epoch on disk.

    Give it to `fit` as the engine, with its `on_epoch`, and stop when `over` is true.

    Args:
        engine: The engine that trains.
        patience: Epochs without a better validation loss after which training is over.
        folder: Where the best weights are kept.
    """

    def __init__(self, engine: Engine, patience: int, folder: Path):
        if engine.lanes != 1:
            raise ValueError(f"early stopping follows one fold, not {engine.lanes} side by side")
        self._engine = engine
        self._patience = patience
        self._folder = folder
        self._state: Any = None
        self._best: int | None = None
        self.over = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def train(self, state: Any, staged: tuple) -> tuple:
        """As `Engine.train`; the new state is remembered until the next call."""
        state, totals = self._engine.train(state, staged)
        self._state = state
        return state, totals

    def on_epoch(self, fold: Fold, progress: Progress) -> None:
        """Keep the weights where the epoch is the best so far; notice the end of patience."""
        best = best_epoch(progress.history)
        if best == progress.epoch:
            state = self._engine.lane(self._state, 0)
            weights = {"params": state.params, "batch_stats": state.batch_stats}
            save_weights(self._place(best), weights, {"held_out": fold.held_out, "epoch": best})
        self._best = best
        self.over = progress.epoch - best >= self._patience

    def on_resume(self, fold: Fold, progress: Progress) -> None:
        """Notice that patience had ended already when the training was stopped."""
        del fold
        self._best = best = best_epoch(progress.history)
        self.over = best is not None and progress.epoch - best >= self._patience

    def on_save(self) -> None:
        """Remove what no saved state can come back to any more."""
        if self._best is not None:
            for other in self._folder.glob("*epoch=*"):
                if other != self._place(self._best):
                    shutil.rmtree(other, ignore_errors=True)

    def weights(self, history: list[dict[str, float]]) -> tuple[dict[str, Any], int]:
        """The weights of the best epoch of a history, and that epoch.

        Raises:
            FileNotFoundError: They are not there.
        """
        best = best_epoch(history)
        variables, _ = load_weights(self._place(best))
        return variables, best

    def _place(self, epoch: int) -> Path:
        return self._folder / f"epoch={epoch}"
