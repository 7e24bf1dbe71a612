"""Which frames of a running video make a clip (paper, section VI-B, slid over time).

In training a clip's frames count back from the apex, the sequence's last frame. Over a video they count
back from the frame of now: late fusion's [-15] and [-1] become "14 frames ago" and "now". Its first frame
can also stay the track's first one, which is the neutral one where a recording starts neutral.

Where the frame rate of the training is known, they count back in time: at 25 frames a second 14 frames are
0.56 s, whatever the rate of the video.
"""

import re
from collections import deque
from dataclasses import dataclass

import numpy as np

from stfer.data.clips import ClipRule

REFERENCES = ("back", "first", "auto")
DEFAULT_RATE = 25.0  # frames a second, where nothing says it
_MOST_FRAMES = 4096  # of a history by time, should a clock stand still

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
        auto: The clip is a frame that the track shows as calm and the one of now, see `stfer.inference.reference`.
        seconds: The same offsets in seconds, where clips are taken by time; empty where frames are counted.
        tolerance: Seconds by which a frame may miss its time, half a frame of the training.
    """

    offsets: tuple[int, ...]
    stride: int = 1
    from_first: bool = False
    auto: bool = False
    seconds: tuple[float, ...] = ()
    tolerance: float = 0.0

    @property
    def shortest(self) -> int:
        """How many frames of a face a clip needs at least, at the rate of the training."""
        return 2 if self.from_first or self.auto else 1 - min(self.offsets)

    def __str__(self) -> str:
        if self.from_first:
            return "the face's first frame and the one of now"
        if self.auto:
            return "a frame that the face shows as calm, and the one of now"
        if self.seconds:
            listed = ", ".join(f"{second:.3g}" for second in self.seconds)
            return f"frames {listed} s from now, by time"
        return f"frames {', '.join(map(str, self.offsets))} from now"


def parse_distance(text: str) -> int | float:
    """A pair distance as a person writes it: `14` is a whole number of frames, `0.5s` are seconds, a float.

    Raises:
        ValueError: It is neither.
    """
    if re.fullmatch(r"[0-9]{1,6}", text.strip()):
        return int(text)
    found = re.fullmatch(r"([0-9]{0,6}(?:\.[0-9]{1,6})?) ?s", text.strip())
    if found and found[1] not in ("", "."):
        return float(found[1])
    raise ValueError(
        f"the pair distance {text[:40]!r} is no number of frames, and no time such as 0.5s"
    )


def window(
    rule: ClipRule,
    stride: int = 1,
    pair_distance: int | float | None = None,
    reference: str = "back",
    rate: float | None = None,
) -> Window:
    """The window of an architecture's clip rule.

    Args:
        rule: How the model's training clips lie.
        stride: Frames from one clip's end to the next.
        pair_distance: From a clip's first frame to its last one, an int in frames, a float in seconds; for
            rules that leave frames out.
        reference: `back` counts from now; `first` keeps the track's first frame, `auto` one that the track shows as
            calm (two-frame rules only).
        rate: Frames a second of the training, to take clips by time; None counts frames.

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
        offsets = _spread(pair_distance, rule.frames, rate)
    if reference == "auto":
        if rule.frames != 2 or pair_distance is not None:
            raise ValueError(
                "a calm frame as reference is for models of two frames, and leaves no pair distance to set"
            )
        return Window(offsets, stride, auto=True)
    if reference == "first" and (rule.frames != 2 or consecutive or pair_distance is not None):
        raise ValueError(
            "the first frame as reference is for models of two distant frames, such as late_fusion, "
            "and leaves no pair distance to set"
        )
    if reference == "first" or (rate is None and not isinstance(pair_distance, float)):
        return Window(offsets, stride, reference == "first")
    known = rate or DEFAULT_RATE
    if isinstance(pair_distance, float):
        times = tuple(float(t) for t in np.linspace(-pair_distance, 0, rule.frames))
    else:
        times = tuple(offset / known for offset in offsets)
    return Window(offsets, stride, seconds=times, tolerance=0.5 / known)


def _spread(distance: int | float, frames: int, rate: float | None) -> tuple[int, ...]:
    """Offsets of frames that spread evenly over a distance in frames or seconds."""
    if isinstance(distance, float):
        if not 0 < distance < 3600:
            raise ValueError(f"the pair distance is {distance:g} s; it must be more than 0 s")
        distance = max(frames - 1, round(distance * (rate or DEFAULT_RATE)))
    if distance < frames - 1:
        raise ValueError(f"the pair distance must be at least {frames - 1} frames")
    return tuple(int(offset) for offset in np.round(np.linspace(-distance, 0, frames)))


class History[Item]:
    """The last frames of one track: as many as a clip reaches back, never more."""

    def __init__(self, window: Window):
        self._window = window
        length = _MOST_FRAMES if window.seconds else 1 - min(window.offsets)
        self._recent: deque[tuple[int, float, Item | None]] = deque(maxlen=length)
        self._first: tuple[int, float, Item] | None = None
        self._ready = -1

    def add(
        self, frame: int, item: Item | None, seconds: float = 0.0
    ) -> tuple[str, list[tuple[int, Item]]]:
        """Take the item of the next frame (None: no face in it).

        Args:
            frame: Its number.
            item: Whatever stands for its face.
            seconds: When it was, for a window that goes by time; never less than the last one's.

        Returns:
            `CLASSIFIED` and the clip's frames with their items, or why there is no clip and [].
        """
        if self._first is None:
            if item is None:
                return WAITING, []
            self._first = (frame, seconds, item)
        self._recent.append((frame, seconds, item))
        window = self._window
        if window.seconds:
            # A fast video need not begin half a frame of the training too early.
            step = seconds - self._recent[-2][1] if len(self._recent) > 1 else 0.0
            early = min(window.tolerance, step / 2) + 1e-6
            self._forget(seconds + window.seconds[0])
            if seconds - self._first[1] < -window.seconds[0] - early:
                return WAITING, []
            self._ready += 1
        else:
            self._ready = frame - self._first[0] - (window.shortest - 1)
            if self._ready < 0:
                return WAITING, []
        if self._ready % window.stride:
            return SKIPPED, []
        if window.from_first:
            places = [self._first, self._recent[-1]]
        elif window.seconds:
            places = [self._at(seconds + offset) for offset in window.seconds]
        else:
            places = [self._recent[offset - 1] for offset in window.offsets]
        clip = [(number, item) for number, _, item in places if item is not None]
        if len(clip) < len(places):
            return GAP, []
        return CLASSIFIED, clip

    def _forget(self, before: float) -> None:
        """Forget frames that no clip reaches any more; the last one before stays, for what was shown then."""
        while len(self._recent) > 1 and self._recent[1][1] <= before - self._window.tolerance:
            self._recent.popleft()

    def _at(self, seconds: float) -> tuple[int, float, Item | None]:
        """The frame nearest to a time, or where none is near the one that was shown then."""
        nearest = min(self._recent, key=lambda place: round(abs(place[1] - seconds), 6))
        if abs(nearest[1] - seconds) <= self._window.tolerance:
            return nearest
        shown = [place for place in self._recent if place[1] <= seconds]
        return shown[-1] if shown else self._recent[0]
