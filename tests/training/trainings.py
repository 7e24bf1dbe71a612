"""Trainings of the tiny network that tests compare: on one device, a fold a device, several, or a split batch."""

import jax
import numpy as np

import tiny
from stfer.data.folds import folds
from stfer.data.sequence import EMOTIONS_6
from stfer.training import fit as fit_lib
from stfer.training.batches import Shape
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig

# 5 subjects of 6 or 5 classes: neither folds, nor batches of 6, nor epochs fill four devices evenly.
# The large epsilon keeps Adam from making whole steps of gradients that are nothing but rounding.
CONFIG = TrainConfig(
    "tiny",
    epochs=2,
    batch_size=6,
    learning_rate=1e-2,
    adam_epsilon=1e-2,
    recompute_statistics=True,
)


def clips_and_folds():
    """The last frame and the fifteenth before it of the tiny set, and its folds."""
    rows = list(tiny.sequences(subjects=5))
    clips = np.stack([frames[[-15, -1]] for *_, frames in rows])
    labels = np.array([EMOTIONS_6.index(row[2]) for row in rows], np.int32)
    return tiny.examples(clips, labels), folds("loso", [row[1] for row in rows])


def build(kind, data, config=CONFIG, model=None, **options):
    clips, splits = data
    shape = Shape.covering(splits, config.batch_size)
    return kind(tiny.learner(config, model), clips, shape, **options)


def train(engine, splits, folder, **options):
    saved = [FoldCheckpoints(folder / fold.held_out, {}) for fold in splits]
    return fit_lib.fit(engine, splits, saved, **options)


def assert_same_training(ours, theirs, rtol=1e-4, atol=1e-5, weights_only=False):
    """The same up to rounding: another program may add in another order."""
    for tree in ("params", "batch_stats", *(() if weights_only else ("opt_state",))):
        pairs = zip(
            jax.tree.leaves(getattr(ours.state, tree)),
            jax.tree.leaves(getattr(theirs.state, tree)),
            strict=True,
        )
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    assert weights_only or ours.state.step == theirs.state.step
    for a, b in zip(ours.progress.history, theirs.progress.history, strict=True):
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4)
