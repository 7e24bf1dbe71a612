"""From the probabilities of a sequence's clips to one class: the paper's two votes (section VI-B.1, Fig. 16).

*Summed*: the class with the largest summed probability. *Maximum*: each clip votes for its most
probable class, and the class with most votes wins. Where one clip stands for the sequence, both are that
clip's most probable class.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

VOTES = ("summed", "maximum")


def vote(probabilities: ArrayLike) -> dict[str, int]:
    """The class that each vote gives a sequence.

    The paper does not say how ties end. Here a tie of the maximum vote goes to the tied class with the larger
    summed probability, and a tie that is left goes to the class that comes first.

    Args:
        probabilities: float [clips, classes], the softmax outputs of one sequence's clips.

    Returns:
        Vote name to class index, for the votes "summed" and "maximum".

    Raises:
        ValueError: if the array is not [clips, classes], is empty, or holds a value that is not finite.
    """
    probabilities = _checked(probabilities)
    summed = probabilities.sum(axis=0)
    votes = _votes_per_class(probabilities)
    tied = votes == votes.max()
    return {
        "summed": int(np.argmax(summed)),
        "maximum": int(np.argmax(np.where(tied, summed, -np.inf))),
    }


def shares(probabilities: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """What each vote is decided on, as one distribution over the classes.

    Args:
        probabilities: float [clips, classes], as in `vote`.

    Returns:
        "summed": the mean clip probability, float64 [classes]; "maximum": the share of the clips that vote for
        each class, float64 [classes].

    Raises:
        ValueError: as in `vote`.
    """
    probabilities = _checked(probabilities)
    return {
        "summed": probabilities.mean(axis=0),
        "maximum": _votes_per_class(probabilities) / len(probabilities),
    }


def _votes_per_class(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count how many clips have each class as their most probable one: int [classes]."""
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])


def _checked(probabilities: ArrayLike) -> NDArray[np.float64]:
    """As float64 [clips, classes]; float32 sums of many near-equal clips could break a tie by rounding."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise ValueError(f"probabilities must be [clips, classes], not shape {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite: the model's outputs hold NaN or infinity")
    return probabilities
