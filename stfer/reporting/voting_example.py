"""The two votes on one made-up sequence, small enough to follow by hand (paper Fig. 16)."""

from dataclasses import dataclass

import numpy as np

from stfer.evaluation import voting

CLASSES = ("fear", "happiness", "surprise")
# Neutral to apex: three unsure frames lean to fear, then two sure ones say surprise.
PROBABILITIES = (
    (0.40, 0.30, 0.30),
    (0.45, 0.20, 0.35),
    (0.50, 0.10, 0.40),
    (0.10, 0.05, 0.85),
    (0.05, 0.05, 0.90),
)


@dataclass(frozen=True)
class VotingExample:
    """The worked example.

    Attributes:
        classes: class names.
        probabilities: [clips, classes].
        choices: each clip's most probable class.
        sums: summed probability of each class.
        counts: how many clips vote for each class.
        summed: the class by summed probability.
        maximum: the class by maximum probability.
    """

    classes: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    choices: tuple[str, ...]
    sums: tuple[float, ...]
    counts: tuple[int, ...]
    summed: str
    maximum: str


def worked_example() -> VotingExample:
    """Vote on the example with the code that the experiments vote with."""
    winners, shares = voting.vote(PROBABILITIES), voting.shares(PROBABILITIES)
    clips = len(PROBABILITIES)
    return VotingExample(
        classes=CLASSES,
        probabilities=PROBABILITIES,
        choices=tuple(CLASSES[np.argmax(row)] for row in PROBABILITIES),
        sums=tuple(float(share * clips) for share in shares["summed"]),
        counts=tuple(round(share * clips) for share in shares["maximum"]),
        summed=CLASSES[winners["summed"]],
        maximum=CLASSES[winners["maximum"]],
    )
