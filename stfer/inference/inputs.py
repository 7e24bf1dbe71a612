"""What one or several `--input` mean: a folder of videos and a pattern stand for all that they hold."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from stfer.data.pictures import is_picture
from stfer.data.readers import tree

VIDEO_SUFFIXES = frozenset(
    (
        ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts",
        ".webm", ".wmv",
    )
)  # fmt: skip


def find_inputs(given: Sequence[str]) -> list[str]:
    """What each stands for, as `stfer.inference.sources.open_source` takes it, in order and once each.

    A folder with videos and no picture is its videos; with pictures it stays one input. A pattern such as `clips/*.mp4`
    is what it matches, or one list where all matches are pictures. Everything else stays as it is, a list of files with
    commas too, whose names may hold a `[`.

    Raises:
        FileNotFoundError: A pattern matches nothing.
        ValueError: A folder holds both videos and pictures.
    """
    found = [where for each in given for where in _expanded(each)]
    return list(dict.fromkeys(found))


def names_of(inputs: Sequence[str]) -> dict[str, str]:
    """Each input by a short name, of which none is there twice."""
    named: dict[str, str] = {}
    for where in inputs:
        path = Path(where.rstrip("/"))
        name = (path.name if path.is_dir() else path.stem).replace(":", "-") or "input"
        number, new = 1, name
        while new in named:
            number += 1
            new = f"{name}-{number}"
        named[new] = where
    return named


def common_name(given: Sequence[str]) -> str:
    """What several inputs are called together: the folder that was given, else `several`."""
    if len(given) == 1:
        path = Path(os.path.expanduser(given[0]))
        folder = path if path.is_dir() else path.parent
        if (name := folder.resolve().name) and not glob.has_magic(name):
            return name
    return "several"


def _expanded(where: str) -> list[str]:
    path = os.path.expanduser(where)
    if os.path.isdir(path):
        return _of_folder(path) or [where]
    if not glob.has_magic(path) or os.path.lexists(path) or "://" in path:
        return [where]
    matches = sorted(glob.glob(path, recursive=True), key=tree.natural)
    if not matches and "," in path:
        return [where]
    if not matches:
        raise FileNotFoundError(f"no file matches {where}")
    if all(is_picture(match) for match in matches) and len(matches) > 1:
        return [",".join(matches)]
    return matches


def _of_folder(folder: str) -> list[str]:
    """The videos of a folder that is not one of pictures."""
    files = [entry.path for entry in tree.entries(folder) if not os.path.isdir(entry.path)]
    videos = [path for path in files if os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES]
    if videos and any(is_picture(path) for path in files):
        raise ValueError(
            f"{folder} holds videos and pictures: name one kind, such as {folder.rstrip('/')}/*"
            f"{os.path.splitext(videos[0])[1]}"
        )
    return videos
