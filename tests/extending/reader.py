"""A reader: folders SUBJECT/EMOTION of pictures, neutral to apex."""

from pathlib import Path

from stfer.data.readers import register_reader
from stfer.data.sequence import EMOTIONS_6, Dropped, FrameSource, Sequence


@register_reader("plain_folders")
def read(root):
    """List the sequences of `ROOT/SUBJECT/EMOTION/*.png`.

    Returns:
        Sequences, and what cannot be used with its reason.
    """
    sequences, dropped = [], []
    for folder in sorted(Path(root).glob("*/*")):
        name, subject = f"{folder.parent.name}/{folder.name}", folder.parent.name
        if folder.name not in EMOTIONS_6:
            dropped.append(Dropped(name, subject, "unlabelled", f"{folder.name} is no emotion"))
            continue
        frames = tuple(FrameSource(str(file)) for file in sorted(folder.glob("*.png")))
        sequences.append(Sequence(name, subject, folder.name, frames))
    return sequences, dropped
