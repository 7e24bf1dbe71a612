"""Random search of combination weights: never worse than the average, finds a planted answer."""

import numpy as np
import pytest

from stfer.evaluation.combination import combined, search_weights

QUICK = {"draws": 500, "rounds": 3, "draws_a_round": 200}


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_the_sum_is_that_of_a_loop(random):
    p, w = random.random((3, 5, 4)), random.random((3, 4))
    expected = [[sum(w[m, c] * p[m, n, c] for m in range(3)) for c in range(4)] for n in range(5)]
    np.testing.assert_allclose(combined(w, p), expected)


@pytest.mark.parametrize("seed", range(3))
def test_never_worse_than_the_average(seed):
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(3), (4, 30))
    labels = random.integers(0, 3, 30)
    weights, accuracy = search_weights(p, labels, **QUICK)
    assert accuracy >= (p.mean(0).argmax(-1) == labels).mean()
    assert accuracy == (combined(weights, p).argmax(-1) == labels).mean()
    np.testing.assert_allclose(weights.sum(0), 1)
    assert (weights >= 0).all()


def test_a_model_that_knows_is_found_among_those_that_mislead(random):
    labels = random.integers(0, 3, 60)
    knows = 0.8 * np.eye(3)[labels] + 0.2 / 3
    misleads = np.eye(3)[(labels + 1) % 3]
    p = np.stack([misleads, knows, misleads])
    assert (p.mean(0).argmax(-1) == labels).mean() == 0
    assert search_weights(p, labels, **QUICK)[1] == 1


def test_the_same_seed_finds_the_same(random):
    p, labels = random.dirichlet(np.ones(3), (2, 20)), random.integers(0, 3, 20)
    first, second = (search_weights(p, labels, seed=4, **QUICK)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_no_sequences_are_refused():
    with pytest.raises(ValueError, match="one at least"):
        search_weights(np.zeros((2, 0, 3)), np.zeros(0, int))
