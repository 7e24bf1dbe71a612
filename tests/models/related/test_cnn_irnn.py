"""CNN, IRNN and fusion: the code's counts, the identity start, a NumPy loop, the penalty, the frozen parts."""

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.models.layers.running import RunningMoments
from stfer.models.related.cnn_irnn import IRNN, CnnIrnn, FrameCNN, Fusion, fusion_penalty

TINY = {"size": 28, "crop": 24, "conv_features": (3, 4, 5), "units": 6, "frames": 4}


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def clips(random):
    return random.random((3, 4, 28, 28, 3)).astype(np.float32)


def test_the_counts_of_the_authors_code():
    frame = jax.ShapeDtypeStruct((1, 44, 44, 1), jnp.float32)
    for classes, expected in ((6, 89_126), (7, 90_727)):
        variables = jax.eval_shape(
            lambda classes=classes: FrameCNN(classes, jnp.float32).init(
                jax.random.key(0), jnp.zeros(frame.shape), False
            )
        )
        assert counting.count(variables) == expected
    model = CnnIrnn(part="irnn")
    variables = counting.shapes(model, counting.frames(model))
    assert counting.count(variables) == 89_126 + 815_606
    model = CnnIrnn(num_classes=7, part="irnn")
    assert counting.count(counting.shapes(model, counting.frames(model))) == 90_727 + 815_807


@pytest.mark.parametrize(("classes", "expected"), [(6, 27_956), (7, 29_027)])
def test_fusion_with_the_audio_branch_has_the_code_s_count(classes, expected):
    fusion = Fusion(classes, {"convnet": 100, "audio": 10, "rnn": 50})
    inputs = {
        "convnet": jnp.zeros((1, 10 * classes)),
        "audio": jnp.zeros((1, 10)),
        "rnn": jnp.zeros((1, 200)),
    }
    variables = jax.eval_shape(lambda: fusion.init(jax.random.key(0), inputs, False))
    assert counting.count(variables) == expected


def test_the_whole_without_audio():
    model = CnnIrnn()
    variables = counting.shapes(model, counting.frames(model))
    # The fusion's 27,956 less the audio layer (10 x 10 + 10) and its part of the joint layer (10 x 70).
    assert counting.count(variables) == 89_126 + 815_606 + 27_956 - 110 - 700


def test_layer_sizes():
    model = CnnIrnn()
    variables = counting.shapes(model, counting.frames(model))
    _, out = jax.eval_shape(model.apply, variables, counting.frames(model, 170))
    assert out["cnn/conv1/bias"].shape[2:] == (22, 22, 32)
    assert out["cnn/conv2/bias"].shape[2:] == (11, 11, 32)  # 3,872 values
    assert out["cnn/conv3/bias"].shape[2:] == (5, 5, 64)  # an odd last row is left out
    assert out["irnn/states"].shape == (1, 10, 200)


@pytest.mark.slow
def test_the_irnn_sees_the_map_before_its_relu(clips):
    model = CnnIrnn(part="irnn", **TINY)
    variables = counting.started(model, clips)
    _, out = model.apply(variables, clips)
    assert (out["cnn/conv2/bias"] < 0).any()
    inputs = np.asarray(out["cnn/conv2/bias"]).reshape(3, 4, -1)
    kernel = np.asarray(variables["params"]["irnn"]["input"]["kernel"])
    recurrent = np.asarray(variables["params"]["irnn"]["recurrent_kernel"])
    state = np.zeros((3, 6))
    for t in range(4):
        state = np.maximum(inputs[:, t] @ kernel + state @ recurrent, 0)
        np.testing.assert_allclose(out["irnn/states"][:, t], state, atol=1e-5)


@pytest.mark.slow
def test_with_identity_start_and_no_input_a_state_persists(random):
    layer = IRNN(units=5)
    x = np.zeros((2, 7, 3), np.float32)
    start = jnp.asarray(random.uniform(0.1, 1, (2, 5)), jnp.float32)
    variables = layer.init(jax.random.key(0), x)
    states = layer.apply(variables, x, start)
    np.testing.assert_array_equal(states, np.repeat(start[:, None], 7, axis=1))
    jacobian = jax.jacobian(lambda h: layer.apply(variables, x[:1], h)[0, -1])(start[:1])
    np.testing.assert_array_equal(jacobian[:, 0], np.eye(5))


def test_frames_after_the_last_one_change_nothing(random):
    layer = IRNN(units=5)
    x = random.normal(size=(2, 7, 3)).astype(np.float32)
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    other = x.copy()
    other[:, 5:] = 9

    @jax.jit
    @jax.grad
    def gradient(variables, x):
        return layer.apply(variables, x)[:, 4].sum()

    for a, b in zip(
        *(jax.tree.leaves(gradient(variables, each)) for each in (x, other)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_the_penalty_is_that_of_the_block_matrix(random):
    parts = [random.normal(size=shape) for shape in ((4, 3), (2, 5))]
    others = [random.normal(size=(8, 6)), random.normal(size=(6, 2))]
    block = np.zeros((6, 8))
    block[:4, :3], block[4:, 3:] = parts
    squares = (block**2).sum() + sum((other**2).sum() for other in others)
    expected = 3e-5 * (squares + np.abs(block).sum() + np.linalg.norm(block, axis=1).sum())
    found = jax.jit(fusion_penalty)(
        [jnp.asarray(p) for p in parts], [jnp.asarray(o) for o in others]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_a_part_s_gradients_leave_the_earlier_parts_alone(clips):
    for part, own in (("irnn", {"irnn", "irnn_logits"}), ("fusion", {"fusion"})):
        model = CnnIrnn(part=part, **TINY)
        variables = counting.started(model, clips)

        def loss(params, model=model, variables=variables):
            outputs, _ = model.apply(
                dict(variables) | {"params": params}, clips, train=True,
                rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"],
            )[0]  # fmt: skip
            logits = outputs[0] if isinstance(outputs, tuple) else outputs
            return jnp.square(logits).sum()

        gradients = jax.jit(jax.grad(loss), compiler_options=counting.QUICK)(variables["params"])
        moved = {
            name
            for name, tree in gradients.items()
            if any(np.any(leaf != 0) for leaf in jax.tree.leaves(tree))
        }
        assert moved == own


@pytest.mark.slow
def test_training_takes_in_the_pixels_moments_and_other_parts_do_not(clips):
    for part, changes in (("cnn", True), ("irnn", False)):
        model = CnnIrnn(part=part, **TINY)
        variables = counting.started(model, clips)
        updates = model.apply(
            variables,
            clips,
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )[1]["batch_stats"]["pixels"]
        assert bool(updates["count"] > 0) is changes


def test_running_moments_equal_numpy_s_over_batches_and_ignore_padding(random):
    layer = RunningMoments()
    rows = random.normal(3, 2, (10, 4, 3)).astype(np.float32)
    stats = jax.jit(layer.init)(jax.random.key(0), rows)

    @jax.jit
    def taken_in(stats, rows, mask):
        return layer.apply(stats, rows, True, mask, mutable=["batch_stats"])

    for batch in (rows[:3], rows[3:7], rows[7:]):
        padded = np.concatenate([batch, np.full((2, 4, 3), 1e6, np.float32)])
        mask = np.r_[np.ones(len(batch)), 0, 0]
        (mean, variance), stats = taken_in(stats, padded, mask)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, rows.var(0), rtol=1e-4)
    again = taken_in(stats, padded, np.zeros(len(padded)))[1]
    jax.tree.map(np.testing.assert_array_equal, again, stats)
    mean, variance = layer.apply(stats, padded)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5)
