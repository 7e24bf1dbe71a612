"""A linear-chain conditional random field (Lafferty, McCallum and Pereira, 2001).

    p(y | x) = exp(start[y_1] + end[y_T] + sum_t unary[t, y_t] + sum_t pairwise[y_t, y_{t+1}]) / Z

All functions take one sequence; map them over a batch. `allowed` says which labels each step may have, so that known,
unknown and padded steps are one thing: a known step allows its label, an unknown one all.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

IMPOSSIBLE = -1e30


class Chain(NamedTuple):
    """Potentials of one sequence (or of a batch, with a leading axis everywhere).

    Attributes:
        unary: float32 [time, labels].
        pairwise: float32 [labels, labels], from a step's label to the next step's.
        start, end: float32 [labels].
        mask: float32 [time], 0 for steps beyond the sequence's end; at least the first is 1.
    """

    unary: jax.Array
    pairwise: jax.Array
    start: jax.Array
    end: jax.Array
    mask: jax.Array


def _forward(chain: Chain, unary: jax.Array, best: bool) -> tuple[jax.Array, jax.Array]:
    """Scores of all prefixes by their last label: the last step's [labels] and every step's [time, labels]."""
    join = jnp.max if best else jax.nn.logsumexp

    def step(scores: jax.Array, inputs: tuple) -> tuple[jax.Array, jax.Array]:
        unary, inside = inputs
        new = join(scores[:, None] + chain.pairwise, axis=0) + unary
        scores = jnp.where(inside > 0, new, scores)
        return scores, scores

    first = chain.start + unary[0]
    last, rest = lax.scan(step, first, (unary[1:], chain.mask[1:]))
    return last, jnp.concatenate([first[None], rest])


def log_partition(chain: Chain, allowed: jax.Array | None = None) -> jax.Array:
    """The logarithm of the sum of exp(score) over all label paths, float32 [].

    Args:
        chain: the scores of labels and of pairs of labels.
        allowed: [time, labels], 0 where a step cannot have a label; None allows all.
    """
    unary = chain.unary if allowed is None else jnp.where(allowed > 0, chain.unary, IMPOSSIBLE)
    last, _ = _forward(chain, unary, best=False)
    return jax.nn.logsumexp(last + chain.end)


def log_likelihood(chain: Chain, allowed: jax.Array) -> jax.Array:
    """The log probability that every step has one of its allowed labels, float32 []."""
    return log_partition(chain, allowed) - log_partition(chain)


def marginals(chain: Chain) -> jax.Array:
    """The probability of each label at each step, [time, labels]: the gradient of log Z by the unaries."""
    return jax.grad(lambda unary: log_partition(chain._replace(unary=unary)))(chain.unary)


def last_label_scores(chain: Chain) -> jax.Array:
    """The score of the best path that ends with each label, [labels]; the largest is Viterbi's last label."""
    return _forward(chain, chain.unary, best=True)[0] + chain.end


def viterbi(chain: Chain) -> jax.Array:
    """The most probable path, int32 [time]; steps beyond the end repeat the last label."""
    last, scores = _forward(chain, chain.unary, best=True)

    def back(label: jax.Array, inputs: tuple) -> tuple[jax.Array, jax.Array]:
        scores, inside = inputs  # of the step before, and whether this one is inside
        before = jnp.argmax(scores + chain.pairwise[:, label]).astype(jnp.int32)
        return jnp.where(inside > 0, before, label), label

    label = jnp.argmax(last + chain.end).astype(jnp.int32)
    first, path = lax.scan(back, label, (scores[:-1], chain.mask[1:]), reverse=True)
    return jnp.concatenate([first[None], path])


class ChainPotentials(nn.Module):
    """From each step's logits to a chain's potentials: unary = x A + b, and free pairwise, start and end scores.

    A starts as the identity and all else as 0, so that before training the chain is a softmax at each step.
    2 L^2 + 3 L parameters for L labels.
    """

    @nn.compact
    def __call__(self, logits: jax.Array) -> Chain:
        """Map logits [batch, time, labels] to potentials with a leading batch axis and no padding."""
        batch, time, labels = logits.shape
        unary = nn.Dense(
            labels,
            kernel_init=lambda key, shape, dtype: jnp.eye(shape[0], shape[1], dtype=dtype),
            name="unary",
        )(logits.astype(jnp.float32))
        zeros = nn.initializers.zeros_init()
        pairwise = self.param("pairwise", zeros, (labels, labels))
        start, end = (self.param(name, zeros, (labels,)) for name in ("start", "end"))
        pairwise, start, end = (
            jnp.broadcast_to(p, (batch, *p.shape)) for p in (pairwise, start, end)
        )
        return Chain(unary, pairwise, start, end, jnp.ones((batch, time), jnp.float32))
