"""From the probabilities of a sequence's clips to one class: the paper's two votes (section VI-B.1, Fig. 16).

*Summed*: the class with the largest summed probability. *Maximum*: each clip votes for its most
probable class, and the class with most votes wins. Where one clip stands for the sequence, both are that
clip's most probable class.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

VOTES = ("summed", "maximum")


class Tally:
    """Both votes over clips that may come one by one: sums only, so that it does not grow.

    The paper does not say how ties end. Here a tie of the maximum vote goes to the tied class with the larger
    summed probability, and a tie that is left goes to the class that comes first.

    Attributes:
        clips: how many were counted.
        summed: float64 [classes], the sum of their probabilities.
        votes: int64 [classes], how many clips have each class as their most probable one.
    """

    def __init__(self, classes: int):
        self.clips = 0
        self.summed: NDArray[np.float64] = np.zeros(classes)
        self.votes: NDArray[np.int64] = np.zeros(classes, np.int64)

    def add(self, probabilities: ArrayLike) -> None:
        """Count clips.

        Args:
            probabilities: float [clips, classes], softmax outputs.

        Raises:
            ValueError: if the array is not [clips, classes], is empty, or holds a value that is not finite.
        """
        probabilities = _checked(probabilities)
        self.clips += len(probabilities)
        self.summed += probabilities.sum(axis=0)
        self.votes += np.bincount(probabilities.argmax(axis=1), minlength=len(self.votes))

    def winners(self) -> dict[str, int]:
        """Vote name to class index, for the votes "summed" and "maximum"; at least one clip was counted."""
        tied = self.votes == self.votes.max()
        return {
            "summed": int(np.argmax(self.summed)),
            "maximum": int(np.argmax(np.where(tied, self.summed, -np.inf))),
        }

    def shares(self) -> dict[str, NDArray[np.float64]]:
        """What each vote is decided on, as one distribution over the classes; at least one clip was counted.

        Returns:
            "summed": the mean clip probability, float64 [classes]; "maximum": the share of the clips that vote for
            each class, float64 [classes].
        """
        return {"summed": self.summed / self.clips, "maximum": self.votes / self.clips}


def count(probabilities: ArrayLike) -> Tally:
    """The tally of one sequence's clips, [clips, classes]; raises as `Tally.add`."""
    tally = Tally(np.shape(probabilities)[-1] if np.ndim(probabilities) else 0)
    tally.add(probabilities)
    return tally


def vote(probabilities: ArrayLike) -> dict[str, int]:
    """The class index that each vote gives a sequence of clips [clips, classes]; see `Tally`."""
    return count(probabilities).winners()


def shares(probabilities: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """What each vote over clips [clips, classes] is decided on; see `Tally`."""
    return count(probabilities).shares()


def _checked(probabilities: ArrayLike) -> NDArray[np.float64]:
    """As float64 [clips, classes]; float32 sums of many near-equal clips could break a tie by rounding."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise ValueError(f"probabilities must be [clips, classes], not shape {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite: the model's outputs hold NaN or infinity")
    return probabilities
