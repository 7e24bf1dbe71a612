"""The Extended Cohn-Kanade set, CK+ (Lucey et al. 2010): its folders and emotion labels.

Layout: `cohn-kanade-images/S005/001/S005_001_00000001.png` ... and
`Emotion/S005/001/S005_001_00000011_emotion.txt`, which is named after the last (peak) frame and holds
one float. Both may lie one folder deeper, as their zips unpack. Most sequences have no label file.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from stfer.data.readers import tree
from stfer.data.readers.registry import register_reader
from stfer.data.sequence import Dropped, FrameSource, Sequence, readable
from stfer.data.shards.streams import check_frame_rate
from stfer.storage.files import read_json

POPULATION = "ck_plus"
FRAME_RATE = 30.0  # Lucey et al. 2010 say 30 frames a second, of NTSC video.
EMOTION_CODES = {
    1: "anger",
    2: "contempt",
    3: "disgust",
    4: "fear",
    5: "happiness",
    6: "sadness",
    7: "surprise",
}
# The complete set (Lucey et al. 2010; the paper, section V).
COMPLETE = {
    "subjects": 123,
    "sequences": 593,
    "labelled": 327,
    "labelled subjects": 118,
    "without contempt": 309,
    "the paper's": 198,
    "anger": 45,
    "contempt": 18,
    "disgust": 59,
    "fear": 25,
    "happiness": 69,
    "sadness": 28,
    "surprise": 83,
}
IMAGE_NESTINGS = ("extended-cohn-kanade-images/cohn-kanade-images", "cohn-kanade-images")
LABEL_NESTINGS = ("Emotion_labels/Emotion", "Emotion")
_SUBJECT = re.compile(r"S[0-9]+", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,8}(?:\.[0-9]{0,12})?(?:[eE][+-]?[0-9]{1,3})?")
_LABEL_BYTES = 4096


@dataclass(frozen=True)
class Layout:
    """Where the images and the labels of one unpacked CK+ are."""

    images: Path
    labels: Path
    rate: float | None = FRAME_RATE


@register_reader("ck_plus", population=POPULATION, complete=COMPLETE)
def read(root: str | Path) -> tuple[list[Sequence], list[Dropped]]:
    """Read CK+'s folders. No pixel is read.

    Args:
        root: the folder that both zips were unpacked in.

    Returns:
        Labelled sequences of all seven emotions, whatever their length, and what cannot be used.

    Raises:
        FileNotFoundError, NotADirectoryError: `root` has neither of CK+'s layouts.
        ValueError: it is the 48x48 "CK+48" set, which has no sequences.
    """
    layout = find_layout(root)
    sequences: list[Sequence] = []
    dropped: list[Dropped] = []
    for subject in tree.folders(layout.images):
        if not _SUBJECT.fullmatch(subject.name):
            continue
        name = readable(subject.name)
        try:
            takes = tree.folders(subject.path)
        except OSError as error:
            dropped.append(Dropped(name, name, "", f"unreadable folder: {error.strerror}"))
            continue
        for take in takes:
            result = _read_take(layout, subject.name, take)
            if isinstance(result, Sequence):
                sequences.append(result)
            else:
                dropped.append(result)
    if not sequences and not dropped:
        raise FileNotFoundError(
            f"{layout.images} has no subject folders such as S005/001; it holds "
            f"{tree.contents(layout.images)}"
        )
    return sequences, dropped


def find_layout(root: str | Path) -> Layout:
    """Find the image and label folders at any of the nestings that the zips unpack to."""
    root = Path(os.path.expanduser(root))
    images = tree.find_root(root, IMAGE_NESTINGS, "CK+")
    places = [root]
    # --root may also be the image folder itself, with the labels beside it or beside its parent.
    if root.name.lower() in ("cohn-kanade-images", "extended-cohn-kanade-images"):
        places += [root.absolute().parent, root.absolute().parent.parent]
        images = images or root
    if images is None:
        _refuse_ck48(root)
    found = (tree.find_root(place, LABEL_NESTINGS, "CK+") for place in places)
    labels = next((folder for folder in found if folder is not None), None)
    if images is None or labels is None:
        wanted = [] if images else ["images in " + " or ".join(f"{n}/" for n in IMAGE_NESTINGS)]
        wanted += [] if labels else ["labels in " + " or ".join(f"{n}/" for n in LABEL_NESTINGS)]
        raise FileNotFoundError(
            f"{root} is no unpacked CK+: looked for {' and '.join(wanted)}; it holds {tree.contents(root)}"
        )
    return Layout(images, labels, _rate(root))


def _rate(root: Path) -> float | None:
    """CK+'s frame rate, or what a set that was made in its layout (`synthesize`) says of itself."""
    record = root / "synthetic.json"
    if not record.is_file():
        return FRAME_RATE
    try:
        return check_frame_rate(read_json(record).get("frames_per_second"))
    except (ValueError, AttributeError):
        return None


def _refuse_ck48(root: Path) -> None:
    names = {entry.name.lower() for entry in tree.folders(root)}
    emotions = names & {*EMOTION_CODES.values(), "happy", "sadness", "contempt"}
    if root.name.lower().startswith("ck+48") or "ck+48" in names or len(emotions) >= 4:
        raise ValueError(
            f"{root} is the 48x48 'CK+48' set: three peak frames a sequence without the frames before "
            "them, so there are no dynamics to learn; ask for the original CK+ image sequences"
        )


def _read_take(layout: Layout, subject: str, take: os.DirEntry) -> Sequence | Dropped:
    id_, name = readable(f"{subject}_{take.name}"), readable(subject)

    def drop(reason: str, label: str = "") -> Dropped:
        return Dropped(id_, name, label, reason)

    try:
        frames, unread = tree.images(take.path)
    except OSError as error:
        return drop(f"unreadable folder: {error.strerror}")
    try:
        label = read_label(layout.labels / subject / take.name)
    except (ValueError, OSError) as error:
        return drop(_sentence(error))
    if label is None:
        return drop("unlabelled")
    if unread or not frames:
        return drop(unread or "no image files", label[0])
    sources = tuple(FrameSource(path) for path in frames)
    missing = _missing(frames, label[1])
    return Sequence(id_, name, label[0], sources, missing=missing, rate=layout.rate)


def _missing(frames: list[str], label_file: str) -> str:
    """What is missing among a sequence's frames; its label file is named after the last one."""
    last, peak = (
        re.search(r"_([0-9]{1,9})(?:_emotion)?$", Path(f).stem) for f in (frames[-1], label_file)
    )
    if last and peak and int(last[1]) < int(peak[1]):
        return f"the label is of frame {int(peak[1])}, the last image is {int(last[1])}"
    return tree.missing_numbers(frames)


def read_label(folder: Path) -> tuple[str, str] | None:
    """The emotion and label file's name of one label folder; None without a folder or a file in it.

    Raises:
        ValueError: several label files, or one that does not hold one code from 1 to 7.
        OSError: it cannot be read.
    """
    try:
        files = [e for e in tree.entries(folder) if e.name.lower().endswith("_emotion.txt")]
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not files:
        return None
    if len(files) > 1:
        raise ValueError(f"wrong label: {len(files)} label files in one folder")
    with open(files[0].path, "rb") as file:
        data = file.read(_LABEL_BYTES)
    try:
        return parse_label(data), files[0].name
    except ValueError as error:
        raise ValueError(f"wrong label: {readable(files[0].name)} {error}") from None


def parse_label(data: bytes) -> str:
    r"""The emotion of a label file's bytes, such as `b"   3.0000000e+00\n"`: disgust.

    Raises:
        ValueError: the bytes do not hold exactly one whole number from 1 to 7.
    """
    try:
        words = data.decode("utf-8-sig").split()
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    if not words:
        raise ValueError("is empty")
    if len(words) > 1:
        raise ValueError(f"holds {len(words)} values instead of one")
    if not _NUMBER.fullmatch(words[0]):
        raise ValueError(f"holds {words[0][:40]!r}, which is no number")
    code = float(words[0])
    if code == 0:
        raise ValueError("holds code 0, neutral, which is no expression to learn")
    if code not in EMOTION_CODES:
        raise ValueError(f"holds code {words[0][:40]}, and codes go from 1 to 7")
    return EMOTION_CODES[int(code)]


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"unreadable label: {error.strerror}"
    return str(error)
