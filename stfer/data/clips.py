"""Which frames of a sequence a model sees, in training and in evaluation (the paper, section VI-B).

Sequences run from neutral to apex, so offsets count back from the end: -1 is the apex. A rule that
slides makes one evaluation clip of every block of consecutive frames, and the clips then vote. Which rule an
architecture has is said where it is registered (`stfer.models.register`).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClipRule:
    """The frames of one architecture's clips.

    Attributes:
        offsets: negative offsets from the sequence's end, in the order the model sees them.
        slide: evaluate on every block of `frames` consecutive frames, stride 1, instead of on the
            training clip alone.
    """

    offsets: tuple[int, ...]
    slide: bool = False

    def __post_init__(self):
        if not self.offsets or any(offset >= 0 for offset in self.offsets):
            raise ValueError(
                f"clip offsets count back from the end and are negative: {self.offsets}"
            )
        if self.slide and self.offsets != _last(len(self.offsets)):
            raise ValueError(f"only the last consecutive frames can slide, not {self.offsets}")

    @property
    def frames(self) -> int:
        """The clip's length in frames."""
        return len(self.offsets)

    @property
    def shortest(self) -> int:
        """The length of the shortest sequence that holds a clip."""
        return -min(self.offsets)

    @property
    def votes(self) -> bool:
        """Whether a sequence can have several evaluation clips."""
        return self.slide


def _last(frames: int) -> tuple[int, ...]:
    return tuple(range(-frames, 0))


def last_frames(frames: int) -> ClipRule:
    """The last `frames` frames, in training and evaluation alike."""
    return ClipRule(_last(frames))


def sliding(frames: int) -> ClipRule:
    """Train on the last `frames` frames, evaluate on every block of as many."""
    return ClipRule(_last(frames), slide=True)


def spread(frames: int) -> ClipRule:
    """Frames at even distances from the 15th last to the last one; two are the paper's [-15] and [-1]."""
    return ClipRule(tuple(int(offset) for offset in np.round(np.linspace(-15, -1, frames))))


def reference_and_last(frames: int) -> ClipRule:
    """A pair as `spread`, or the last frame alone, slid over the sequence."""
    return spread(frames) if frames > 1 else sliding(frames)


def training_clip(rule: ClipRule, length: int, sequence: str = "") -> np.ndarray:
    """Frame indices of the training clip, int64 [rule.frames].

    Args:
        rule: which frames a clip takes.
        length: the sequence's number of frames.
        sequence: its name, for the error.

    Raises:
        ValueError: the sequence is too short.
    """
    _check(rule, length, sequence)
    return length + np.array(rule.offsets)


def evaluation_clips(rule: ClipRule, length: int, sequence: str = "") -> np.ndarray:
    """Frame indices of all evaluation clips, int64 [clips, rule.frames]; see `training_clip`."""
    _check(rule, length, sequence)
    if not rule.slide:
        return training_clip(rule, length, sequence)[None, :]
    return np.lib.stride_tricks.sliding_window_view(np.arange(length), rule.frames).copy()


def _check(rule: ClipRule, length: int, sequence: str) -> None:
    if length < rule.shortest:
        name = f"sequence {sequence}" if sequence else "a sequence"
        raise ValueError(f"{name} has {length} frames, and a clip needs at least {rule.shortest}")
