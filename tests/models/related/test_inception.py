"""Inception on a registered face: counts, sizes, a module by SciPy, pools by explicit windows, registration."""

import counting
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from stfer.data.faces import registration as reference
from stfer.models.layers.pooling_windows import max_pool_windows, mean_pool
from stfer.models.layers.registration import MeanFace, affine_maps, register_faces, resample
from stfer.models.related.inception import Inception, InceptionModule, Widths

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(0)


def whole(**fields):
    model = Inception(**fields)
    return counting.shapes(model, counting.frames(model, 170), counting.landmarks(1))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 7_345_318),
        ({"num_classes": 7}, 7_346_343),
        ({"extra_module": True}, 7_794_478),
        ({"size": 40}, 7_345_318),  # the crop of the paper ends at 1x1 too
    ],
)
def test_counts(fields, expected):
    assert counting.count(whole(**fields)) == expected


def test_the_modules_have_googlenet_s_weights():
    params = whole()["params"]
    weights = [
        counting.count_weights({"params": params[f"inception{name}"]})
        for name in ("3a", "3b", "4a")
    ]
    assert weights == [163_328, 388_096, 375_552]


@pytest.mark.parametrize(
    ("size", "sides"), [(48, (24, 12, 12, 6, 3, 1)), (40, (20, 10, 10, 5, 2, 1))]
)
def test_sizes(size, sides):
    model = Inception(size=size)
    inputs = counting.frames(model, 170), counting.landmarks(1)
    _, out = jax.eval_shape(model.apply, counting.shapes(model, *inputs), *inputs)
    names = ("conv1/relu", "pool1", "conv2/relu", "pool2", "pool3", "pool4")
    assert tuple(out[name].shape[1] for name in names) == sides
    assert out["flatten"].shape == (1, 512)
    assert [out[name].shape[-1] for name in ("3a", "3b", "4a")] == [256, 480, 512]


def test_a_module_is_four_convolutions_side_by_side(random):
    module = InceptionModule(Widths(2, 3, 4, 2, 3, 5))
    x = random.normal(size=(1, 6, 7, 3)).astype(np.float32)
    params = counting.started(module, x)["params"]

    def conv(x, name):
        kernel, bias = np.asarray(params[name]["kernel"]), np.asarray(params[name]["bias"])
        planes = [
            sum(
                signal.correlate(x[..., i], kernel[:, :, i, o], mode="same")
                for i in range(x.shape[-1])
            )
            for o in range(kernel.shape[-1])
        ]
        return np.maximum(np.stack(planes, -1) + bias, 0)

    image = x[0]
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    pooled = np.stack(
        [[padded[r : r + 3, c : c + 3].max((0, 1)) for c in range(7)] for r in range(6)]
    )
    expected = np.concatenate(
        [
            conv(image, "one"),
            conv(conv(image, "three_in"), "three"),
            conv(conv(image, "five_in"), "five"),
            conv(pooled, "pool"),
        ],
        axis=-1,
    )
    np.testing.assert_allclose(module.apply({"params": params}, x)[0], expected, atol=1e-5)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("size", [3, 5, 6, 12, 24])
def test_pools_against_explicit_windows(random, size, ceil):
    x = random.normal(size=(1, size, size, 2)).astype(np.float32) - 5
    starts = range(0, size - 3 + 1 if not ceil else size - 1, 2)
    expected = [[x[0, r : r + 3, c : c + 3].max((0, 1)) for c in starts] for r in starts]
    np.testing.assert_array_equal(max_pool_windows(jnp.asarray(x), 3, 2, ceil=ceil)[0], expected)


@pytest.mark.parametrize("shape", [(2, 7, 9, 3), (1, 6, 6, 2), (1, 3, 4, 1)])
@pytest.mark.parametrize(
    ("window", "stride", "ceil", "margin"),
    [(3, 2, True, 0), (3, 2, False, 0), (3, 1, False, 1), (2, 3, True, 1)],
)
def test_pools_and_their_gradients_equal_xla_s(random, shape, window, stride, ceil, margin):
    """With ties: whole numbers of a few values."""
    x = jnp.asarray(random.integers(0, 5, shape), jnp.float32)
    ours, pull = jax.vjp(lambda x: max_pool_windows(x, window, stride, ceil=ceil, margin=margin), x)
    beyond = []  # The pixels that a last window needs at the end.
    for side in shape[1:3]:
        spare = (side + 2 * margin - window) % stride
        beyond.append((margin, margin + (stride - spare if ceil and spare else 0)))
    plain, pull_plain = jax.vjp(
        lambda x: nn.max_pool(x, (window, window), (stride, stride), beyond), x
    )
    np.testing.assert_array_equal(ours, plain)
    gradient = jnp.asarray(random.normal(size=plain.shape), jnp.float32)
    np.testing.assert_allclose(pull(gradient)[0], pull_plain(gradient)[0], atol=1e-6)


@pytest.mark.parametrize(("window", "margin"), [(5, 0), (17, 7), (3, 3)])
def test_windows_that_do_not_fit_are_named(window, margin):
    with pytest.raises(ValueError, match=f"window (is|of) {window}"):
        max_pool_windows(jnp.ones((1, 4, 4, 1)), window, 2, margin=margin)


def test_a_window_may_hang_over_a_smaller_map():
    """As Inception's last pool over 2x2 of a crop of 40 pixels does."""
    x = jnp.array([[1.0, 4.0], [3.0, 2.0]])[None, ..., None]
    pooled, pull = jax.vjp(lambda x: max_pool_windows(x, 3, 2, ceil=True), x)
    np.testing.assert_array_equal(pooled, [[[[4.0]]]])
    np.testing.assert_array_equal(pull(pooled)[0][0, ..., 0], [[0.0, 4.0], [0.0, 0.0]])


def test_mean_pool(random):
    x = random.normal(size=(2, 3, 5, 4, 2)).astype(np.float32)
    expected = x[..., :4, :, :].reshape(2, 3, 2, 2, 2, 2, 2).mean((3, 5))
    np.testing.assert_allclose(mean_pool(jnp.asarray(x)), expected, atol=1e-6)


def test_channels_and_the_next_kernel_s_rows_can_be_permuted_together(random):
    module = InceptionModule(Widths(2, 3, 4, 2, 3, 5))
    x = random.normal(size=(1, 5, 5, 6)).astype(np.float32)
    params = counting.started(module, x)["params"]
    order = random.permutation(6)
    permuted = jax.tree.map(lambda leaf: leaf, params)
    for name in ("one", "three_in", "five_in", "pool"):
        permuted[name]["kernel"] = params[name]["kernel"][:, :, order]
    np.testing.assert_allclose(
        module.apply({"params": permuted}, x[..., order]),
        module.apply({"params": params}, x),
        atol=1e-5,
    )


def test_the_device_s_registration_equals_numpy_s(random):
    faces = random.random((6, 49, 2)).astype(np.float32)
    base = random.random((49, 2))
    shapes = np.stack(
        [base @ reference.similarity(base, f)[:, :2].T + f.mean(0) for f in faces]
    ) + random.normal(0, 0.01, faces.shape)
    layer = MeanFace()
    stats = layer.init(jax.random.key(0), shapes)
    for _ in range(8):  # passes over the data in two batches
        for rows in (shapes[:4], shapes[4:]):
            mean, stats = layer.apply(stats, rows.astype(np.float32), True, mutable=["batch_stats"])
    # The running mean is of the whole set up to its turn, which the first row decides.
    target = reference.mean_shape(shapes)
    turned = reference.similarity(np.asarray(mean, np.float64), target)
    np.testing.assert_allclose(reference.moved(np.asarray(mean), turned), target, atol=5e-3)
    matrices, shifts = affine_maps(jnp.asarray(shapes, jnp.float32), mean)
    for row, shape in enumerate(shapes):
        expected = reference.affine(shape, np.asarray(mean))
        np.testing.assert_allclose(matrices[row], expected[:, :2], atol=2e-4)
        np.testing.assert_allclose(shifts[row], expected[:, 2], atol=2e-4)


def test_resampling_equals_opencv_s_warp(random):
    import cv2

    picture = cv2.GaussianBlur(random.random((60, 50, 2)).astype(np.float32), (0, 0), 3)
    transform = np.array([[0.8, 0.1, 0.05], [-0.12, 0.9, 0.1]])
    found = resample(
        jnp.asarray(picture)[None], jnp.asarray(transform[None, :, :2], jnp.float32),
        jnp.asarray(transform[None, :, 2], jnp.float32), 40, finer=1,
    )  # fmt: skip
    bytes_ = np.round(picture * 255).astype(np.uint8)
    expected = reference.warp(bytes_, transform, 40) / 255
    inside = np.s_[6:-6, 6:-6]
    np.testing.assert_allclose(found[0][inside], expected[inside], atol=0.01)


def test_faces_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="at least 32 pixels, not size 31"):
        whole(size=31)
    assert counting.count(whole(size=32)) == 7_345_318


def test_without_training_faces_are_only_resized(random):
    frames = jnp.asarray(random.random((1, 32, 32, 1)), jnp.float32)
    points = jnp.asarray(random.random((1, 49, 2)), jnp.float32)
    same = register_faces(frames, points, jnp.full((49, 2), jnp.nan), 16)
    np.testing.assert_allclose(same[0], mean_pool(frames[0]), atol=1e-5)


def test_the_mean_face_is_of_the_training_rows_alone(random):
    model = Inception(divide=16, size=32)
    frames = random.random((4, 1, 40, 40, 3)).astype(np.float32)
    points = random.random((4, 1, 49, 2)).astype(np.float32)
    variables = counting.started(model, frames, points)

    def updated(points, mask):
        return model.apply(
            variables, frames, points, train=True, mask=mask, mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(0)},
        )[1]["batch_stats"]  # fmt: skip

    mask = np.array([1, 1, 1, 0], np.float32)
    other = points.copy()
    other[3] = 0.5 + 10 * random.random((1, 49, 2))
    jax.tree.map(np.testing.assert_array_equal, updated(points, mask), updated(other, mask))
    (logits, _), stats = model.apply(
        variables, frames, points, train=False, mutable=["batch_stats"]
    )
    assert np.isfinite(logits).all()
    jax.tree.map(np.testing.assert_array_equal, stats["batch_stats"], variables["batch_stats"])
