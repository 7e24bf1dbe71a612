"""Several inputs, one after the other, into one folder: a sub-folder each, an overview page, and tables of all.

    index.html      a row an input
    overview.csv    a row an input and face: both votes and the mean probability of each class
    frames.csv      the frames of all inputs, as in each sub-folder's, with the input's name first; there once an input
                    could be predicted
    NAME/           as `stfer.inference.output` writes it

An input that cannot be read is a row that says so. The page and tables are written anew after each input, so an
interrupted run keeps what it has done; the input that was cut short says so in its row.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stfer.errors import is_for_user, sentence
from stfer.inference import record
from stfer.inference.output import Outcome, Prediction, predict_into
from stfer.inference.pages.overview import Row, overview_page
from stfer.inference.pages.watch import PAGE, headline
from stfer.storage.files import check_new, write_atomically, write_bytes_atomically
from stfer.storage.tables import csv_bytes, csv_text

OVERVIEW = "overview.csv"
FILES = (PAGE, OVERVIEW, record.FRAMES)
_COLUMNS = ("input", "track", "first_frame", "last_frame", "frames", "clips", "summed", "maximum")


@dataclass(frozen=True)
class Done:
    """One input: its name, and its outcome or why there is none."""

    name: str
    outcome: Outcome | None
    problem: str = ""

    def __str__(self) -> str:
        said = _said(self.outcome) if self.outcome else f"not predicted: {self.problem}"
        return f"{self.name}: {said}"


def written(folder: str | Path) -> list[Path]:
    """The page and the tables of all that are there."""
    return [path for name in FILES if (path := Path(folder) / name).exists()]


def predict_all(
    named: Mapping[str, Callable[[], Prediction]],
    folder: str | Path,
    about: Mapping[str, object],
    classes: Sequence[str],
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Done]:
    """Predict every input.

    Args:
        named: From an input's name, which becomes its sub-folder's, to what opens it.
        folder: Must not exist, or be empty.
        about: Settings for the records.
        classes: Class names.
        should_stop: Asked before each frame.

    Raises:
        FileExistsError: The folder is there already.
        OSError: A result cannot be written.
    """
    folder = Path(folder)
    check_new(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dones: list[Done] = []
    for name, make in named.items():
        if should_stop():
            break
        dones.append(_predict_one(name, make, folder, about, should_stop))
        _write(folder, dones, len(named), classes)
    return dones


def _predict_one(
    name: str,
    make: Callable[[], Prediction],
    folder: Path,
    about: Mapping[str, object],
    should_stop: Callable[[], bool],
) -> Done:
    """Predict one input, or say why it cannot be read; a folder that cannot be written ends the whole."""
    try:
        prediction = make()
        prediction.check()
    except (ValueError, OSError) as error:
        return _unread(name, error)
    settings = prediction.settings() | dict(about) | {"input": name}
    try:
        outcome = predict_into(prediction, folder / name, settings, should_stop, up=f"../{PAGE}")
    except ValueError as error:
        return _unread(name, error)
    return Done(name, outcome)


def _unread(name: str, error: ValueError | OSError) -> Done:
    if not is_for_user(error):
        raise error
    return Done(name, None, sentence(error))


def _write(folder: Path, dones: Sequence[Done], count: int, classes: Sequence[str]) -> None:
    """The page and the tables of what is done so far."""
    left = count - len(dones)
    text = f"{len(dones)} inputs." if not left else f"{len(dones)} of {count} inputs."
    rows = [_row(done) for done in dones]
    _append_frames(folder, dones[-1])
    files = (OVERVIEW, *([record.FRAMES] if (folder / record.FRAMES).exists() else []))
    page = overview_page(f"Expressions in {folder.name}", text, classes, rows, files)
    columns = (*_COLUMNS, *classes)
    faces = [row for done in dones for row in _faces(done)]
    table = csv_bytes(columns, ([*row, *[""] * (len(columns) - len(row))] for row in faces))
    write_bytes_atomically(folder / OVERVIEW, table)
    write_atomically(folder / PAGE, page)


def _row(done: Done) -> Row:
    outcome = done.outcome
    if outcome is None:
        return Row(done.name, said=f"Not predicted: {done.problem}")
    longest = max(outcome.tracks, key=lambda track: track["clips"], default=None)
    curve = outcome.timeline.curves.get(longest["track"]) if longest else None
    page = f"{done.name}/{PAGE}"
    faces, end = len(outcome.tracks), outcome.timeline.end
    stride = outcome.timeline.stride
    return Row(done.name, page, _said(outcome), faces, outcome.frames, end, curve, stride)


def _said(outcome: Outcome) -> str:
    cut = f"Interrupted after {outcome.frames} frames. " if outcome.interrupted else ""
    return cut + headline(outcome.tracks)


def _faces(done: Done) -> Iterator[list[object]]:
    """The rows of `overview.csv` of one input; one that is empty but for its name where there is no face."""
    tracks = done.outcome.tracks if done.outcome else []
    if not tracks:
        yield [done.name]
    for track in tracks:
        votes = track["votes"]
        labels = [votes[name]["label"] for name in ("summed", "maximum")] if votes else []
        shares = list(votes["summed"]["shares"].values()) if votes else []
        yield [done.name, *(track[name] for name in _COLUMNS[1:6]), *labels, *shares]


def _append_frames(folder: Path, done: Done) -> None:
    """Append an input's frames to those of all."""
    if done.outcome is None:
        return
    target = folder / record.FRAMES
    with open(folder / done.name / record.FRAMES, encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        columns = next(rows)
        with open(target, "a", encoding="utf-8", newline="") as out:
            if not out.tell():
                out.write(csv_text(("input", *columns), ()))
            csv.writer(out, lineterminator="\n").writerows([done.name, *row] for row in rows)
