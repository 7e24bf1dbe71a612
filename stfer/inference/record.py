"""The tables of a prediction: `frames.csv`, `clips.csv`, and the same with the votes as `predictions.json`.

Rows are written as they come, so a video of any length needs no more memory than a short one.

    frames.csv  frame,seconds,track,status,x,y,width,height,label,<class columns>
    clips.csv   track,first_frame,last_frame,frames,label,<class columns>

Every frame has at least one row in frames.csv, with or without a face.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from stfer.inference.stream import FaceResult, FrameResult, Summaries
from stfer.storage.tables import csv_rows

FRAMES, CLIPS, JSON = "frames.csv", "clips.csv", "predictions.json"
FRAME_COLUMNS = ("frame", "seconds", "track", "status", "x", "y", "width", "height", "label")
_CLIP_COLUMNS = ("track", "first_frame", "last_frame", "frames", "label")
_PLACES = {"seconds": 3, "x": 1, "y": 1, "width": 1, "height": 1}  # decimal places
_PROBABILITY_PLACES = 6
Row = Mapping[str, Any]


class Tables:
    """Writes the tables into a folder, frame by frame; use it as a context.

    Args:
        folder: Is there already.
        classes: Class names.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str]):
        self._folder, self._classes = Path(folder), tuple(classes)
        self._open = contextlib.ExitStack()
        self._frames = self._table(FRAMES, FRAME_COLUMNS)
        self._clips = self._table(CLIPS, _CLIP_COLUMNS)

    def _table(self, name: str, columns: Sequence[str]) -> "_Table":
        path = self._folder / name
        stream = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        rows = tempfile.TemporaryFile("w+", encoding="utf-8", dir=self._folder)  # noqa: SIM115
        for file in (stream, rows):
            self._open.enter_context(file)
        return _Table(stream, rows, columns, self._classes)

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, *exception) -> None:
        self._open.close()

    def add(self, result: FrameResult) -> None:
        """Write one frame's rows."""
        for row in frame_rows(result, self._classes):
            self._frames.add(row)
        for found in result.faces:
            if found.probabilities is not None:
                frames = found.clip_frames
                ends = {"first_frame": frames[0], "last_frame": frames[-1], "frames": list(frames)}
                self._clips.add({"track": found.track} | ends | _said(found, self._classes))

    def write_json(self, about: Row, tracks: Sequence[Row]) -> Path:
        """Write `predictions.json` of what has been added.

        Args:
            about: Model, input and settings.
            tracks: As `summary` returns them.
        """
        path = self._folder / JSON
        head = {**about, "classes": list(self._classes), "tracks": tracks}
        with open(path, "w", encoding="utf-8") as out:
            text = json.dumps(head, ensure_ascii=False, indent=1)
            out.write(text.rstrip().removesuffix("}").rstrip())
            for name, table in (("frames", self._frames), ("clips", self._clips)):
                out.write(f',\n "{name}": [')
                table.copy_rows(out)
                out.write("\n ]")
            out.write("\n}\n")
        return path


def frame_rows(result: FrameResult, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of one frame in frames.csv, from column to value, and its `probabilities` by class name.

    A frame without a face has one row, which says why. What a row lacks is empty.
    """
    place = {"frame": result.frame.number, "seconds": result.frame.seconds}
    if not result.faces:
        yield place | {"status": result.frame.problem or result.status}
    for found in result.faces:
        box = dict(zip(("x", "y", "width", "height"), found.face or (), strict=False))
        face = {"track": found.track, "status": found.status}
        yield place | face | box | _said(found, classes)


def _said(found: FaceResult, classes: Sequence[str]) -> dict[str, Any]:
    if found.probabilities is None:
        return {}
    label = classes[int(np.argmax(found.probabilities))]
    return {"label": label, "probabilities": named(classes, found.probabilities)}


class _Table:
    """One table, as CSV and as the rows of a JSON list."""

    def __init__(
        self, stream: TextIO, rows: TextIO, columns: Sequence[str], classes: Sequence[str]
    ):
        self._columns, self._classes, self._rows = columns, classes, rows
        self._write = csv_rows(stream, (*columns, *classes))
        self._separator = "\n  "

    def add(self, row: Row) -> None:
        """Write a row; what it lacks is empty in the table and null in JSON."""
        said = row.get("probabilities")
        values = [f"{said[c]:.{_PROBABILITY_PLACES}f}" if said else "" for c in self._classes]
        self._write([*(_cell(name, row.get(name)) for name in self._columns), *values])
        plain = {name: _rounded(name, row.get(name)) for name in self._columns}
        text = json.dumps(plain | {"probabilities": said}, ensure_ascii=False)
        self._rows.write(self._separator + text)
        self._separator = ",\n  "

    def copy_rows(self, out: TextIO) -> None:
        """Append the rows' JSON to a file."""
        self._rows.seek(0)
        shutil.copyfileobj(self._rows, out)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "frames":
        return " ".join(map(str, value))
    return f"{value:.{_PLACES[name]}f}" if name in _PLACES else str(value)


def _rounded(name: str, value: Any) -> Any:
    return round(float(value), _PLACES[name]) if name in _PLACES and value is not None else value


def summary(summaries: Summaries, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The result of each track over all its clips: both votes, the last clip, in JSON's types."""
    tracks = []
    for track in summaries.tracks.values():
        entry: dict[str, Any] = {
            "track": track.track,
            "first_frame": track.first,
            "last_frame": track.last,
            "frames": track.frames,
            "clips": track.tally.clips,
            "votes": None,
            "last_clip": None,
        }
        if track.final is not None:
            shares = track.tally.shares()
            entry["votes"] = {
                vote: {"label": classes[winner], "shares": named(classes, shares[vote])}
                for vote, winner in track.tally.winners().items()
            }
            label = classes[int(np.argmax(track.final))]
            entry["last_clip"] = {"label": label, "probabilities": named(classes, track.final)}
        tracks.append(entry)
    return tracks


def named(classes: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    """Numbers by class name, rounded to six places as in the tables."""
    return {
        name: round(float(value), _PROBABILITY_PLACES)
        for name, value in zip(classes, values, strict=True)
    }
