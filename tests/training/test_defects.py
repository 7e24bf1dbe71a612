"""Results that must not go wrong without a word."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tiny
from stfer.data.folds import Fold
from stfer.training import fit as fit_lib
from stfer.training import optimizers
from stfer.training.batches import Shape
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig
from stfer.training.engine import Engine

ROWS = 6
CONFIG = TrainConfig("tiny", epochs=1, batch_size=4, learning_rate=1e-3)


class Plain(nn.Module):
    """Flax's own batch normalisation, without a mask."""

    frames: int = 1

    @nn.compact
    def __call__(self, clips, *, train=False):
        x = clips.reshape(len(clips), -1)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.0, name="bn")(x)
        return nn.Dense(6)(x), {}


def engine(model, config=CONFIG, validation=(), test=()):
    frames = np.random.default_rng(0).integers(0, 255, (ROWS, 1, 4, 4, 3)).astype(np.uint8)
    train = [row for row in range(ROWS) if row not in (*validation, *test)]
    fold = Fold("S1", ("S1",), np.array(train), np.array(test, int), np.array(validation, int))
    examples = tiny.examples(frames, np.arange(ROWS) % 6)
    shape = Shape.covering([fold], config.batch_size)
    return Engine(tiny.learner(config, model), examples, shape), fold, frames


def train(built, fold, folder):
    return fit_lib.fit(built, [fold], [FoldCheckpoints(folder, {})])[0]


@pytest.mark.slow
def test_a_module_without_a_mask_never_sees_padding(tmp_path):
    """Six rows in batches of four: the last batch has two, and with momentum 0 its mean is the running one."""
    built, fold, frames = engine(Plain())
    state = train(built, fold, tmp_path).state
    from stfer.training.batches import epoch_plan

    indices, mask = epoch_plan(fold, 0, 0, built.shape)
    last = frames[indices[1][mask[1] > 0]].reshape(2, -1) / 255.0
    np.testing.assert_allclose(state.batch_stats["bn"]["mean"], last.mean(0), rtol=1e-4)


class Diverging(nn.Module):
    """Finite in training, not finite on frames that begin with 7."""

    frames: int = 1

    @nn.compact
    def __call__(self, clips, *, train=False):
        logits = nn.Dense(6)(clips.reshape(len(clips), -1))
        bad = (clips[:, 0, 0, 0, 0] * 255).round() == 7
        return jnp.where(bad[:, None] & (not train), jnp.nan, logits), {}


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("test", "held-out"),
        pytest.param("validation", "validation", marks=pytest.mark.slow),
    ],
)
def test_a_loss_that_is_not_finite_off_the_training_rows_is_an_error(tmp_path, part, named):
    config = dataclasses.replace(CONFIG, epochs=2)
    if part == "validation":
        config = dataclasses.replace(config, validation="S9", patience=2)
    built, fold, frames = engine(Diverging(), config, **{part: (5,)})
    frames[5, 0, 0, 0, 0] = 7
    with pytest.raises(fit_lib.NonFiniteLossError, match=f"the {named} loss is nan") as caught:
        train(built, fold, tmp_path)
    assert list(caught.value.rows) == [5]


def test_a_schedule_knows_its_folds_own_number_of_steps():
    config = TrainConfig("tiny", epochs=10, learning_rate=1.0, schedule="cosine", warmup_epochs=2.0)
    rate = jax.jit(lambda step, steps: optimizers.learning_rate(config, step, steps))
    for steps in (3, 7):  # Steps an epoch of two folds; one compiled function serves both.
        found = [float(rate(step, steps)) for step in range(10 * steps)]
        assert found[0] == pytest.approx(1 / (2 * steps))
        assert max(found) == pytest.approx(1.0)
        assert found.index(max(found)) in (2 * steps - 1, 2 * steps)
        middle = 0.5 * (1 + np.cos(np.pi * 0.5))
        assert found[6 * steps] == pytest.approx(middle)
        assert 0 < found[-1] < 0.05
    assert rate._cache_size() == 1


def test_the_step_key_depends_on_seed_fold_and_step_alone():
    from stfer.training.step import FoldConstants, step_key

    def key(seed=0, code=1, step=2, steps=3):
        fold = FoldConstants(np.uint32(code), np.int32(steps))
        found = step_key(TrainConfig("tiny", seed=seed), fold, jnp.int32(step))
        return tuple(np.asarray(jax.random.key_data(found)))

    assert len({key(), key(seed=1), key(code=2), key(step=3)}) == 4
    assert key() == key(steps=9)
