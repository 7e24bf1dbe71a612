"""Which frames of a running video make a clip (paper, section VI-B, slid over time).

In training a clip's frames count back from the apex, the sequence's last frame. Over a video they count
back from the frame of now: late fusion's [-15] and [-1] become "14 frames ago" and "now". Its first frame
can also stay the track's first one, which is the neutral one where a recording starts neutral.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from stfer.data.clips import ClipRule

REFERENCES = ("back", "first")

CLASSIFIED = "classified"
WAITING = "too few frames yet"
GAP = "a frame of the clip has no face"
SKIPPED = "skipped by the stride"


@dataclass(frozen=True)
class Window:
    """How clips slide.

    Attributes:
        offsets: Frames of a clip, counted from now: at most 0, ascending.
        stride: A clip ends at every stride-th frame.
        from_first: The clip is the track's first frame and the one of now.
    """

    offsets: tuple[int, ...]
    stride: int = 1
    from_first: bool = False

    @property
    def shortest(self) -> int:
        """How many frames of a face a clip needs at least."""
        return 2 if self.from_first else 1 - min(self.offsets)


def window(
    rule: ClipRule, stride: int = 1, pair_distance: int | None = None, reference: str = "back"
) -> Window:
    """The window of an architecture's clip rule.

    Args:
        rule: How the model's training clips lie.
        stride: Frames from one clip's end to the next.
        pair_distance: Frames between a clip's first and last one; for rules that leave frames out.
        reference: `back` counts from now; `first` keeps the track's first frame (two-frame rules only).

    Raises:
        ValueError: A setting that the rule has no use for.
    """
    if stride < 1:
        raise ValueError(f"the stride is {stride} frames; it must be at least 1")
    if reference not in REFERENCES:
        raise ValueError(f"reference must be {' or '.join(REFERENCES)}, not {reference!r}")
    offsets = tuple(offset + 1 for offset in rule.offsets)
    consecutive = offsets == tuple(range(1 - len(offsets), 1))
    if pair_distance is not None:
        if consecutive:
            raise ValueError(
                f"a pair distance is for models of distant frames, such as late_fusion; this one sees "
                f"{rule.frames} consecutive frame{'s' if rule.frames > 1 else ''}"
            )
        if pair_distance < rule.frames - 1:
            raise ValueError(f"the pair distance must be at least {rule.frames - 1} frames")
        spread = np.round(np.linspace(-pair_distance, 0, rule.frames))
        offsets = tuple(int(offset) for offset in spread)
    if reference == "first" and (rule.frames != 2 or consecutive or pair_distance is not None):
        raise ValueError(
            "the first frame as reference is for models of two distant frames, such as late_fusion, "
            "and leaves no pair distance to set"
        )
    return Window(offsets, stride, reference == "first")


class History[Item]:
    """The last frames of one track: as many as a clip reaches back, never more."""

    def __init__(self, window: Window):
        self._window = window
        self._recent: deque[tuple[int, Item | None]] = deque(maxlen=1 - min(window.offsets))
        self._first: tuple[int, Item] | None = None

    def add(self, frame: int, item: Item | None) -> tuple[str, list[tuple[int, Item]]]:
        """Take the item of the next frame (None: no face in it).

        Returns:
            `CLASSIFIED` and the clip's frames with their items, or why there is no clip and [].
        """
        if self._first is None:
            if item is None:
                return WAITING, []
            self._first = (frame, item)
        self._recent.append((frame, item))
        window = self._window
        age = frame - self._first[0]
        if age < window.shortest - 1:
            return WAITING, []
        if (age - (window.shortest - 1)) % window.stride:
            return SKIPPED, []
        if window.from_first:
            places = [self._first, self._recent[-1]]
        else:
            places = [self._recent[offset - 1] for offset in window.offsets]
        if any(item is None for _, item in places):
            return GAP, []
        return CLASSIFIED, places
