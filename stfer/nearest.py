"""The nearest known name to one that is not known, for the end of an error's sentence."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

_LIKENESS = 0.6
_MOST_NAMES = 2000  # of a folder that are looked at
_LONGEST = 200


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that offers the known name that is most like another.

    Args:
        name: What was given.
        known: What there is.

    Returns:
        `; did you mean 'loso'?`, or nothing where no name is like it.

    Example:
        >>> did_you_mean("late-fusion", ["early_fusion", "late_fusion"])
        "; did you mean 'late_fusion'?"
        >>> did_you_mean("resnet", ["early_fusion", "late_fusion"])
        ''
    """
    found = _nearest(name, known)
    return f"; did you mean {found!r}?" if found else ""


def did_you_mean_path(path: str | Path) -> str:
    """The same for a file or folder that is not there: the nearest name in its folder, or in the first that exists."""
    path = Path(path)
    for lacking in (path, *path.parents):
        if os.path.isdir(lacking.parent):
            found = _nearest(lacking.name, _names(lacking.parent))
            return f"; did you mean {str(lacking.with_name(found))!r}?" if found else ""
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    by_small = {one.casefold(): one for one in known if one != name}
    found = difflib.get_close_matches(name.casefold()[:_LONGEST], by_small, 1, _LIKENESS)
    return by_small[found[0]] if found else ""


def _names(folder: Path) -> list[str]:
    """The first names in a folder; none where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry, _ in zip(entries, range(_MOST_NAMES), strict=False)]
    except OSError:
        return []
