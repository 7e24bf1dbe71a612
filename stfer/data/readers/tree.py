"""Listing data-set folders as they come out of a zip: stray files, odd order, several nestings, links."""

import os
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from stfer.data.sequence import readable

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp"}
)
_STRAY = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def is_stray(name: str) -> bool:
    """Whether a name is litter of a file manager (`.DS_Store`, `._x`, `Thumbs.db`), not data."""
    return name.startswith(".") or name.lower() in _STRAY


def entries(folder: str | Path) -> list[os.DirEntry]:
    """A folder's entries without stray ones, sorted by name with numbers in numeric order.

    Raises:
        OSError: the folder cannot be listed.
    """
    with os.scandir(folder) as listing:
        found = [entry for entry in listing if not is_stray(entry.name)]
    return sorted(found, key=lambda entry: natural(entry.name))


def folders(folder: str | Path) -> list[os.DirEntry]:
    """Sub-folders of a folder, sorted. Links are followed (a loop is only as deep as the layout)."""
    return [entry for entry in entries(folder) if _is_dir(entry)]


def images(folder: str | Path) -> list[str]:
    """Paths of the image files directly in a folder, in numeric order of their names."""
    return [
        entry.path
        for entry in entries(folder)
        if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES and not _is_dir(entry)
    ]


def natural(name: str) -> tuple:
    """A sort key in which `f2` precedes `f10`; the name itself settles ties such as `01` and `1`."""
    parts = re.split(r"([0-9]+)", name)
    return ([int(p) if i % 2 else p.lower() for i, p in enumerate(parts)], name)


def missing_numbers(paths: Iterable[str]) -> str:
    """What a folder's frame numbers lack or repeat, in words; empty when they step evenly.

    Numbers are the last digits of the names. Names without them tell nothing, and an even step
    (every fifth frame of a video, say) is no gap.
    """
    found = [re.search(r"([0-9]+)[^0-9]*$", Path(path).stem) for path in paths]
    if not all(found):
        return ""
    numbers = [int(match[1]) for match in found]
    steps = [b - a for a, b in pairwise(numbers)]
    if any(step <= 0 for step in steps):
        return f"frame {numbers[next(i for i, step in enumerate(steps) if step <= 0) + 1]} is there twice"
    step = min(steps, default=1)
    gaps = [(a, b) for a, b in pairwise(numbers) if b - a != step]
    if not gaps:
        return ""
    first, last = gaps[0][0] + step, gaps[0][1] - step
    between = f"frame {first}" if first >= last else f"frames {first} to {last}"
    more = f", and {len(gaps) - 1} more gaps" if len(gaps) > 1 else ""
    return f"{between} missing{more}"


def child(folder: str | Path, name: str) -> Path | None:
    """The sub-folder of a name in any case, or None."""
    exact = Path(folder) / name
    if exact.is_dir():
        return exact
    try:
        found = (e for e in folders(folder) if e.name.lower() == name.lower())
        return next((Path(entry.path) for entry in found), None)
    except OSError:
        return None


def descend(folder: str | Path, nesting: str) -> Path | None:
    """The folder at a nesting such as `A/B`, in any case, or None."""
    found: Path | None = Path(folder)
    for name in nesting.split("/"):
        found = child(found, name) if found is not None else None
    return found


def find_root(root: str | Path, nestings: Iterable[str], what: str) -> Path | None:
    """The first of `root/nesting` that is a folder, in any case; None without one."""
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist: --root is the folder of {what}")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file: --root is the unpacked folder of {what}")
    return next((found for n in nestings if (found := descend(root, n)) is not None), None)


def contents(root: str | Path, limit: int = 8) -> str:
    """What a folder holds, for an error: a few names and how many more."""
    try:
        names = [readable(e.name) + ("/" if _is_dir(e) else "") for e in entries(root)]
    except OSError as error:
        return f"nothing that can be listed ({error.strerror})"
    if not names:
        return "nothing"
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _is_dir(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself.
        return False
