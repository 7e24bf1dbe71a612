"""How time enters each architecture: which frames reach which features, and what sharing weights implies."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_models
import pytest
from jax import lax

from stfer.models.blocks import Tower
from stfer.models.rnn import GRU, hard_sigmoid

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


TOWERS = ["late_fusion", pytest.param("rnn", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", TOWERS)
def test_shared_towers_equal_a_loop_over_towers(tiny, name):
    case = tiny(name)
    model = case.model
    tower = Tower(
        model.block1_features, model.block2_features, model.block3_features, jnp.float32, None
    )
    variables = {"params": case.params["tower"], "batch_stats": case.batch_stats["tower"]}
    endpoints = case.endpoints
    alone_on = jax.jit(lambda frame: tower.apply(variables, frame, False, None))
    for time in range(model.frames):
        features, alone = alone_on(case.clips[:, time])
        np.testing.assert_allclose(endpoints["block3/flatten"][:, time], features, **CLOSE)
        for key, value in alone.items():
            np.testing.assert_allclose(endpoints[key][:, time], value, **CLOSE)


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("train", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_permuting_the_frames_permutes_the_towers(tiny, name, train):
    case = tiny(name)
    order = np.roll(np.arange(case.model.frames), 1)

    def run(clips):
        if train:
            return case.train(case.params, clips)[:2]
        return case.apply(case.variables, clips)

    logits, endpoints = run(case.clips)
    permuted_logits, permuted = run(case.clips[:, order])
    np.testing.assert_allclose(
        permuted["block3/flatten"], endpoints["block3/flatten"][:, order], **CLOSE
    )
    assert np.abs(permuted_logits - logits).max() > 1e-4  # the head knows which frame is which


def changed(case, time, *keys):
    """Of each key, which towers' features change with frame `time`."""
    clips = case.clips.copy()
    clips[:, time] = 1 - clips[:, time]
    _, after = case.apply(case.variables, clips)
    differ = (np.asarray(case.endpoints[key]) != np.asarray(after[key]) for key in keys)
    return [list(np.flatnonzero(each.any(axis=(0, 2, 3, 4)))) for each in differ]


@pytest.mark.parametrize("time", range(10))
@pytest.mark.slow
def test_slow_fusion_stacks_frames_0_3_2_5_4_7_6_9(tiny, time):
    case = tiny("slow_fusion")
    first = [
        i
        for i, frames in enumerate([(0, 3), (2, 5), (4, 7), (6, 9)])
        if frames[0] <= time <= frames[1]
    ]
    second = sorted({stack // 2 for stack in first})
    assert changed(case, time, "block1/conv", "block2/conv") == [first, second]


def test_slow_fusion_shares_its_blocks(tiny):
    case = tiny("slow_fusion")
    still = np.broadcast_to(case.clips[:, :1], case.clips.shape)
    _, endpoints = case.apply(case.variables, still)
    for key in ("block1/pool", "block2/pool"):
        np.testing.assert_array_equal(endpoints[key], endpoints[key][:, ::-1])


@pytest.mark.parametrize("time", range(5))
@pytest.mark.slow
def test_conv3d_goes_from_five_frames_to_three_to_one(tiny, time):
    case = tiny("conv3d")
    assert [case.endpoints[f"block{i}/pool"].shape[1] for i in (1, 2)] == [3, 1]
    assert case.endpoints["block3/conv1"].ndim == 4
    assert changed(case, time, "block1/conv") == [[i for i in range(3) if i <= time <= i + 2]]


@pytest.mark.slow
def test_early_fusion_s_first_kernel_sees_the_frames_in_order(tiny):
    case = tiny("early_fusion")
    kernel = case.params["tower"]["block1"]["conv"]["kernel"]
    for time, channel in ((0, 0), (0, 2), (3, 1), (9, 2)):
        position = 3 * time + channel
        only = jnp.zeros_like(kernel).at[:, :, position].set(kernel[:, :, position])
        params = jax.tree.map(lambda leaf: leaf, case.params)
        params["tower"]["block1"]["conv"] = {"kernel": only, "bias": jnp.zeros(kernel.shape[-1])}
        variables = {"params": params, "batch_stats": case.batch_stats}
        _, endpoints = case.apply(variables, case.clips)
        expected = lax.conv(
            jnp.asarray(case.clips[:, time, :, :, channel])[:, None],
            kernel[:, :, position].transpose(2, 0, 1)[:, None],
            (3, 3),
            "VALID",
        )
        expected = jnp.maximum(expected, 0).transpose(0, 2, 3, 1)
        np.testing.assert_allclose(endpoints["block1/conv"], expected, **CLOSE)


def numpy_hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


@pytest.mark.parametrize(
    ("activation", "in_numpy"),
    [(jax.nn.sigmoid, numpy_models.sigmoid), (hard_sigmoid, numpy_hard_sigmoid)],
    ids=["sigmoid", "hard_sigmoid"],
)
@pytest.mark.slow
def test_the_gru_equals_numpy_s_recurrence(activation, in_numpy):
    random = np.random.default_rng(0)
    inputs = random.normal(size=(6, 4, 9)).astype(np.float32)  # [time, batch, in]
    module = GRU(5, activation)
    variables = jax.eval_shape(module.init, jax.random.key(0), inputs)
    variables = jax.tree.map(
        lambda leaf: random.normal(size=leaf.shape).astype(np.float32), variables
    )
    states = jax.jit(module.apply)(variables, inputs)
    for time in range(len(inputs)):
        expected = numpy_models.gru(inputs[: time + 1], variables["params"], in_numpy)
        np.testing.assert_allclose(states[time], expected, **CLOSE)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 3 * (9 * 5 + 5 * 5 + 5)
