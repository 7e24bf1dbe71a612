"""DTAN, DTGN, DTAGN: the published count, the first layer, the geometry, what joint training changes."""

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from stfer.models.layers.response_norm import local_response_norm
from stfer.models.related.dtagn import DTAGN, DTAN, DTGN, geometry

TINY = {"size": 24, "conv_features": (4, 5), "appearance_features": (7, 6)}


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(0)


def both(model):
    return counting.shapes(model, counting.frames(model), counting.landmarks(12))


def test_the_published_number_of_weights():
    # Kuo et al. 2018, Table 3: 5950K for this method, on CK+'s seven classes.
    model = DTAGN(num_classes=7)
    assert counting.count_weights(both(model)) == 5_950_500
    assert counting.count(both(DTAGN(num_classes=6))) == 5_951_240


def test_each_network_s_count():
    dtan, dtgn = DTAN(), DTGN()
    assert counting.count(counting.shapes(dtan, counting.frames(dtan))) == 5_769_334
    assert counting.count(counting.shapes(dtgn, counting.landmarks(12))) == 181_906


def test_layer_sizes():
    model = DTAN()
    variables = counting.shapes(model, counting.frames(model, 170))
    _, out = jax.eval_shape(model.apply, variables, counting.frames(model, 170))
    sizes = [
        out[name].shape[1:] for name in ("input", "conv1", "pool1", "conv2", "pool2", "flatten")
    ]
    assert sizes == [(64, 64, 3), (60, 60, 64), (30, 30, 64), (26, 26, 64), (13, 13, 64), (10816,)]


@pytest.mark.slow
def test_the_first_layer_is_a_sum_of_single_frame_convolutions(random):
    model = DTAN(**TINY)
    clips = random.random((2, 3, 24, 24, 1)).astype(np.float32)
    variables = counting.started(model, clips)
    _, out = model.apply(variables, clips)
    kernel, bias = (variables["params"]["conv1"][name] for name in ("kernel", "bias"))
    total = sum(
        lax.conv_general_dilated(
            clips[:, t], kernel[:, :, t : t + 1], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        for t in range(3)
    )  # fmt: skip
    np.testing.assert_allclose(
        out["conv1"], np.maximum(total + bias[None, None, None], 0), atol=1e-5
    )


@pytest.mark.slow
def test_frames_have_filters_of_their_own(random):
    model = DTAN(**TINY)
    clips = random.random((2, 3, 24, 24, 1)).astype(np.float32)
    variables = counting.started(model, clips)
    order = np.array([2, 0, 1])
    params = jax.tree.map(lambda leaf: leaf, variables["params"])
    params["conv1"]["kernel"] = params["conv1"]["kernel"][:, :, order]
    logits, _ = model.apply(variables, clips)
    np.testing.assert_allclose(
        model.apply({"params": params}, clips[:, order])[0], logits, atol=1e-5
    )
    assert np.abs(model.apply(variables, clips[:, order])[0] - logits).max() > 1e-3


def test_response_norm_against_a_loop(random):
    x = random.normal(size=(2, 3, 7)).astype(np.float32) * 20
    for size in (3, 4, 5):
        expected = np.empty_like(x)
        for i in range(7):
            near = x[..., max(0, i - size // 2) : i + (size - 1) // 2 + 1]
            expected[..., i] = x[..., i] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
        np.testing.assert_allclose(local_response_norm(jnp.asarray(x), size), expected, rtol=1e-5)
        other = local_response_norm(jnp.asarray(x), size, beta=0.5)
        scale = (x / expected) ** (4 / 3)
        np.testing.assert_allclose(other, x / scale**0.5, rtol=1e-5)


def test_geometry_ignores_place_and_the_scale_of_each_axis(random):
    points = random.random((2, 12, 49, 2)).astype(np.float32)
    moved = points * (0.3, 1.7) + (0.2, -0.5)
    compiled = jax.jit(geometry)
    first = compiled(jnp.asarray(points))
    np.testing.assert_allclose(compiled(jnp.asarray(moved, jnp.float32)), first, atol=1e-4)
    np.testing.assert_allclose(np.std(first, axis=-2), 1, atol=1e-4)
    assert np.all(first[..., 13, :] == 0)  # the tip of the nose
    assert np.isfinite(geometry(jnp.ones((1, 49, 2)))).all()


@pytest.mark.slow
def test_the_joint_logits_are_one_layer_on_both_features(random):
    model = DTAGN(
        size=24, conv_features=(4, 5), appearance_features=(7, 6), geometry_features=(5, 8)
    )
    clips = random.random((2, 3, 24, 24, 3)).astype(np.float32)
    points = random.random((2, 12, 49, 2)).astype(np.float32)
    variables = counting.started(model, clips, points)
    outputs, out = jax.jit(model.apply)(variables, clips, points)
    features = np.concatenate([out["dtan/dense2"], out["dtgn/dense2"]], axis=1)
    last = [variables["params"][name]["logits"] for name in ("dtan", "dtgn")]
    kernel = np.concatenate([layer["kernel"] for layer in last])
    bias = np.asarray(sum(layer["bias"] for layer in last))
    np.testing.assert_allclose(outputs[:, 2], features @ kernel + bias, atol=1e-4)
    np.testing.assert_allclose(outputs[:, 0] + outputs[:, 1], outputs[:, 2], atol=1e-6)


@pytest.mark.slow
def test_noise_and_dropout_only_in_training_and_by_key(random):
    model = DTGN(geometry_features=(8, 9))
    points = random.random((3, 12, 49, 2)).astype(np.float32)
    variables = counting.started(model, points)

    def logits(key, train=True):
        return model.apply(variables, points, train=train, rngs={"dropout": jax.random.key(key)})[0]

    np.testing.assert_array_equal(logits(1), logits(1))
    assert np.any(logits(1) != logits(2))
    np.testing.assert_array_equal(logits(1, train=False), logits(2, train=False))


def test_wrong_inputs_are_refused():
    with pytest.raises(ValueError, match="dtan takes clips of 3 frames, not 2"):
        counting.shapes(DTAN(), jax.ShapeDtypeStruct((1, 2, 64, 64, 3), jnp.float32))
    with pytest.raises(ValueError, match="dtgn takes landmarks of 12 frames, not 3"):
        counting.shapes(DTGN(), counting.landmarks(3))
    with pytest.raises(ValueError, match=r"landmarks \[batch, time, 49, 2\]"):
        counting.shapes(DTGN(), jax.ShapeDtypeStruct((1, 12, 68, 2), jnp.float32))
