"""Oulu-CASIA NIR&VIS (Zhao et al. 2011): 80 subjects, six expressions, two cameras, three lights.

Layout: `OriginalImg/{VL|NI}/{Strong|Weak|Dark}/P001/Anger/000.jpeg` ..., perhaps inside `B_OriginalImg`;
or the same below `{VL|NI}_Acropped` in the pre-cropped tree (`PreProcess_Img` and similar names). The
paper uses VL, the visible-light camera. A subject is one person in all lights and cameras.
"""

import os
from collections.abc import Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

from stfer.data.labels import emotion, load_synonyms
from stfer.data.readers import tree
from stfer.data.readers.registry import register_reader
from stfer.data.sequence import EMOTIONS_6, Dropped, FrameSource, Sequence, readable
from stfer.nearest import did_you_mean

POPULATION = "oulu_casia"
FRAME_RATE = 25.0  # Zhao et al. 2011.
LIGHTS = ("strong", "weak", "dark")
MODALITIES = ("vl", "ni")
SUBJECTS = 80  # in each camera and light, with one sequence a class
PAPERS_STRONG = 445  # what the paper was left with of VL Strong
_ORIGINAL = ("B_OriginalImg/OriginalImg", "B_OriginalImg", "OriginalImg")
_CROPPED = ("PreProcess_Img", "PreProcessImg", "PreProcess")


@dataclass(frozen=True)
class Layout:
    """The folder that holds the lights; `cropped` when its frames are cut to the face already."""

    folder: Path
    cropped: bool


def complete(lights: Iterable[str] = ("strong",), modality: str = "vl") -> dict[str, int]:
    """The complete set's counts in some lights of one camera."""
    lights = tuple(dict.fromkeys(lights))
    each = SUBJECTS * len(lights)
    counts = {"subjects": SUBJECTS, "sequences": each * len(EMOTIONS_6)}
    if lights == ("strong",) and modality == "vl":
        counts["the paper's"] = PAPERS_STRONG
    return counts | dict.fromkeys(EMOTIONS_6, each)


def note(root: str | Path, modality: str = "vl", **options: object) -> str:
    """Whether the frames found are cut to the face already."""
    layout = find_layout(root, modality)
    sentence = f"{layout.folder} is cut to the faces already; --detector=none takes it as it is"
    return sentence if layout.cropped else ""


@register_reader("oulu_casia", population=POPULATION, complete=complete, note=note)
def read(
    root: str | Path, lights: Iterable[str] = ("strong",), modality: str = "vl"
) -> tuple[list[Sequence], list[Dropped]]:
    """Read Oulu-CASIA's folders. No pixel is read.

    Args:
        root: the unpacked set.
        lights: any of LIGHTS.
        modality: `vl` or `ni`.

    Returns:
        Labelled sequences, whatever their length, and what cannot be used.

    Raises:
        FileNotFoundError, NotADirectoryError: `root` has none of the layouts, or lacks a light.
        ValueError: a light or modality is unknown.
    """
    lights = tuple(dict.fromkeys(lights))
    for light in lights:
        if light not in LIGHTS:
            raise ValueError(
                f"light {light!r} is unknown: use {', '.join(LIGHTS)}{did_you_mean(light, LIGHTS)}"
            )
    if not lights:
        raise ValueError(f"no light is named: use {', '.join(LIGHTS)}")
    layout = find_layout(root, modality)
    sequences: list[Sequence] = []
    dropped: list[Dropped] = []
    synonyms = load_synonyms()
    for light in lights:
        folder = tree.child(layout.folder, light)
        if folder is None:
            raise FileNotFoundError(
                f"{layout.folder} has no folder {light.capitalize()}; it holds "
                f"{tree.contents(layout.folder)}"
            )
        condition = f"{modality.upper()}_{light.capitalize()}"
        for subject in tree.folders(folder):
            _read_subject(subject, condition, synonyms, sequences, dropped)
    if not sequences and not dropped:
        raise FileNotFoundError(
            f"{layout.folder} has no subject folders such as Strong/P001/Anger with frames"
        )
    return sequences, dropped


def find_layout(root: str | Path, modality: str = "vl") -> Layout:
    """Find the folder with the lights: original frames first, else the pre-cropped ones."""
    if modality not in MODALITIES:
        raise ValueError(f"modality {modality!r} is unknown: use {' or '.join(MODALITIES)}")
    root = Path(os.path.expanduser(root))
    tree.find_root(root, (), "Oulu-CASIA")
    original, cropped = modality.upper(), f"{modality.upper()}_Acropped"
    tried: list[str] = []
    for names, camera, is_cropped in ((_ORIGINAL, original, False), (_CROPPED, cropped, True)):
        # --root may be any folder of the path down to the lights.
        for nesting in (*(f"{name}/{camera}" for name in names), camera):
            tried.append(nesting)
            folder = tree.descend(root, nesting)
            if folder is not None and _has_light(folder):
                return Layout(folder, is_cropped)
    if root.name.lower() in (original.lower(), cropped.lower()) and _has_light(root):
        return Layout(root, root.name.lower() == cropped.lower())
    raise FileNotFoundError(
        f"{root} is no unpacked Oulu-CASIA with {original} frames: looked for {', '.join(tried)}, each "
        f"with Strong, Weak or Dark; it holds {tree.contents(root)}"
    )


def _has_light(folder: Path) -> bool:
    return any(tree.child(folder, light) is not None for light in LIGHTS)


def _read_subject(
    subject, condition: str, synonyms: dict[str, str], sequences: list, dropped: list
) -> None:
    name = readable(subject.name).upper()  # one person in all lights, also where a copy says p001
    try:
        expressions: Items = tree.folders(subject.path)
    except OSError as error:
        reason = f"unreadable folder: {error.strerror}"
        dropped.append(Dropped(f"{name}_{condition}", name, "", reason))
        return
    for expression in expressions:
        id_ = f"{name}_{readable(expression.name)}_{condition}"
        try:
            label = emotion(expression.name, synonyms)
        except ValueError:
            reason = f"wrong label: folder {readable(expression.name)} is no expression"
            dropped.append(Dropped(id_, name, "", reason))
            continue
        try:
            frames, unread = tree.images(expression.path)
        except OSError as error:
            reason = f"unreadable folder: {error.strerror}"
            dropped.append(Dropped(id_, name, label, reason))
            continue
        if unread or not frames:
            dropped.append(Dropped(id_, name, label, unread or "no image files"))
            continue
        sources = tuple(FrameSource(path) for path in frames)
        missing = tree.missing_numbers(frames)
        sequences.append(Sequence(id_, name, label, sources, missing=missing, rate=FRAME_RATE))
