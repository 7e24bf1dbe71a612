"""Which frames of a sequence a model sees, in training and in evaluation (the paper, section VI-B).

Sequences run from neutral to apex, so offsets count back from the end: -1 is the apex. A rule that
slides makes one evaluation clip of every block of consecutive frames, and the clips then vote. Which rule an
architecture has is said where it is registered (`stfer.models.register`).

Beyond the paper, settings let a pair of frames (late fusion) vote over several pairs, and let training draw its
clip anew each epoch; both stay in the apex part, the last frames of a sequence.
"""

from dataclasses import dataclass

import numpy as np

PAIRS = ("last", "sliding", "all")


@dataclass(frozen=True)
class ClipRule:
    """The frames of one architecture's clips.

    Attributes:
        offsets: negative offsets from the sequence's end, in the order the model sees them.
        slide: evaluate on every block of `frames` consecutive frames, stride 1, instead of on the
            training clip alone.
        pairs: which pairs of frames a rule of two offsets evaluates: `last` its own alone; `sliding` all that are
            as far apart as its own and end in the apex part; `all` every (start, end) that are at least
            `distance` apart and end in the apex part.
        random: training draws among several clips, see `training_choices`.
        distance: the fewest frames from start to end of a pair of `all` or `random`; never more than its own.
        apex: how many frames at a sequence's end are its apex part.
    """

    offsets: tuple[int, ...]
    slide: bool = False
    pairs: str = "last"
    random: bool = False
    distance: int = 10
    apex: int = 5

    def __post_init__(self):
        if not self.offsets or any(offset >= 0 for offset in self.offsets):
            raise ValueError(
                f"clip offsets count back from the end and are negative: {self.offsets}"
            )
        if self.slide and self.offsets != _last(len(self.offsets)):
            raise ValueError(f"only the last consecutive frames can slide, not {self.offsets}")
        if self.pairs not in PAIRS:
            raise ValueError(f"pairs is {self.pairs!r}; it must be one of {', '.join(PAIRS)}")
        if self.pairs != "last" and not self.is_pair:
            raise ValueError(
                f"pairs is {self.pairs!r}, which is for clips of two frames; these have {self.frames} "
                f"frame{'s' if self.frames > 1 else ''}"
            )

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
        return self.slide or self.pairs != "last"

    @property
    def is_pair(self) -> bool:
        """Whether a clip is a pair (start, end) of frames that does not slide as a block."""
        return self.frames == 2 and not self.slide and self.offsets[0] < self.offsets[1]


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
    if rule.pairs != "last":
        return _pairs(rule, length, every=rule.pairs == "all")
    if not rule.slide:
        return training_clip(rule, length, sequence)[None, :]
    return np.lib.stride_tricks.sliding_window_view(np.arange(length), rule.frames).copy()


def training_choices(rule: ClipRule, length: int, sequence: str = "") -> np.ndarray:
    """Frame indices of the clips that training draws from, int64 [choices, rule.frames], the paper's own first.

    Of a rule that is not random its training clip alone. A pair of frames may be any (start, end) at least
    `rule.distance` apart that ends in the apex part; another clip (a frame, a window, a block) is the training
    clip moved so that it ends at any frame of the apex part.

    Args:
        rule: which frames.
        length: as in `training_clip`, whose errors it has.
        sequence: as in `training_clip`.
    """
    own = training_clip(rule, length, sequence)
    if not rule.random:
        return own[None, :]
    if rule.is_pair:
        further = _pairs(rule, length, every=True)
    else:
        moves = range(min(rule.apex - 1, int(own.min())), -1, -1)
        further = np.array([own - move for move in moves])
    others = further[(further != own).any(axis=1)]
    return np.concatenate([own[None, :], others])


def _pairs(rule: ClipRule, length: int, every: bool) -> np.ndarray:
    """Pairs (start, end) that end in the apex part, by end, then start: int64 [pairs, 2].

    With `every` all that are at least `rule.distance` apart, else those that are as far apart as the rule's own.
    """
    first, last = (length + offset for offset in rule.offsets)
    own = last - first
    apart = min(rule.distance, own)
    found = []
    for end in range(max(length - rule.apex, 0), length):
        starts = range(end - apart + 1) if every else range(end - own, end - own + 1)
        found += [(start, end) for start in starts if start >= 0]
    if (first, last) not in found:  # The own pair may end before the apex part.
        found.insert(0, (first, last))
    return np.array(found, np.int64)


def _check(rule: ClipRule, length: int, sequence: str) -> None:
    if length < rule.shortest:
        name = f"sequence {sequence}" if sequence else "a sequence"
        raise ValueError(f"{name} has {length} frames, and a clip needs at least {rule.shortest}")
