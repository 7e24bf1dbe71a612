"""Several folds on a device: the results of one fold alone, whatever else trains beside it."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import linen as nn
from trainings import CONFIG, assert_same_training, build, clips_and_folds, train

import tiny
from stfer.data.folds import with_validation
from stfer.data.sequence import EMOTIONS_6
from stfer.runs.local import Launch
from stfer.training import fit as fit_lib
from stfer.training import parallel
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.engine import Engine

# Folds of 22 and of 23 clips: epochs of two and of three steps.
UNEVEN = CONFIG.replace(batch_size=11)
# The last is the program of a GPU: a whole epoch, one scan.
FORMS = pytest.mark.parametrize(
    "form",
    [{"resident": True}, {"resident": False}, {"resident": True, "steps_per_call": 1000}],
    ids=["resident", "streamed", "whole epoch"],
)


@pytest.fixture(scope="module")
def data():
    return clips_and_folds()


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """Every fold on one device."""
    engine = build(Engine, data, UNEVEN)
    return [train(engine, [fold], tmp_path_factory.mktemp("alone"))[0] for fold in data[1]]


def beside(data, devices=1, folds=2, config=UNEVEN, **options):
    """An engine of several folds a device."""
    if jax.device_count() < devices:
        pytest.skip(f"{jax.device_count()} devices; this test needs {devices}")
    places = jax.devices()[:devices]
    options |= {"folds_per_device": folds, "devices": places}
    return build(parallel.FoldsEngine, data, config, **options)


@pytest.mark.gpu
@pytest.mark.slow
@FORMS
def test_several_folds_a_device_give_the_folds_of_one_device(data, alone, tmp_path, form):
    devices = min(2, jax.device_count())
    engine = beside(data, devices=devices, folds=4 // devices, **form)
    assert engine.lanes == 4
    splits = data[1]
    assert {-(-len(fold.train) // UNEVEN.batch_size) for fold in splits} == {2, 3}
    # Five folds: four lanes, then one with three lanes idle.
    fitted = train(engine, splits[:4], tmp_path) + train(engine, splits[4:], tmp_path)
    for ours, theirs in zip(fitted, alone, strict=True):
        assert_same_training(ours, theirs)
        clips = data[0].gather(ours.fold.test)
        found, expected = (engine.classify(one.state, clips) for one in (ours, theirs))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found.argmax(1), expected.argmax(1))


class Dropping(tiny.Tiny):
    """The tiny network with half of its frames' pixels dropped in training."""

    @nn.compact
    def __call__(self, clips, *, train=False, mask=None):
        clips = nn.Dropout(0.5, deterministic=not train)(clips)
        return super().__call__(clips, train=train, mask=mask)


@pytest.mark.gpu
@pytest.mark.slow
def test_random_keys_and_early_stopping_are_each_fold_s_own(data, tmp_path):
    config = UNEVEN.replace(
        epochs=6, patience=1, validation="0.2", augment="mirror", recompute_statistics=False
    )
    people = [f"S{number:03d}" for number in range(5)]
    subjects = [None] * len(data[0].labels)
    for fold in data[1]:
        for row in fold.test:
            subjects[row] = fold.held_out
    splits = [
        with_validation(fold, subjects, [people[number - 1]], config.seed)
        for number, fold in enumerate(data[1][:3])
    ]
    # The first fold is validated on false labels: the better it learns, the higher its validation loss.
    labels = data[0].labels.copy()
    falsely = splits[0].validation
    labels[falsely] = (labels[falsely] + 1) % len(EMOTIONS_6)
    clips = dataclasses.replace(data[0], labels=labels)
    options = {"config": config, "model": Dropping()}
    one = build(Engine, (clips, splits), **options)
    expected = [train(one, [fold], tmp_path / "alone")[0] for fold in splits]
    ends = {fitted.progress.epoch for fitted in expected}
    assert len(ends) > 1, ends
    fitted = train(beside((clips, splits), folds=3, **options), splits, tmp_path / "beside")
    for ours, theirs in zip(fitted, expected, strict=True):
        assert ours.best_epoch == theirs.best_epoch
        assert ours.progress.epoch == theirs.progress.epoch
        # A fold that is over is carried on beside the others: what counts of it are its best weights.
        over = theirs.progress.epoch < config.epochs
        assert_same_training(ours, theirs, weights_only=over)


@pytest.mark.slow
def test_stopped_folds_go_on_to_the_same_bits_and_their_checkpoints_fit_any_engine(
    data, alone, tmp_path
):
    splits = data[1][:2]
    engine = beside(data)
    whole = train(engine, splits, tmp_path / "whole")

    def stopped(with_engine, groups, folder):
        for group in groups:
            turn = iter(range(100))
            with pytest.raises(fit_lib.Stopped):
                train(with_engine, group, folder, should_stop=lambda t=turn: next(t) == 4)

    stopped(engine, [splits], tmp_path / "parts")
    state = FoldCheckpoints(tmp_path / "parts" / splits[1].held_out, {}).restore(whole[1].state)[0]
    assert int(state.step) == 5
    for ours, theirs in zip(train(engine, splits, tmp_path / "parts"), whole, strict=True):
        assert tiny.leaves_equal(ours.state, theirs.state)
        assert ours.progress.history == theirs.progress.history

    one = build(Engine, data, UNEVEN)
    stopped(engine, [splits], tmp_path / "to one")
    stopped(one, [[fold] for fold in splits], tmp_path / "from one")
    found = [train(one, [fold], tmp_path / "to one")[0] for fold in splits]
    found += train(engine, splits, tmp_path / "from one")
    for ours, theirs in zip(found, alone[:2] * 2, strict=True):
        assert_same_training(ours, theirs)


def test_several_folds_a_device_are_folds_side_by_side_on_one_device_too():
    assert parallel.resolve("auto", many_folds=True, devices=1, folds_per_device=2) == "folds"
    assert parallel.resolve("auto", many_folds=True, devices=1, folds_per_device=1) == "none"
    for how in ("none", "batch"):
        with pytest.raises(ValueError, match=f"--folds_per_device=2 .*--parallel={how} does not"):
            Launch(how, folds_per_device=2)
    with pytest.raises(ValueError, match="--folds_per_device=0 must be at least 1"):
        Launch(folds_per_device=0)
