"""Training a fold: resumed to the bit, compiled once, streamed as resident, stopped on a bad loss."""

import dataclasses
import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tiny
from stfer.data.folds import Fold, folds
from stfer.training import fit as fit_lib
from stfer.training.batches import Shape
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig
from stfer.training.engine import Engine

CONFIG = TrainConfig("tiny", epochs=4, batch_size=4, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data():
    rows = list(tiny.sequences(subjects=4))
    clips = np.stack([frames[[-15, -1]] for *_, frames in rows])
    labels = np.array(
        [
            ["anger", "disgust", "fear", "happiness", "sadness", "surprise"].index(row[2])
            for row in rows
        ]
    )
    return tiny.examples(clips, labels), folds("loso", [r[1] for r in rows])


def engine_for(data, config=CONFIG, model=None, **options):
    clips, splits = data
    shape = Shape.covering(splits, config.batch_size)
    return Engine(tiny.learner(config, model), clips, shape, **options)


@pytest.fixture(scope="module")
def plain(data):
    """The engine of the settings above; tests that are no part of each other share its programs."""
    return engine_for(data)


# 1 is what a CPU takes, a whole epoch what a GPU does.
@pytest.fixture(
    scope="module",
    params=[1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 1000))],
    ids="steps_per_call={}".format,
)
def engine(request, data):
    config = dataclasses.replace(CONFIG, recompute_statistics=request.param == 2)
    return engine_for(data, config, steps_per_call=request.param)


def train(engine, fold, folder, **options):
    return fit_lib.fit(
        engine, [fold], [FoldCheckpoints(folder, {"held_out": fold.held_out})], **options
    )[0]


@pytest.mark.slow
def test_every_fold_uses_one_compiled_program(data, tmp_path):
    engine = engine_for(data)
    sizes = set()
    for fold in data[1]:
        fitted = train(engine, fold, tmp_path / fold.held_out)
        engine.classify(fitted.state, data[0].gather(fold.test))
        sizes.add((len(fold.train), len(fold.test)))
    assert len(sizes) > 1  # The folds do differ in size.
    assert [
        f._cache_size()
        for f in (engine._init, engine._train.jitted, engine._score, engine._classify)
    ] == [1] * 4


def test_history_has_the_losses_of_an_independent_evaluation(data, plain, tmp_path):
    engine = plain
    assert engine.shape.parts > 1  # Held-out rows are scored a batch at a time.
    fold = data[1][0]
    fitted = train(engine, fold, tmp_path)
    assert [row["epoch"] for row in fitted.progress.history] == [1, 2, 3, 4]
    probabilities = engine.classify(fitted.state, data[0].gather(fold.test))
    labels = data[0].labels[fold.test]
    last = fitted.progress.history[-1]
    picked = probabilities[np.arange(len(labels)), labels]
    assert last["heldout_loss"] == pytest.approx(-np.log(picked).mean(), rel=1e-4)
    assert last["heldout_accuracy"] == pytest.approx((probabilities.argmax(1) == labels).mean())
    assert last["train_loss"] < fitted.progress.history[0]["train_loss"]


@pytest.mark.parametrize("stop_after", [1, 7, 11])
@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_bits(data, tmp_path, engine, stop_after):
    fold = data[1][1]
    whole = train(engine, fold, tmp_path / "whole")
    calls = iter(range(10**6))
    with pytest.raises(fit_lib.Stopped):
        train(
            engine,
            fold,
            tmp_path / "parts",
            should_stop=lambda: next(calls) + 1 == min(stop_after, _calls(engine)),
        )
    resumed = train(engine, fold, tmp_path / "parts")
    assert tiny.leaves_equal(resumed.state, whole.state)
    assert resumed.progress.history == whole.progress.history


def test_a_state_that_is_not_finite_is_not_said_to_be_saved(data, tmp_path, caplog):
    """Running statistics that are no numbers leave the training loss finite, but nobody could go on from them."""
    fold = data[1][1]

    def spoil(state):
        bad = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), state.batch_stats)
        return state.replace(batch_stats=bad)

    sentence = f"stopped and saved, but for {fold.held_out}: a number in its state is not finite"
    with pytest.raises(fit_lib.Stopped, match=sentence) as caught:
        train(
            engine_for(data, steps_per_call=1),
            fold,
            tmp_path,
            starts=[spoil],
            should_stop=lambda: True,
        )
    assert caught.value.unsaved == (fold.held_out,)
    assert f"fold {fold.held_out}: a number in its state is not finite" in caplog.text
    assert not list(tmp_path.rglob("training/*"))


def _calls(engine):
    return engine.config.epochs * -(-engine.shape.steps // engine.steps_per_call)


@pytest.mark.slow
@pytest.mark.parametrize("resident", [True, False], ids=["resident", "streamed"])
def test_recomputed_statistics_are_those_of_the_training_clips_under_the_final_weights(
    data, tmp_path, resident
):
    clips, (fold, *_) = data
    running = dataclasses.replace(CONFIG, batch_size=7)
    assert 0 < len(fold.train) % 7 < 7 < len(fold.train) / 2  # Three batches, the last one short.
    recomputed = dataclasses.replace(running, recompute_statistics=True)
    a = train(engine_for(data, running, resident=resident), fold, tmp_path / "a")
    b = train(engine_for(data, recomputed, resident=resident), fold, tmp_path / "b")
    assert tiny.leaves_equal((a.state.params, a.state.step), (b.state.params, b.state.step))
    assert a.progress.history == b.progress.history
    frames = np.moveaxis(clips.gather(fold.train)["frames"] / np.float32(255), 1, 3)
    conv = b.state.params["conv"]
    features = jax.lax.conv_general_dilated(
        frames.reshape(*frames.shape[:3], -1), conv["kernel"], (4, 4), "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    features = np.maximum(np.asarray(features) + np.asarray(conv["bias"]), 0).reshape(-1, 8)
    found = b.state.batch_stats["bn"]
    np.testing.assert_allclose(found["mean"], features.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["var"], features.var(0), rtol=1e-4, atol=1e-6)
    assert not np.allclose(a.state.batch_stats["bn"]["mean"], features.mean(0), rtol=1e-3)


def test_groups_of_clips_are_told_apart_across_batches(data, plain, tmp_path):
    engine = plain
    state = train(engine, data[1][0], tmp_path).state
    rows = np.random.default_rng(0).integers(0, len(data[0].labels), 43)
    groups = np.split(rows, np.cumsum([3, 30, 1]))  # And nine: 43 clips in batches of eight.
    found = engine.classify_groups(state, (data[0].gather(group) for group in groups))
    assert [len(part) for part in found] == [3, 30, 1, 9]
    alone = [engine.classify(state, data[0].gather(rows[[place]]))[0] for place in range(43)]
    np.testing.assert_allclose(np.concatenate(found), alone, rtol=1e-5)
    assert len(np.unique(np.round(alone, 4), axis=0)) > 5  # Clips do differ.


@pytest.mark.slow
def test_streamed_batches_give_the_resident_result(data, tmp_path):
    fold = data[1][2]
    # The same bits from the same program: a step a call.
    resident = train(engine_for(data, resident=True, steps_per_call=1), fold, tmp_path / "a")
    streamed = train(engine_for(data, resident=False), fold, tmp_path / "b")
    assert tiny.leaves_equal(resident.state, streamed.state)
    assert resident.progress.history == streamed.progress.history


@pytest.mark.slow
def test_folds_leave_no_array_behind(data, tmp_path):
    engine, live = engine_for(data), []
    for fold in data[1]:
        train(engine, fold, tmp_path / fold.held_out)
        gc.collect()
        live.append(sum(array.nbytes for array in jax.live_arrays()))
    assert len(data[1]) > 3
    assert set(live[1:]) == {live[0]}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["tensorfloat32", "bfloat16"])
def test_a_lower_precision_trains_as_float32_does_up_to_its_rounding(data, tmp_path, precision):
    fold = data[1][0]
    found = {}
    for name in ("float32", precision):
        config = dataclasses.replace(CONFIG, precision=name)
        model = tiny.Tiny(dtype=jnp.bfloat16 if name == "bfloat16" else jnp.float32)
        engine = engine_for(data, config, model)
        fitted = train(engine, fold, tmp_path / name)
        assert {leaf.dtype for leaf in jax.tree.leaves(fitted.state.params)} == {
            np.dtype("float32")
        }
        found[name] = np.array([row["train_loss"] for row in fitted.progress.history])
    assert found[precision][-1] < 0.8 * found[precision][0]
    np.testing.assert_allclose(found[precision], found["float32"], rtol=0.1)


@pytest.mark.slow
def test_the_held_out_rows_do_not_reach_the_weights(data, tmp_path):
    clips, splits = data
    fold = splits[0]
    spoiled = clips.gather(np.arange(len(clips.labels)))["frames"].copy()
    spoiled[fold.test] = 255 - spoiled[fold.test]
    other = tiny.examples(spoiled, clips.labels)
    a = train(engine_for((clips, splits)), fold, tmp_path / "a")
    b = train(engine_for((other, splits)), fold, tmp_path / "b")
    assert tiny.leaves_equal(a.state, b.state)
    assert a.progress.history != b.progress.history  # The held-out loss does see them.


@pytest.mark.slow
def test_a_loss_that_is_not_finite_names_step_rate_and_batch(data, tmp_path):
    config = TrainConfig("tiny", epochs=3, batch_size=4, learning_rate=1e38)
    with pytest.raises(
        fit_lib.NonFiniteLossError, match=r"step \d+ .*learning rate 1e\+38"
    ) as caught:
        train(engine_for(data, config), data[1][0], tmp_path)
    assert set(caught.value.rows) <= set(data[1][0].train)


def test_a_fold_without_held_out_rows_trains(data, tmp_path):
    clips, _ = data
    fold = Fold("none", (), np.arange(len(clips.labels)), np.array([], int))
    engine = engine_for((clips, [fold]))
    assert np.isnan(train(engine, fold, tmp_path).progress.history[-1]["heldout_loss"])
