"""Order and padding of a fold's rows."""

import numpy as np
import pytest

from stfer.data.examples import Draws
from stfer.data.folds import Fold
from stfer.training import batches
from stfer.training.batches import Shape


def fold(name="S1", train=range(10, 17), test=(3, 4)):
    return Fold(name, (name,), np.array(list(train)), np.array(test))


def test_an_epoch_visits_every_training_row_once_and_no_held_out_row():
    indices, mask = batches.epoch_plan(fold(), 0, seed=0, shape=Shape(4, 3, 2))
    assert indices.shape == mask.shape == (4, 3)
    assert sorted(indices[mask > 0]) == list(range(10, 17))
    # 7 rows in batches of 3: two full batches, one row, then nothing.
    assert mask.sum(axis=1).tolist() == [3, 3, 1, 0]
    assert set(indices[mask == 0]) <= set(range(10, 17))  # Padding never reads a held-out clip.


@pytest.mark.parametrize("changed", [{"epoch": 1}, {"seed": 1}, {"fold": fold("S2")}])
def test_the_order_depends_on_seed_epoch_and_fold_name(changed):
    arguments = {"fold": fold(), "epoch": 0, "seed": 0}
    shape = Shape(1, 64, 2)
    many = {"train": range(64)}
    before, _ = batches.epoch_plan(fold(**many), 0, 0, shape)
    again, _ = batches.epoch_plan(fold(**many), 0, 0, shape)
    np.testing.assert_array_equal(before, again)
    arguments |= changed
    arguments["fold"] = fold(arguments["fold"].held_out, **many)
    other, _ = batches.epoch_plan(*arguments.values(), shape)
    assert not np.array_equal(before, other)


def test_the_covering_shape_holds_the_longest_epoch_and_the_largest_held_out_part():
    folds = [fold("a", range(9), (1, 2, 3)), fold("b", range(12), (5,))]
    assert Shape.covering(folds, 4) == Shape(steps=3, batch=4, heldout=3)
    # Seven rows held out, at most three at once: three parts of three hold them.
    many = Shape.covering([fold("a", range(9), range(9, 16))], 3)
    assert many == Shape(steps=3, batch=3, heldout=3, parts=3)
    ((rows, mask),) = batches.watched_plans(fold("a", range(9), range(9, 16)), many)
    assert rows.shape == mask.shape == (3, 3)
    assert rows[mask > 0].tolist() == list(range(9, 16))
    assert Shape.covering([fold("a", range(9), ())], 4).heldout == 1


def test_initial_parameters_have_a_stream_for_each_fold_and_seed():
    import jax

    keys = [batches.init_key(seed, name) for seed in (0, 1) for name in ("S1", "S2")]
    assert len({tuple(np.asarray(jax.random.key_data(key))) for key in keys}) == 4


def test_draws_are_keyed_by_the_step_and_leave_the_order_as_it_is():
    own = np.arange(20)
    draws = Draws(np.full(20, 5), np.concatenate([own, np.repeat(own, 4)]))
    one, shape = fold(train=range(10, 17)), Shape(4, 3, 2)
    plain = [batches.epoch_plan(one, epoch, 0, shape) for epoch in range(40)]
    drawn = [batches.epoch_plan(one, epoch, 0, shape, draws) for epoch in range(40)]
    for (rows, mask), (places, same) in zip(plain, drawn, strict=True):
        np.testing.assert_array_equal(mask, same)
        np.testing.assert_array_equal(draws.sequences[places], rows)
        np.testing.assert_array_equal(places[mask == 0], rows[mask == 0])
    again = batches.epoch_plan(one, 7, 0, shape, draws)[0]  # of no epoch before it
    np.testing.assert_array_equal(again, drawn[7][0])
    # Each of the five clips of a sequence comes about as often: 40 draws, 8 of each expected.
    seen = [places[mask > 0] for places, mask in drawn]
    counts = np.bincount([p for part in seen for p in part if draws.sequences[p] == 12])
    assert counts[counts > 0].min() >= 1
    assert (counts > 0).sum() == 5
    assert not np.array_equal(seen[0], seen[1])
