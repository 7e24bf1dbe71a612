"""A fold a device, and a batch over the devices: the results of one device, on four forced CPU devices."""

import functools

import jax
import numpy as np
import pytest
from trainings import CONFIG, assert_same_training, build, clips_and_folds, train

import tiny
from stfer import models
from stfer.training import fit as fit_lib
from stfer.training import parallel, step
from stfer.training.batches import Shape
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig
from stfer.training.engine import Call, Engine

DEVICES = 4

# The last is the program of a GPU: a whole epoch, one scan.
FORMS = pytest.mark.parametrize(
    "form",
    [{"resident": True}, {"resident": False}, {"resident": True, "steps_per_call": 1000}],
    ids=["resident", "streamed", "whole epoch"],
)


@pytest.fixture(scope="module", autouse=True)
def _four_devices():
    if jax.device_count() < DEVICES:
        pytest.skip(f"{jax.device_count()} devices; these tests need {DEVICES}")


@pytest.fixture(scope="module")
def data():
    return clips_and_folds()


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """Every fold on one device."""
    engine = build(Engine, data)
    fitted = [train(engine, [fold], tmp_path_factory.mktemp("alone"))[0] for fold in data[1]]
    return [(f, engine.classify(f.state, data[0].gather(f.fold.test))) for f in fitted]


@pytest.mark.slow
@FORMS
def test_a_fold_a_device_gives_the_folds_of_one_device(data, alone, tmp_path, form):
    engine = build(parallel.FoldsEngine, data, **form)
    assert engine.lanes == DEVICES
    splits = data[1]
    # Five folds: four lanes, then one with three lanes idle.
    fitted = train(engine, splits[:4], tmp_path) + train(engine, splits[4:], tmp_path)
    for ours, (theirs, probabilities) in zip(fitted, alone, strict=True):
        assert_same_training(ours, theirs)
        found = engine.classify(ours.state, data[0].gather(ours.fold.test))
        np.testing.assert_allclose(found, probabilities, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found.argmax(1), probabilities.argmax(1))


@pytest.mark.slow
def test_folds_that_stopped_at_different_places_go_on_side_by_side(data, alone, tmp_path):
    splits = data[1][:3]
    one = build(Engine, data)
    for fold, calls in zip(splits, (1, 3, 7), strict=True):
        turn = iter(range(100))
        with pytest.raises(fit_lib.Stopped):
            train(one, [fold], tmp_path, should_stop=lambda t=turn, n=calls: next(t) + 1 == n)
    fitted = train(build(parallel.FoldsEngine, data), splits, tmp_path)
    for ours, (theirs, _) in zip(fitted, alone[:3], strict=True):
        assert_same_training(ours, theirs)


@pytest.mark.slow
def test_stopped_lanes_go_on_to_the_same_bits(data, tmp_path):
    splits = data[1][:4]
    engine = build(parallel.FoldsEngine, data)
    whole = train(engine, splits, tmp_path / "whole")
    turn = iter(range(100))
    with pytest.raises(fit_lib.Stopped):
        train(engine, splits, tmp_path / "parts", should_stop=lambda: next(turn) == 4)
    for fold, fitted in zip(splits, whole, strict=True):
        restored = FoldCheckpoints(tmp_path / "parts" / fold.held_out, {}).restore(fitted.state)
        assert int(restored[0].step) == 5
    for ours, theirs in zip(train(engine, splits, tmp_path / "parts"), whole, strict=True):
        assert tiny.leaves_equal(ours.state, theirs.state)
        assert ours.progress.history == theirs.progress.history


@pytest.mark.slow
@pytest.mark.parametrize("folds_per_device", [1, 2])
def test_a_bad_loss_in_one_lane_leaves_the_others_where_they_were(
    data, alone, tmp_path, folds_per_device
):
    clips, splits = data
    poisoned = splits[1].train[0]

    class Poisoned(tiny.Tiny):
        """Not finite in training on clips whose first pixel is 7, 77, 177."""

        def __call__(self, clips, *, train=False, mask=None):
            logits, out = super().__call__(clips, train=train, mask=mask)
            mark = jax.numpy.array([7, 77, 177]) / 255.0
            bad = (abs(clips[:, 0, 0, 0] - mark[None]) < 1e-4).all(-1)
            return jax.numpy.where(train & bad[:, None], jax.numpy.nan, logits), out

    frames = clips.gather(np.arange(len(clips.labels)))["frames"].copy()
    frames[poisoned, 0, 0, 0] = 7, 77, 177
    marked = tiny.examples(frames, clips.labels)
    group = [fold for fold in splits[:3] if poisoned not in fold.train or fold is splits[1]]
    assert len(group) == 2  # The one that trains on the marked clip, and the one that holds it out.
    engine = build(
        parallel.FoldsEngine,
        (marked, splits),
        model=Poisoned(),
        folds_per_device=folds_per_device,
        devices=jax.devices()[: 2 // folds_per_device],
    )
    with pytest.raises(fit_lib.NonFiniteLossError) as caught:
        train(engine, group, tmp_path)
    assert caught.value.fold == splits[1].held_out
    assert poisoned in caught.value.rows
    good = [fold for fold in group if fold is not splits[1]]
    restored = FoldCheckpoints(tmp_path / good[0].held_out, {}).restore(alone[0][0].state)
    assert int(restored[0].step) > 0
    (fitted,) = train(engine, good, tmp_path)
    assert fitted.progress.epoch == CONFIG.epochs


@pytest.mark.slow
@FORMS
def test_a_batch_over_the_devices_gives_the_training_of_one_device(data, alone, tmp_path, form):
    engine = build(parallel.BatchEngine, data, **form)
    (ours,) = train(engine, data[1][:1], tmp_path)
    theirs, probabilities = alone[0]
    assert_same_training(ours, theirs)
    found = engine.classify(ours.state, data[0].gather(ours.fold.test))
    np.testing.assert_allclose(found, probabilities, atol=1e-4)


@pytest.mark.slow
def test_a_batch_over_the_devices_resumes_to_the_same_bits(data, tmp_path):
    engine = build(parallel.BatchEngine, data)
    (whole,) = train(engine, data[1][:1], tmp_path / "whole")
    turn = iter(range(100))
    with pytest.raises(fit_lib.Stopped):
        train(engine, data[1][:1], tmp_path / "parts", should_stop=lambda: next(turn) == 2)
    (resumed,) = train(engine, data[1][:1], tmp_path / "parts")
    assert tiny.leaves_equal(resumed.state, whole.state)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [5])
def test_one_split_step_is_the_step_of_the_whole_batch(data, rows):
    """Shares of 2, 2, 1 and 0 rows; gradients are compared through plain Adam's first step."""
    config = TrainConfig("tiny", epochs=1, batch_size=rows, learning_rate=1e-2)
    clips, splits = data
    engine = build(parallel.BatchEngine, data, config)
    key = jax.random.key(3)
    indices = splits[0].train[:rows].astype(np.int32)
    none = np.zeros(1, np.float32)
    call = Call(
        indices[None],
        np.ones((1, rows), np.float32),
        np.array([True]),
        tiny.FOLD,
        ((indices[None, :1], none[None]),),
    )
    state, ((totals, _),) = engine.train(engine.init([key]), engine.stage([call]))
    learner = tiny.learner(config)
    plain = step.init_state(learner, clips.empty(1), key)
    whole = jax.jit(functools.partial(step.train_step, learner))
    ones = np.ones(rows, np.float32)
    expected, sums = whole(plain, clips.gather(indices), indices, ones, tiny.FOLD)
    np.testing.assert_allclose(totals.loss[0], sums.loss, rtol=1e-5)
    assert totals.count[0] == rows
    # Adam's first moment after one step is a tenth of the gradient.
    for got, want in zip(
        jax.tree.leaves((state.opt_state.mu, state.batch_stats)),
        jax.tree.leaves((expected.opt_state.mu, expected.batch_stats)),
        strict=True,
    ):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [parallel.FoldsEngine, parallel.BatchEngine])
def test_the_resident_set_is_sent_once_and_a_step_sends_nothing(data, kind):
    engine = build(kind, data, resident=True)
    splits = data[1][: engine.lanes]
    progress = [fit_lib.Progress() for _ in splits]
    calls = [calls for _, calls in fit_lib._calls(engine, splits, progress, [False] * len(splits))][
        :3
    ]
    state = engine.init([jax.random.key(n) for n in range(len(splits))])
    state, _ = engine.train(state, engine.stage(calls[0]))
    pools = set()
    for call in calls[1:]:
        staged = engine.stage(call)
        with (
            jax.transfer_guard_host_to_device("disallow"),
            jax.transfer_guard_device_to_device("disallow"),
        ):
            state, _ = engine.train(state, staged)
        pools.add(id(engine._pool["frames"]))
    assert len(pools) == 1


@pytest.mark.slow
def test_all_folds_and_groups_use_one_compiled_program(data, tmp_path):
    traces = []

    class Counting(tiny.Tiny):
        def __call__(self, clips, *, train=False, mask=None):
            traces.append(clips.shape)
            return super().__call__(clips, train=train, mask=mask)

    engine = build(parallel.FoldsEngine, data, model=Counting())
    counts = []
    for group in (data[1][:4], data[1][4:]):
        for fitted in train(engine, group, tmp_path):
            engine.classify(fitted.state, data[0].gather(fitted.fold.test))
        counts.append(len(traces))
    assert counts[0] == counts[1] > 0


@pytest.mark.slow
def test_our_blocks_train_with_a_split_batch():
    """Two towers, so batch statistics are joint over towers and devices."""
    widths = {"block1_features": 4, "block2_features": 4, "block3_features": (4, 4, 4)}
    model = models.create_model("late_fusion", head_features=(8, 8), **widths)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (5, model.frames, 128, 128, 3), dtype=np.uint8)
    clips = tiny.examples(frames, np.arange(5))
    config = TrainConfig("late_fusion", epochs=1, batch_size=5, learning_rate=1e-3)
    rows = np.arange(5, dtype=np.int32)
    ones = np.ones((1, 5), np.float32)
    call = Call(rows[None], ones, np.array([True]), tiny.FOLD, ((rows[None], ones),))
    found = []
    for kind in (Engine, parallel.BatchEngine):
        engine = kind(tiny.learner(config, model), clips, Shape(1, 5, 5))
        state, totals = engine.train(engine.init([jax.random.key(0)]), engine.stage([call]))
        found.append(jax.tree.leaves((totals, state.batch_stats, state.opt_state.mu)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)


def test_auto_takes_folds_for_many_trainings_and_the_batch_for_one():
    assert parallel.resolve("auto", many_folds=True, devices=4) == "folds"
    assert parallel.resolve("auto", many_folds=False, devices=4) == "batch"
    assert parallel.resolve("auto", many_folds=True, devices=1) == "none"
    assert parallel.resolve("none", many_folds=True, devices=4) == "none"
    with pytest.raises(ValueError, match="one of auto, folds, batch, none"):
        parallel.resolve("all", many_folds=True)


def test_a_model_without_an_axis_cannot_split_its_batch(data):
    from flax import linen as nn

    class Plain(nn.Module):
        frames: int = 2

        @nn.compact
        def __call__(self, clips, *, train=False, mask=None):
            return nn.Dense(6)(clips.reshape(len(clips), -1)), {}

    class Maskless(Plain):
        def __call__(self, clips, *, train=False):
            return super().__call__(clips, train=train)

    with pytest.raises(ValueError, match="--parallel=folds or none"):
        build(parallel.BatchEngine, data, model=Plain())
    for kind in (parallel.BatchEngine, parallel.FoldsEngine):
        with pytest.raises(ValueError, match=r"add mask=None .*--parallel=none"):
            build(kind, data, model=Maskless())
