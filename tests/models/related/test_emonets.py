"""Bag of mouths, ten bins and their classifier, on small made data and against scikit-learn's own distances."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from stfer.models.related.emonets import (
    BagOfMouths,
    bin_classifier,
    mouth_patches,
    ten_bins,
    triangle,
)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_patches_are_of_the_mouth_alone_and_normalised(random):
    face = random.integers(0, 256, (96, 96, 3), np.uint8)
    sections = mouth_patches(face)
    assert len(sections) == 16
    assert sum(len(part) for part in sections) == (30 - 8 + 1) * (40 - 8 + 1)
    other = face.copy()
    other[:55], other[85:], other[:, :30], other[:, 70:] = 0, 0, 0, 0
    for a, b in zip(sections, mouth_patches(other), strict=True):
        np.testing.assert_array_equal(a, b)
    first = face[55:63, 30:38].astype(float).ravel()
    expected = (first - first.mean()) / (first.std() + 1)
    np.testing.assert_allclose(sections[0][0], expected, atol=1e-4)


def test_triangle_activation_by_scikit_learn_s_distances(random):
    x = random.normal(size=(30, 4))
    words = KMeans(5, n_init=1, random_state=0).fit(x)
    distances = np.linalg.norm(x[:, None] - words.cluster_centers_[None], axis=-1)
    np.testing.assert_allclose(words.transform(x), distances, atol=1e-9)
    expected = np.array([[max(0, row.mean() - d) for d in row] for row in distances])
    np.testing.assert_allclose(triangle(distances), expected)


@pytest.mark.slow
def test_mouths_of_unlike_texture_are_told_apart(random):
    def clip(stripes):
        face = random.integers(0, 40, (2, 96, 96, 3)).astype(np.uint8)
        lines = face[:, 55:85] if stripes == "rows" else face[:, :, 30:70].transpose(0, 2, 1, 3)
        lines[:, ::4] += 180
        return face

    kinds = ["rows", "columns"] * 6
    labels = np.array([kind == "rows" for kind in kinds]).astype(int)
    bag = BagOfMouths(words=8, most_patches=300).fit([clip(kind) for kind in kinds], labels)
    assert bag.features(clip("rows")[0]).shape == (16 * 8,)
    for kind in ("rows", "columns"):
        probabilities = bag.predict_proba(clip(kind))
        assert probabilities.sum() == pytest.approx(1)
        assert probabilities[int(kind == "rows")] > 0.8


def test_the_regression_has_the_code_s_size():
    assert (16 * BagOfMouths().words + 1) * 6 == 38_406


@pytest.mark.parametrize("frames", [1, 9, 10, 23])
def test_ten_bins(random, frames):
    p = random.dirichlet(np.ones(3), frames)
    bins = ten_bins(p).reshape(10, 3)
    if frames == 1:
        np.testing.assert_allclose(bins, np.repeat(p, 10, 0))
    elif frames == 9:
        np.testing.assert_allclose(bins, p[[0, 0, 1, 2, 3, 4, 5, 6, 7, 8]])
    elif frames == 10:
        np.testing.assert_allclose(bins, p)
    else:
        ends = np.cumsum([3, 3, 3, 2, 2, 2, 2, 2, 2, 2])
        expected = [
            p[end - n : end].mean(0) for end, n in zip(ends, [3] * 3 + [2] * 7, strict=True)
        ]
        np.testing.assert_allclose(bins, expected)


def test_the_machine_on_bins_learns_when_not_only_how_much(random):
    labels = np.arange(40) % 2
    rows = []
    for label in labels:
        p = np.full((20, 2), 0.5)
        p[:10] += (0.3, -0.3) if label else (-0.3, 0.3)
        p[10:] -= (0.3, -0.3) if label else (-0.3, 0.3)  # the clip's mean tells nothing
        rows.append(ten_bins(p + random.normal(0, 0.05, p.shape)))
    machine = bin_classifier().fit(np.array(rows[:30]), labels[:30])
    probabilities = machine.predict_proba(np.array(rows[30:]))
    np.testing.assert_array_equal(probabilities.argmax(1), labels[30:])
