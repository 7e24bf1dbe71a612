"""The tables of a prediction: `frames.csv`, `clips.csv`, and the same with the votes as `predictions.json`.

Rows are written as they come, so a video of any length needs no more memory than a short one.

    frames.csv  frame,seconds,track,status,x,y,width,height,label,<class columns>
    clips.csv   track,first_frame,last_frame,frames,label,<class columns>

Every frame has at least one row in frames.csv, with or without a face.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from stfer.inference.stream import FaceResult, FrameResult, Summaries

FRAMES, CLIPS, JSON = "frames.csv", "clips.csv", "predictions.json"
_FRAME_COLUMNS = ("frame", "seconds", "track", "status", "x", "y", "width", "height", "label")
_CLIP_COLUMNS = ("track", "first_frame", "last_frame", "frames", "label")
_WHOLE = ("frame", "track", "first_frame", "last_frame")


class Tables:
    """Writes the two tables into a folder, frame by frame.

    Args:
        folder: Is there already.
        classes: Class names.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str]):
        self._folder, self._classes = Path(folder), tuple(classes)
        self._files: list[TextIO] = []
        self._frames = self._open(FRAMES, _FRAME_COLUMNS)
        self._clips = self._open(CLIPS, _CLIP_COLUMNS)

    def _open(self, name: str, columns: Sequence[str]):
        stream = open(self._folder / name, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._files.append(stream)
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*columns, *self._classes))
        return writer

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, *exception) -> None:
        for stream in self._files:
            stream.close()

    def add(self, result: FrameResult) -> None:
        """Write one frame's rows."""
        number, seconds = result.frame.number, f"{result.frame.seconds:.3f}"
        nothing = [""] * len(self._classes)
        if not result.faces:
            row = ["", result.frame.problem or result.status, "", "", "", "", ""]
            self._frames.writerow((number, seconds, *row, *nothing))
        for found in result.faces:
            box = ["", "", "", ""]
            if found.face is not None:
                box = [f"{value:.1f}" for value in found.face[:4]]
            values = nothing
            label = ""
            if found.probabilities is not None:
                values = [f"{value:.6f}" for value in found.probabilities]
                label = self._classes[int(np.argmax(found.probabilities))]
                self._write_clip(found, label, values)
            row = [found.track, found.status, *box, label]
            self._frames.writerow((number, seconds, *row, *values))

    def _write_clip(self, found: FaceResult, label: str, values: Sequence[str]) -> None:
        frames = found.clip_frames
        listed = " ".join(map(str, frames))
        self._clips.writerow((found.track, frames[0], frames[-1], listed, label, *values))


def summary(summaries: Summaries, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The result of each track over all its clips: both votes, the last clip, in JSON's types."""
    tracks = []
    for track in summaries.tracks.values():
        winners, shares = track.winners(), track.shares()
        entry: dict[str, Any] = {
            "track": track.track,
            "first_frame": track.first,
            "last_frame": track.last,
            "frames": track.frames,
            "clips": track.clips,
            "votes": None,
            "last_clip": None,
        }
        if winners is not None:
            entry["votes"] = {
                vote: {"label": classes[winner], "shares": named(classes, shares[vote])}
                for vote, winner in winners.items()
            }
            label = classes[int(np.argmax(track.final))]
            entry["last_clip"] = {"label": label, "probabilities": named(classes, track.final)}
        tracks.append(entry)
    return tracks


def named(classes: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Numbers by class name, rounded to six places as in the tables."""
    return {name: round(float(value), 6) for name, value in zip(classes, values, strict=True)}


def write_json(
    folder: str | Path,
    classes: Sequence[str],
    about: Mapping[str, Any],
    tracks: Sequence[Mapping[str, Any]],
) -> Path:
    """Write `predictions.json` from the tables, row by row.

    Args:
        folder: Where `Tables` wrote.
        classes: Class names.
        about: Model, input and settings.
        tracks: As `summary` returns them.
    """
    folder = Path(folder)
    path = folder / JSON
    with open(path, "w", encoding="utf-8") as out:
        head = json.dumps(
            {**about, "classes": list(classes), "tracks": tracks}, ensure_ascii=False, indent=1
        )
        out.write(head.rstrip().removesuffix("}").rstrip())
        for name, file in (("frames", FRAMES), ("clips", CLIPS)):
            out.write(f',\n "{name}": [')
            separator = "\n  "
            for row in _rows(folder / file, classes):
                out.write(separator + json.dumps(row, ensure_ascii=False))
                separator = ",\n  "
            out.write("\n ]")
        out.write("\n}\n")
    return path


def _rows(file: Path, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    with open(file, encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        columns = next(reader)[: -len(classes)]
        for cells in reader:
            row: dict[str, Any] = {}
            for column, cell in zip(columns, cells, strict=False):
                row[column] = _value(column, cell)
            values = cells[len(columns) :]
            row["probabilities"] = (
                {name: float(v) for name, v in zip(classes, values, strict=True)}
                if values[0]
                else None
            )
            yield row


def _value(column: str, cell: str) -> Any:
    if column == "frames":
        return [int(number) for number in cell.split()]
    if column in ("status", "label"):
        return cell or None
    if not cell:
        return None
    return int(cell) if column in _WHOLE else float(cell)
