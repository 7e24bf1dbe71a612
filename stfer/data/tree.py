"""Listing data-set folders as they come out of a zip: stray files, odd order, several nestings, links."""

import os
import re
from collections.abc import Iterable
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


def find_root(root: str | Path, nestings: Iterable[str], what: str) -> Path | None:
    """The first of `root/nesting` that is a folder, the empty nesting being `root` itself."""
    root = Path(root)
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist: --root is the folder of {what}")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file: --root is the unpacked folder of {what}")
    return next((root / n for n in nestings if (root / n).is_dir()), None)


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
