"""Input normalisation against SciPy and against what it must not see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from stfer import models
from stfer.models.layers import contrast

FRAMES = np.random.default_rng(0).random((2, 24, 36, 3), np.float32)


def blurred(picture, sides):
    """A Gaussian whose weights inside the picture sum to 1, by SciPy."""
    sigmas = [contrast.SIGMA * side for side in sides]
    wide = [max(sides)] * 2

    def filtered(x):
        return ndimage.gaussian_filter(x, sigmas, mode="constant", radius=wide)

    return filtered(picture) / filtered(np.ones_like(picture))


def test_local_contrast_is_the_formula_of_its_docstring():
    found = jax.jit(contrast.local_contrast)(jnp.asarray(FRAMES))
    for frame, got in zip(FRAMES.astype(float), np.asarray(found), strict=True):
        for channel in range(3):
            x = frame[..., channel]
            centred = x - blurred(x, x.shape)
            deviation = np.sqrt(blurred(centred**2, x.shape) + 1e-8)
            wanted = centred / (deviation + contrast.FLOOR)
            np.testing.assert_allclose(got[..., channel], wanted, atol=2e-4)


def test_light_is_taken_out():
    frames = jnp.asarray(FRAMES)
    local_contrast = jax.jit(contrast.local_contrast)
    plain = local_contrast(frames)
    np.testing.assert_allclose(local_contrast(frames + 0.3), plain, atol=2e-4)
    assert float(jnp.abs(contrast.local_contrast(jnp.full((8, 8, 1), 0.7))).max()) < 1e-4


@pytest.mark.slow
def test_contrast_change_sees_only_what_changes():
    still = jnp.broadcast_to(jnp.asarray(FRAMES[:1]), (1, 4, 24, 36, 3))
    contrast_change = jax.jit(contrast.contrast_change)
    assert float(jnp.abs(contrast_change(still)).max()) < 1e-5
    clips = jnp.asarray(np.random.default_rng(1).random((2, 5, 24, 36, 3), np.float32))
    change = contrast_change(clips)
    assert change.shape == clips.shape
    np.testing.assert_allclose(change.mean(1), 0, atol=1e-5)
    grey = jax.jit(lambda x: contrast.local_contrast(contrast.grey(x)))(clips)
    np.testing.assert_allclose(change[0, 2, ..., 1] - change[0, 0, ..., 1],
                               grey[0, 2, ..., 0] - grey[0, 0, ..., 0], atol=1e-5)  # fmt: skip


@pytest.mark.slow
def test_a_model_normalises_its_own_input_and_names_what_there_is():
    tiny = {
        "block1_features": 4,
        "block2_features": 4,
        "block3_features": (4, 4, 4),
        "head_features": (4,),
    }
    clips = jnp.asarray(np.random.default_rng(2).random((1, 10, 128, 128, 3), np.float32))
    plain = models.create_model("early_fusion", **tiny)
    variables = plain.init(jax.random.key(0), clips)
    normal = models.create_model("early_fusion", normalize="local_contrast", **tiny)
    found, _ = normal.apply(variables, clips)
    by_hand, _ = plain.apply(variables, contrast.local_contrast(clips))
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)
    with pytest.raises(ValueError, match="must be one of none, local_contrast, contrast_change"):
        models.create_model("early_fusion", normalize="z").init(jax.random.key(0), clips)
    late = models.create_model("late_fusion", normalize="contrast_change", **tiny)
    with pytest.raises(ValueError, match="sees each frame alone"):
        late.init(jax.random.key(0), clips[:, :2])


def test_pair_difference_has_the_counted_parameters():
    """5x5x3x32 and three 3x3 convolutions with biases and batch norms, 5x5x192 features, 128, 7 classes."""
    model = models.create_model("pair_difference", 7)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 2, 96, 96, 3)))
    count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    convolutions = (
        (25 * 3 * 32 + 32) + (9 * 32 * 64 + 64) + (9 * 64 * 128 + 128) + (9 * 128 * 192 + 192)
    )
    norms = 2 * (32 + 64 + 128 + 192)
    assert count == convolutions + norms + (25 * 192 * 128 + 128) + (128 * 7 + 7)
