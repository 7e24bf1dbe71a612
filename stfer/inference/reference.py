"""The neutral reference of a pair network on a video: frames that a track itself shows as calm.

Two frames of a face are compared both ways. Seen from a smile a calm face is neutral, and seen from the calm face the
smile is none: where the frame of now is called neutral and the reference, seen from it, is not, the reference was the
expressive one and the frame of now takes its place. So a wrong first frame is left as soon as a calm one comes. Frames
that are neutral both ways join the reference's candidates, the last few seconds of calm; the one that is most like
the others stands for them, so that nothing is compared with a single blink.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stfer.data.labels import NEUTRAL
from stfer.inference.features import Network
from stfer.inference.windows import CLASSIFIED, GAP, SKIPPED, WAITING
from stfer.models.registry import FRAMES

KEPT = 5  # candidates that the reference is chosen from
APART = 15  # frames from one candidate to the next: together some seconds, longer than an expression's onset
CALM = 0.8  # probability of neutral, both ways, with which a frame joins the candidates
CALMER = (
    0.5  # by which neutral must be likelier of the frame than of the reference, to take its place
)
AT_ONCE = 32  # frames compared with one reference
Item = Any  # what `Network.encode` keeps of a frame


def neutral_class(classes: Sequence[str]) -> int:
    """The number of the class `neutral`.

    Raises:
        ValueError: There is none.
    """
    if NEUTRAL not in classes:
        raise ValueError(
            f"--reference=auto takes the frames that a model calls {NEUTRAL}, and this one knows "
            f"{', '.join(classes)} only: train it with --neutral, or use --reference=first or back"
        )
    return list(classes).index(NEUTRAL)


@dataclass(frozen=True)
class Answer:
    """What is said of one frame of a track.

    Attributes:
        status: One of those of `stfer.inference.windows`.
        frames: The reference's number and the frame's; empty where it is not classified.
        probabilities: float32 [classes], or None.
    """

    status: str
    frames: tuple[int, ...] = ()
    probabilities: np.ndarray | None = None


class CalmTrack:
    """One face over time, each frame classified against a calm one of its own.

    What is said of a frame depends on the frames before it only, however they are cut into calls.

    Args:
        network: Of two frames, the reference first.
        neutral: The number of the class `neutral`.
        stride: Every stride-th frame is answered; all are looked at.
    """

    def __init__(self, network: Network, neutral: int, stride: int = 1):
        self._network = network
        self._neutral = neutral
        self._stride = stride
        self._count = -1
        self._candidates: list[tuple[int, Item]] = []
        self._chosen: tuple[int, Item] | None = None

    @property
    def reference(self) -> int | None:
        """The reference's frame number; None before the first face."""
        return None if self._chosen is None else self._chosen[0]

    def classify(self, frames: Iterable[tuple[int, Item | None]]) -> list[Answer]:
        """Answer the next frames.

        Args:
            frames: `(number, item)` of each, ascending; an item is one of `network.encode`, None where no face is.
        """
        waiting = list(frames)
        answers: list[Answer] = []
        while len(answers) < len(waiting):
            # Not all at once: after a change of the reference the rest is compared anew.
            answers += self._until_change(waiting[len(answers) : len(answers) + AT_ONCE])
        return answers

    def _until_change(self, frames: list[tuple[int, Item | None]]) -> list[Answer]:
        """Answer frames up to the one that changes the reference; all were compared with it in two batches."""
        faces = [(number, item) for number, item in frames if item is not None]
        if self._chosen is None and faces:
            self._start(faces[0])
        seen = iter(self._compared([item for _, item in faces]))
        answers = []
        for number, item in frames:
            if item is None:
                started = self._chosen is not None and number > self._chosen[0]
                answers.append(Answer(GAP if started else WAITING))
                continue
            there, back = next(seen)
            assert self._chosen is not None
            before = self._chosen[0]
            self._count += 1
            if number == before:  # Nothing to compare it with yet.
                answers.append(Answer(WAITING))
            elif self._count % self._stride:
                answers.append(Answer(SKIPPED))
            else:
                answers.append(Answer(CLASSIFIED, (before, number), there))
            self._consider(number, item, float(there[self._neutral]), float(back[self._neutral]))
            if self._chosen[0] != before:
                break
        return answers

    def _compared(self, items: list[Item]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each item: what it shows seen from the reference, and what the reference shows seen from it."""
        if not items:
            return []
        assert self._chosen is not None
        reference = self._chosen[1]
        there = self._network.classify([[reference, item] for item in items])
        back = self._network.classify([[item, reference] for item in items])
        return list(zip(there, back, strict=True))

    def _start(self, frame: tuple[int, Item]) -> None:
        self._candidates = [frame]
        self._chosen = frame

    def _consider(self, number: int, item: Item, neutral: float, reference_neutral: float) -> None:
        """Choose the reference anew, after a frame was compared with the one of before."""
        if neutral - reference_neutral > CALMER:
            self._start((number, item))
        elif min(neutral, reference_neutral) > CALM and number - self._candidates[-1][0] >= APART:
            self._candidates = [*self._candidates, (number, item)][-KEPT:]
            stacked = np.stack([_flat(kept) for _, kept in self._candidates])
            apart = [np.abs(stacked - row).mean(1).sum() for row in stacked]
            self._chosen = self._candidates[int(np.argmin(apart))]


def _flat(item: Item) -> np.ndarray:
    """Numbers to tell how alike two items are: float32 [numbers]."""
    picture = item[FRAMES] if isinstance(item, dict) else item
    return picture.ravel().astype(np.float32)
