"""Every architecture: Table I's parameter counts, values against NumPy, types, gradients, sizes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy_models
import pytest
from tiny_models import QUICK

from stfer.models import create_model

# Trainable parameters of the paper's Table I, with the number of classes it was computed for.
TABLE_I = {
    "single_frame": (8, 24_760_392),
    "early_fusion": (8, 25_074_024),
    "late_fusion": (8, 28_954_696),
    "slow_fusion": (6, 26_355_878),
    "conv3d": (6, 26_050_694),
    "rnn": (6, 3_763_390),
}


def shapes(model, size=170, channels=3):
    clips = jax.ShapeDtypeStruct((1, model.frames, size, size, channels), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), clips)


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_table_1(architecture):
    assert architecture in TABLE_I, f"pin the parameter count of {architecture}"
    num_classes, parameters = TABLE_I[architecture]
    variables = shapes(create_model(architecture, num_classes=num_classes))
    assert count(variables) == parameters
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_the_widths_of_the_paper_s_text_are_fields():
    # Conv 2 with 384, block 3 with 384, 256, 256: by hand, 8 classes.
    by_hand = (
        (11 * 11 * 3 * 96 + 96)
        + 2 * 96
        + (5 * 5 * 96 * 384 + 384)
        + 2 * 384
        + (9 * 384 * 384 + 384)
        + (9 * 384 * 256 + 256)
        + (9 * 256 * 256 + 256)
        + (1024 * 4096 + 4096)
        + (4096 * 4096 + 4096)
        + (4096 * 8 + 8)
    )
    model = create_model(
        "single_frame", num_classes=8, block2_features=384, block3_features=(384, 256, 256)
    )
    assert count(shapes(model)) == by_hand


@pytest.mark.gpu
@pytest.mark.parametrize("train", [False, True], ids=["evaluation", "training"])
def test_logits_equal_numpy_s(architecture, tiny, train):
    case = tiny(architecture)
    if train:
        logits, _, _ = case.train(case.params, case.clips)
    else:
        logits, _ = case.apply(case.variables, case.clips)
    expected = numpy_models.logits(architecture, case.clips, case.params, case.batch_stats, train)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.01  # the rows differ


# What every architecture does alike is tried quickly on one of them.
ALIKE = [pytest.param(n, marks=[pytest.mark.slow] * (n != "late_fusion")) for n in TABLE_I]


@pytest.mark.parametrize("num_classes", [pytest.param(2, marks=pytest.mark.slow), 7])
@pytest.mark.parametrize("name", ALIKE)
def test_any_number_of_classes_and_any_size(name, num_classes):
    model = create_model(name, num_classes=num_classes)
    clips = jax.ShapeDtypeStruct((2, model.frames, 149, 200, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), clips)
    logits, endpoints = jax.eval_shape(model.apply, variables, clips)
    assert logits.shape == endpoints["logits"].shape == (2, num_classes)


@pytest.mark.slow
def test_gradients_are_finite_and_reach_every_parameter(architecture, tiny):
    case = tiny(architecture)

    def loss(params):
        logits, _, _ = case.training_pass(params, case.clips)
        return -nn.log_softmax(logits)[:, 2].sum()

    for path, gradient in jax.tree_util.tree_leaves_with_path(
        jax.jit(jax.grad(loss), compiler_options=QUICK)(case.params)
    ):
        assert np.isfinite(gradient).all(), path
        assert np.any(gradient != 0), path


@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_and_answers_in_float32(architecture, tiny):
    case = tiny(architecture)
    model = case.model.clone(dtype=jnp.bfloat16)
    initial = jax.eval_shape(model.init, jax.random.key(0), case.clips)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(initial))
    logits, endpoints = jax.jit(model.apply, compiler_options=QUICK)(case.variables, case.clips)
    assert logits.dtype == jnp.float32
    assert endpoints["block1/conv"].dtype == jnp.bfloat16
    exact, _ = case.apply(case.variables, case.clips)
    np.testing.assert_allclose(logits, exact, rtol=0.1, atol=0.1)
    assert np.any(np.asarray(logits) != np.asarray(exact))


@pytest.mark.parametrize("name", ALIKE)
def test_the_smallest_size_is_exact(name):
    model = create_model(name)
    _, endpoints = jax.eval_shape(
        lambda: model.init_with_output(jax.random.key(0), jnp.zeros((1, model.frames, 128, 128, 3)))
    )[0]
    assert endpoints["block3/pool"].shape[-3:-1] == (1, 1)
    for height, width in ((127, 170), (170, 127)):
        with pytest.raises(ValueError, match=f"at least 128x128 pixels, not {height}x{width}"):
            model.init(jax.random.key(0), jnp.zeros((1, model.frames, height, width, 3)))


def test_wrong_clips_are_refused(architecture):
    model = create_model(architecture)
    with pytest.raises(ValueError, match=f"clips of {model.frames} frames, not {model.frames + 1}"):
        model.init(jax.random.key(0), jnp.zeros((1, model.frames + 1, 170, 170, 3)))
    with pytest.raises(ValueError, match="not an array of shape"):
        model.init(jax.random.key(0), jnp.zeros((1, 170, 170, 3)))


@pytest.mark.slow
def test_initial_values_are_keras_s(architecture, tiny):
    case = tiny(architecture)
    variables = jax.jit(case.model.init, compiler_options=QUICK)(jax.random.key(3), case.clips[:1])
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        kind = path[-1].key
        if kind == "kernel":
            receptive = np.prod(leaf.shape[:-2])
            bound = np.sqrt(6 / (receptive * (leaf.shape[-2] + leaf.shape[-1])))
            assert np.abs(leaf).max() <= bound * (1 + 1e-6), path
            assert leaf.size < 100 or np.abs(leaf).max() > 0.9 * bound, path
        elif kind == "recurrent_kernel":
            np.testing.assert_allclose(leaf @ leaf.T, np.eye(len(leaf)), atol=1e-6)
        else:
            assert np.all(leaf == (1 if kind in ("scale", "var") else 0)), path
