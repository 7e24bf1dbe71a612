"""Listing data-set folders as they come out of a zip: stray files, odd order, several nestings, links."""

import codecs
import os
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from stfer.data.pictures import EXTRA, PLUGINS, is_picture, is_unread
from stfer.data.sequence import readable
from stfer.nearest import did_you_mean_path

# Digits of a time since 1970 in seconds, milliseconds, microseconds and nanoseconds, up to the year 2286.
_STAMP_DIGITS = {10: 1.0, 13: 1e3, 16: 1e6, 19: 1e9}
_EARLIEST = 946_684_800  # the year 2000
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


def images(folder: str | Path) -> tuple[list[str], str]:
    """The pictures directly in a folder.

    Returns:
        Paths of those that are read, in numeric order of their names; and a reason not to take them for
        whole, where the folder holds pictures that are not read. Such a picture beside a readable one of
        the same name, as cameras write raw files, is no loss.

    Raises:
        OSError: the folder cannot be listed.
    """
    files = [entry for entry in entries(folder) if not _is_dir(entry)]
    found = [entry.path for entry in files if is_picture(entry.name)]
    stems = {os.path.splitext(path)[0] for path in found}
    unread = [
        entry.path
        for entry in files
        if is_unread(entry.name) and os.path.splitext(entry.path)[0] not in stems
    ]
    return found, _unread(unread, len(found))


def _unread(paths: list[str], read: int) -> str:
    if not paths:
        return ""
    suffix, _ = Counter(os.path.splitext(path)[1].lower() for path in paths).most_common(1)[0]
    help_ = f"which need {EXTRA}" if suffix in PLUGINS else "convert them to .png or .jpg"
    example = readable(os.path.basename(paths[0]))
    return (
        f"pictures that are not read: {len(paths)} of {len(paths) + read} are of a kind such as "
        f"{example}, {help_}"
    )


def decode_text(data: bytes) -> str:
    """The text of a table or list as people save it: UTF-8, UTF-16, or UTF-32 with its byte order mark.

    Raises:
        UnicodeDecodeError: it is none of these.
    """
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return data.decode("utf-32")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if len(data) > 1 and b"\0" in data[:2]:  # UTF-16 without its mark; no text begins with a zero.
        return data.decode("utf-16-le" if data[1] == 0 else "utf-16-be")
    return data.decode("utf-8-sig")


def stamps(paths: Iterable[str]) -> list[float]:
    """Seconds since the first frame of pictures that are named by their time; empty for other names.

    The last digits of every name must be a time since 1970 in seconds, milliseconds, microseconds or
    nanoseconds, and the times ascend.
    """
    digits = [_last_digits(path) for path in paths]
    if len(digits) < 2 or not all(digits):
        return []
    units = {_STAMP_DIGITS.get(len(number)) for number in digits}
    unit = units.pop()
    if units or unit is None:
        return []
    numbers = [int(number) for number in digits]
    if numbers[0] < _EARLIEST * unit or any(b < a for a, b in pairwise(numbers)):
        return []
    seconds = [(number - numbers[0]) / unit for number in numbers]
    # Frame numbers step by one; a day of seconds between frames is no recording.
    return seconds if 0 < seconds[-1] < 86_400 * len(seconds) and unit > 1 else []


def _last_digits(path: str) -> str:
    found = re.search(r"([0-9]+)[^0-9]*$", Path(path).stem)
    return found[1] if found else ""


def natural(name: str) -> tuple:
    """A sort key in which `f2` precedes `f10`; the name itself settles ties such as `01` and `1`."""
    parts = re.split(r"([0-9]+)", name)
    return ([int(p) if i % 2 else p.lower() for i, p in enumerate(parts)], name)


def missing_numbers(paths: Iterable[str]) -> str:
    """What a folder's frame numbers lack or repeat, in words; empty when they step evenly.

    Numbers are the last digits of the names. Names without them tell nothing, and an even step
    (every fifth frame of a video, say) is no gap. Names that are times jitter; among them a gap is a
    step of more than three usual ones.
    """
    paths = list(paths)
    if seconds := stamps(paths):
        return _missing_times(seconds)
    digits = [_last_digits(path) for path in paths]
    if not all(digits):
        return ""
    numbers = [int(number) for number in digits]
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


def _missing_times(seconds: list[float]) -> str:
    steps = [b - a for a, b in pairwise(seconds)]
    usual = sorted(steps)[len(steps) // 2]
    gaps = [start for start, step in zip(seconds, steps, strict=False) if step > 3 * usual]
    if not gaps:
        return ""
    more = f", and {len(gaps) - 1} more gaps" if len(gaps) > 1 else ""
    return f"no frame for {max(steps):g} s after second {gaps[0]:g}{more}"


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
        raise FileNotFoundError(
            f"{root} does not exist: --root is the folder of {what}{did_you_mean_path(root)}"
        )
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
