"""The records that the readers make: a labelled sequence of frames, and a dropped one with its reason.

Sequences run from a neutral face to the apex of one expression (the paper, section V), so the last
frame is the apex. Records name files; they hold no pixels.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

EMOTIONS_6 = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
EMOTIONS_7 = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
CLASSES = {6: EMOTIONS_6, 7: EMOTIONS_7}


class UnreadableFrameError(Exception):
    """A frame that cannot be read; its text is a reason for the table of dropped sequences."""


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

    `label` is a class name of EMOTIONS_7. `open_end` is true for a video read to its end: what decodes
    then counts, and fewer frames than its packets are no mistake. `missing` says which frames its
    numbering lacks, if any. `rate` is its frames a second, None where nothing tells. `more` holds what
    else a manifest says of it, a text a column.
    """

    id: str
    subject: str
    label: str
    frames: tuple[FrameSource, ...]
    open_end: bool = False
    missing: str = ""
    rate: float | None = None
    more: Mapping[str, str] = field(default_factory=dict)

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
    r"""A file name as text that any encoder takes: bytes that are no UTF-8 become `\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def why_unnamable(path: str) -> str:
    """What to do where the system's encoding of file names lacks letters of a path; empty where it has all."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        return f"file names are in {encoding} here, which lacks letters of it: set PYTHONUTF8=1"
    return ""


def common_rate(sequences: Iterable[Sequence]) -> float | None:
    """The frames a second of most sequences, a whole number where it is within 2 % of one; None where unknown.

    A set has one rate only if at least nine of ten sequences are within a tenth of it.
    """
    rates = sorted(sequence.rate or 0.0 for sequence in sequences)
    rate = rates[len(rates) // 2] if rates else 0.0
    alike = sum(abs(other - rate) <= 0.1 * rate for other in rates)
    if not rate or alike < 0.9 * len(rates):
        return None
    return float(round(rate)) if abs(rate - round(rate)) <= 0.02 * rate else rate


def alike_subjects(subjects: Iterable[str]) -> list[tuple[str, ...]]:
    """Subjects that differ only in case, leading zeros or outer spaces, each group sorted.

    They are perhaps one person whom a table names in two ways; held out apart, that person would be in
    training and test at once.
    """
    groups: dict[str, set[str]] = {}
    for subject in subjects:
        plain = re.sub(r"(?<![0-9])0+(?=[0-9])", "", subject.strip().casefold())
        groups.setdefault(plain, set()).add(subject)
    return sorted(tuple(sorted(names)) for names in groups.values() if len(names) > 1)


def alike_warning(subjects: Iterable[str]) -> str:
    """One sentence that names the subjects that look like one person, and what to do; empty without any."""
    groups = alike_subjects(subjects)
    if not groups:
        return ""
    shown = "; ".join(" and ".join(repr(name) for name in names) for names in groups[:10])
    more = f"; and {len(groups) - 10} more" if len(groups) > 10 else ""
    return (
        f"subjects that differ only in case, leading zeros or spaces are taken for different people: "
        f"{shown}{more}; if they are one person, write one name in the manifest and preprocess again, "
        "or results are of a person who was seen in training"
    )


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
            reason = f"incomplete: {s.missing}; --gaps=keep takes it as it is"
        else:
            kept.append(s)
            continue
        dropped.append(Dropped(s.id, s.subject, s.label, reason))
    return kept, dropped
