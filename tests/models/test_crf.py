"""The linear chain against enumeration of all paths, and against CRFsuite's own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.models.layers import crf
from stfer.models.layers.crf import Chain, ChainPotentials

log_likelihood, log_partition, marginals, viterbi, last_label_scores = map(
    jax.jit,
    (crf.log_likelihood, crf.log_partition, crf.marginals, crf.viterbi, crf.last_label_scores),
)
TIME, LABELS = 5, 3
PATHS = np.array(list(itertools.product(range(LABELS), repeat=TIME)))


@pytest.fixture(scope="module")
def chain():
    random = np.random.default_rng(3)
    arrays = [random.normal(size=shape).astype(np.float32) for shape in ((TIME, 3), (3, 3), 3, 3)]
    return Chain(*map(jnp.asarray, arrays), jnp.ones(TIME))


def scores(chain, paths=PATHS):
    """The score of every path, term by term."""
    unary, pairwise, start, end, _ = map(np.asarray, chain)
    total = start[paths[:, 0]] + end[paths[:, -1]]
    total = total + sum(unary[t, paths[:, t]] for t in range(paths.shape[1]))
    return total + sum(pairwise[paths[:, t], paths[:, t + 1]] for t in range(paths.shape[1] - 1))


def test_the_partition_is_the_sum_over_all_paths(chain):
    np.testing.assert_allclose(log_partition(chain), np.log(np.exp(scores(chain)).sum()), rtol=1e-6)


@pytest.mark.slow
def test_viterbi_is_the_best_path_and_its_last_label_s_score_the_largest(chain):
    best = PATHS[scores(chain).argmax()]
    np.testing.assert_array_equal(viterbi(chain), best)
    expected = [scores(chain)[PATHS[:, -1] == label].max() for label in range(LABELS)]
    np.testing.assert_allclose(last_label_scores(chain), expected, rtol=1e-6)
    assert last_label_scores(chain).argmax() == best[-1]


@pytest.mark.slow
def test_marginals_are_the_gradient_of_the_partition(chain):
    weights = np.exp(scores(chain))
    weights /= weights.sum()
    expected = [[weights[PATHS[:, t] == c].sum() for c in range(LABELS)] for t in range(TIME)]
    np.testing.assert_allclose(marginals(chain), expected, rtol=1e-5)
    pairs = jax.grad(lambda p: log_partition(chain._replace(pairwise=p)))(chain.pairwise)
    for a, b in itertools.product(range(LABELS), repeat=2):
        count = ((PATHS[:, :-1] == a) & (PATHS[:, 1:] == b)).sum(1)
        np.testing.assert_allclose(pairs[a, b], (weights * count).sum(), rtol=1e-5)


@pytest.mark.slow
def test_the_likelihood_of_partly_known_labels(chain):
    allowed = np.ones((TIME, LABELS))
    allowed[0], allowed[-1] = (1, 0, 0), (0, 0, 1)
    weights = np.exp(scores(chain))
    agree = (PATHS[:, 0] == 0) & (PATHS[:, -1] == 2)
    expected = np.log(weights[agree].sum() / weights.sum())
    np.testing.assert_allclose(log_likelihood(chain, jnp.asarray(allowed)), expected, rtol=1e-5)
    np.testing.assert_allclose(log_likelihood(chain, jnp.ones((TIME, LABELS))), 0, atol=1e-6)
    gradient = jax.jit(
        jax.grad(lambda u: log_likelihood(chain._replace(unary=u), jnp.asarray(allowed)))
    )(chain.unary)
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_one_step_and_no_pairs_are_softmax(chain):
    one = chain._replace(unary=chain.unary[:1], mask=jnp.ones(1))
    logits = chain.unary[0] + chain.start + chain.end
    np.testing.assert_allclose(marginals(one)[0], jax.nn.softmax(logits), rtol=1e-5)
    free = Chain(chain.unary, jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(3), chain.mask)
    np.testing.assert_allclose(marginals(free), jax.nn.softmax(chain.unary), rtol=1e-5)


@pytest.mark.slow
def test_padding_and_constants_change_nothing(chain):
    padded = chain._replace(
        unary=jnp.concatenate([chain.unary, jnp.full((2, 3), 7.0)]), mask=jnp.r_[chain.mask, 0, 0]
    )
    np.testing.assert_allclose(log_partition(padded), log_partition(chain), rtol=1e-6)
    np.testing.assert_array_equal(viterbi(padded)[:TIME], viterbi(chain))
    allowed = jax.nn.one_hot(jnp.array([0, 1, 2, 1, 0]), 3)
    longer = jnp.concatenate([allowed, jnp.zeros((2, 3))])
    np.testing.assert_allclose(
        log_likelihood(padded, longer), log_likelihood(chain, allowed), rtol=1e-5
    )
    lifted = chain._replace(unary=chain.unary.at[2].add(5.0))
    np.testing.assert_allclose(
        log_likelihood(lifted, allowed), log_likelihood(chain, allowed), rtol=1e-4
    )


@pytest.mark.slow
def test_potentials_start_as_softmax_and_have_119_parameters_at_seven_labels():
    logits = jax.random.normal(jax.random.key(0), (2, 4, 7))
    variables = ChainPotentials().init(jax.random.key(1), logits)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 49 + 7 + 49 + 14
    chains = ChainPotentials().apply(variables, logits)
    np.testing.assert_allclose(jax.vmap(marginals)(chains), jax.nn.softmax(logits), rtol=1e-5)


@pytest.mark.slow
def test_crfsuite_agrees(tmp_path):
    """A CRF trained by CRFsuite, its weights read out: the same paths and the same marginals."""
    pycrfsuite = pytest.importorskip("pycrfsuite")
    random = np.random.default_rng(0)
    features = [["x" + str(v) for v in random.integers(0, 4, 6)] for _ in range(30)]
    labels = [[str((int(f[1]) + t // 3) % 3) for t, f in enumerate(row)] for row in features]
    trainer = pycrfsuite.Trainer(verbose=False)
    for row, path in zip(features, labels, strict=True):
        trainer.append([[f] for f in row], path)
    trainer.set_params({"c1": 0, "c2": 0.1, "feature.possible_transitions": True})
    trainer.train(str(tmp_path / "model"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(tmp_path / "model"))
    info, names = tagger.info(), ["0", "1", "2"]
    pairwise = np.array([[info.transitions.get((a, b), 0.0) for b in names] for a in names])
    for row in features[:10]:
        unary = np.array([[info.state_features.get((f, c), 0.0) for c in names] for f in row])
        chain = Chain(
            jnp.asarray(unary, jnp.float32), jnp.asarray(pairwise, jnp.float32),
            jnp.zeros(3), jnp.zeros(3), jnp.ones(6),
        )  # fmt: skip
        assert [names[i] for i in viterbi(chain)] == tagger.tag([[f] for f in row])
        expected = [[tagger.marginal(c, t) for c in names] for t in range(6)]
        np.testing.assert_allclose(marginals(chain), expected, atol=1e-4)
