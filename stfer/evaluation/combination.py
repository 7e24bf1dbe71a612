"""Weighted combination of several models' probabilities, by random search on validation sequences ([2], [7]).

    combined[n, c] = sum_m w[m, c] p[m, n, c]

[2] draws weights of each model and class uniformly, each class' summing to 1, then takes Gaussian steps from the best;
[7] lets those steps shrink. Search on validation subjects, never on those who are tested.
"""

import numpy as np

CHUNK = 256


def combined(weights: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Weighted sums: weights [..., models, classes], probabilities [models, n, classes] to [..., n, classes]."""
    return np.einsum("...mc,mnc->...nc", weights, probabilities)


def search_weights(
    probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    draws: int = 100_000,
    rounds: int = 20,
    draws_a_round: int = 1000,
    step: float = 0.5,
    shrink: float = 0.9,
    seed: int = 0,
) -> tuple[np.ndarray, float]:
    """The weights of the best accuracy found.

    The equal weights are the first candidate, so the result is never worse than the average; of equally good weights
    the first found stays.

    Args:
        probabilities: [models, n, classes], of validation sequences.
        labels: int [n].
        draws: uniform draws.
        rounds: rounds of Gaussian steps from the best, of standard deviation `step` times `shrink` to the power of
            the round's number.
        draws_a_round: steps in each.
        step: see `rounds`; [2] has 400,000 draws, step 0.1 and shrink 1, [7] the defaults.
        shrink: see `rounds`.
        seed: of the search.

    Returns:
        Weights float64 [models, classes], each class' summing to 1, and their accuracy.

    Raises:
        ValueError: there is no sequence, or the shapes disagree.
    """
    models, count, classes = np.shape(probabilities)
    if count == 0 or np.shape(labels) != (count,):
        raise ValueError(
            f"probabilities are [models, {count}, classes] and labels {np.shape(labels)}; the search needs as many"
            " labels as sequences, and one at least"
        )
    random = np.random.default_rng(seed)
    best = np.full((models, classes), 1 / models)
    accuracy = _accuracies(best[None], probabilities, labels)[0]

    def look(candidates: np.ndarray) -> None:
        nonlocal best, accuracy
        found = _accuracies(candidates, probabilities, labels)
        if found.max() > accuracy:
            best, accuracy = candidates[found.argmax()], found.max()

    for first in range(0, draws, CHUNK):
        size = (min(CHUNK, draws - first), models, classes)
        look(_normalised(random.random(size)))
    for number in range(rounds):
        centre = best
        for first in range(0, draws_a_round, CHUNK):
            size = (min(CHUNK, draws_a_round - first), models, classes)
            look(_normalised(centre + random.normal(0, step * shrink**number, size)))
    return best, float(accuracy)


def _normalised(weights: np.ndarray) -> np.ndarray:
    """Weights at least 0 that sum to 1 over the models; equal ones where all were 0."""
    weights = np.maximum(weights, 0)
    total = weights.sum(-2, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / weights.shape[-2])


def _accuracies(weights: np.ndarray, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (combined(weights, probabilities).argmax(-1) == labels).mean(-1)
