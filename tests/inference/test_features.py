"""Features once a frame give what the whole model gives."""

import jax
import numpy as np
import pytest
from trained_models import TINY, noise

from stfer.inference.features import Network, TowerNetwork, network
from stfer.models import LateFusion

WHOLE = ("early_fusion", "slow_fusion", "conv3d")
SHARING = ("single_frame", "late_fusion", "rnn")


@pytest.mark.parametrize(
    "name",
    [
        "late_fusion",
        *(pytest.param(n, marks=pytest.mark.slow) for n in WHOLE + SHARING if n != "late_fusion"),
    ],
)
def test_sliding_clips_equal_the_plain_model(tiny, name):
    model = tiny(name)
    frames = noise(12)
    places = np.arange(12 - model.rule.frames + 1)[:, None] + np.arange(model.rule.frames)
    items = model.network.encode(list(frames))
    found = model.network.classify([[items[p] for p in clip] for clip in places])
    clips = frames[places].astype(np.float32) / np.float32(255)
    logits, _ = jax.jit(model.module.apply)(model.variables, clips)
    np.testing.assert_allclose(found, jax.nn.softmax(logits), rtol=2e-5, atol=1e-6)
    assert np.ptp(logits, axis=0).max() > 1e-3, "clips must differ for this to mean much"


def test_sharing_architectures_run_their_tower_once_a_frame(tiny):
    assert {type(tiny(name).network) for name in SHARING} == {TowerNetwork}
    assert {type(tiny(name).network) for name in WHOLE} == {Network}


@pytest.mark.slow
def test_a_subclass_that_joins_its_frames_earlier_is_run_whole(tiny):
    class Difference(LateFusion):
        def __call__(self, clips, *, train=False, mask=None):
            return super().__call__(clips - clips[:, :1], train=train, mask=mask)

    class Halves(Difference):
        def join(self, features, *, train=False):
            return super().join(features / 2, train=train)

    frames = noise(3)
    clips = (frames[None, [0, 2]] / np.float32(255)).astype(np.float32)
    for kind in (Difference, Halves):
        run = network(kind(**TINY), tiny("late_fusion").variables)
        assert type(run) is Network
        (found,) = run.classify([[*run.encode([frames[0], frames[2]])]])
        logits, _ = kind(**TINY).apply(tiny("late_fusion").variables, clips)
        np.testing.assert_allclose(found, jax.nn.softmax(logits)[0], rtol=2e-5, atol=1e-6)


@pytest.mark.slow
def test_a_subclass_that_changes_encode_or_join_still_shares_its_tower(tiny):
    class Squared(LateFusion):
        def join(self, features, *, train=False):
            return super().join(features**2, train=train)

    class Inverted(Squared):
        def encode(self, frames, *, train=False, mask=None):
            return super().encode(1 - frames, train=train, mask=mask)

        def join(self, features, *, train=False):
            return super().join(features, train=train)

        def __call__(self, clips, *, train=False, mask=None):
            return super().__call__(clips, train=train, mask=mask)

    frames = noise(2)
    for kind in (Squared, Inverted):
        run = network(kind(**TINY), tiny("late_fusion").variables)
        assert type(run) is TowerNetwork
        (found,) = run.classify([run.encode(list(frames))])
        whole = run.probabilities(frames[None])[0]
        np.testing.assert_allclose(found, whole, rtol=2e-5, atol=1e-6)


@pytest.mark.slow
def test_batch_sizes_do_not_change_the_answer(tiny):
    model = tiny("single_frame")
    clips = noise(40, seed=1)[:, None]
    together = model.predict_clips(clips)
    apart = np.concatenate([model.predict_clips(clips[i : i + 7]) for i in range(0, 40, 7)])
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-7)
