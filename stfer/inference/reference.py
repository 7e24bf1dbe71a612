"""The neutral reference of a pair network on a video: the frames that a track itself shows as calm.

A frame's calmness is what the network gives the class `neutral` where the frame is compared with itself. The reference
is a running choice, so a wrong first frame is left as soon as a calmer one comes: of the calmest frames so far, whose
calmness fades slowly, that which is most like the others, so that a single blink is not what all is compared with.
"""

from collections.abc import Sequence

import numpy as np

from stfer.data.labels import NEUTRAL
from stfer.inference.features import Network
from stfer.inference.windows import CLASSIFIED, GAP, SKIPPED, WAITING, Window

KEPT = 7  # frames that the reference is chosen from
CLOSE = 0.1  # below the calmest one's: what still counts as calm beside it
FADING = 0.998  # a frame: after some ten seconds light and pose are no longer what they were
APART = 3  # frames from one candidate to the next, so that they are not all of one blink
CALMER = 0.05  # than a candidate that near: what takes its place


def calmness(network: Network, items: Sequence[np.ndarray], neutral: int) -> np.ndarray:
    """Probability of class number `neutral` of each item of `network.encode` beside itself: float32 [items]."""
    if not items:
        return np.empty(0, np.float32)
    return network.classify([[item, item] for item in items])[:, neutral]


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


class CalmHistory:
    """As `stfer.inference.windows.History`, with a reference that the track shows as calm."""

    def __init__(self, window: Window):
        self._window = window
        self._count = -1
        self._candidates: list[tuple[float, int, np.ndarray]] = []  # calmness, frame, item

    @property
    def reference(self) -> tuple[int, np.ndarray] | None:
        """The frame's number and item; None before the first."""
        if not self._candidates:
            return None
        best = max(calm for calm, _, _ in self._candidates)
        calm = [place for place in self._candidates if place[0] >= best - CLOSE]
        stacked = np.stack([item.ravel().astype(np.float32) for _, _, item in calm])
        apart = [np.abs(stacked - row).mean(1).sum() for row in stacked]
        _, number, item = calm[int(np.argmin(apart))]
        return number, item

    def add(
        self, frame: int, item: np.ndarray | None, calm: float = 0.0
    ) -> tuple[str, list[tuple[int, np.ndarray]]]:
        """Take the item of the next frame (None: no face in it) and its calmness; returns as `History.add`."""
        self._candidates = [(c * FADING, number, kept) for c, number, kept in self._candidates]
        if item is None:
            return (GAP if self._candidates else WAITING), []
        self._consider(frame, item, calm)
        self._count += 1
        if self._count % self._window.stride:
            return SKIPPED, []
        reference = self.reference
        assert reference is not None
        return CLASSIFIED, [reference, (frame, item)]

    def _consider(self, frame: int, item: np.ndarray, calm: float) -> None:
        """Keep the frame among the candidates if it is calmer than one of them; neighbours count as one."""
        near = [place for place in self._candidates if frame - place[1] < APART]
        rivals = near or (self._candidates if len(self._candidates) >= KEPT else [])
        if rivals:
            worst = min(rivals, key=lambda place: place[0])
            if calm <= worst[0] + (CALMER if near else 0.0):
                return
            self._candidates = [place for place in self._candidates if place is not worst]
        self._candidates.append((calm, frame, item))
