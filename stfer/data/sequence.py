"""The records that the readers make: a labelled sequence of frames, and a dropped one with its reason.

Sequences run from a neutral face to the apex of one expression (the paper, section V), so the last
frame is the apex. Records name files; they hold no pixels.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

EMOTIONS_6 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
EMOTIONS_7 = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
CLASSES = {6: EMOTIONS_6, 7: EMOTIONS_7}


@dataclass(frozen=True)
class FrameSource:
    """Where one frame's pixels are: an image file, or frame `number` (from 0) of a video file."""

    path: str
    number: int | None = None

    def __str__(self) -> str:
        name = readable(os.path.basename(self.path))
        return name if self.number is None else f"{name}, frame {self.number}"


@dataclass(frozen=True)
class Sequence:
    """One labelled sequence, neutral to apex.

    `label` is a class name of EMOTIONS_7. `open_end` is true for a video read to its end: its
    container's frame count is then a promise, and fewer decoded frames are no mistake. `missing` says
    which frames its numbering lacks, if any. `rate` is its frames a second, None where nothing tells.
    """

    id: str
    subject: str
    label: str
    frames: tuple[FrameSource, ...]
    open_end: bool = False
    missing: str = ""
    rate: float | None = None

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Dropped:
    """A sequence that is not used, with the reason in words. Unknown fields are empty strings."""

    sequence: str
    subject: str
    label: str
    reason: str

    @property
    def kind(self) -> str:
        """The reason without its particulars, for counting."""
        return "no face" if self.reason.startswith("no face") else self.reason.split(":")[0]


def readable(name: str) -> str:
    """A file name as text that any encoder takes: bytes that are no UTF-8 become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def select(
    sequences: Iterable[Sequence],
    classes: tuple[str, ...],
    min_frames: int,
    keep_gaps: bool = False,
) -> tuple[list[Sequence], list[Dropped]]:
    """Keep the sequences of `classes` that have at least `min_frames` frames (the paper, section V).

    Two sequences with one id are both dropped: which of them the id means is not known. So is one
    that lacks frames, which would jump where an expression moves, unless `keep_gaps`.
    """
    sequences = list(sequences)
    count = Counter(sequence.id for sequence in sequences)
    kept, dropped = [], []
    for s in sequences:
        if count[s.id] > 1:
            reason = f"duplicate id: {count[s.id]} sequences are named {s.id}"
        elif s.label not in classes:
            reason = f"{s.label}: not one of the {len(classes)} classes"
        elif len(s) < min_frames:
            reason = f"too short: {len(s)} frames, at least {min_frames} are needed"
        elif s.missing and not keep_gaps:
            reason = f"incomplete: {s.missing}"
        else:
            kept.append(s)
            continue
        dropped.append(Dropped(s.id, s.subject, s.label, reason))
    return kept, dropped
