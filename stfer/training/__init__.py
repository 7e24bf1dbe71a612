"""Training: settings, tasks, steps, engines, checkpoints.

`config` has the settings and presets and imports no JAX; `task`, `augment`, `optimizers` and `stages` are what
researchers add to; `fit` trains the folds.
"""

__all__ = [
    "augment",
    "batches",
    "checkpoints",
    "config",
    "early_stopping",
    "engine",
    "fit",
    "mapped",
    "optimizers",
    "parallel",
    "related",
    "side_by_side",
    "stages",
    "step",
    "task",
]
