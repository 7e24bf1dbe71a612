"""The folder of one cross-validation run: settings, finished folds, pooled tables, the result.

`config.json` says what the run is; a folder with other settings is refused. Each finished fold is one
JSON file, `folds/held_out=NAME/fold.json`, written last and in one rename: it is there whole or not at
all, and a fold that has it is never trained again. The tables and `result.json` are pooled from those
files, and always say how many folds of how many they cover. Every prediction carries its sequence's
id; nothing is matched by order.
"""

import contextlib
import fcntl
import io
import json
import os
import re
import socket
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stfer.evaluation.records import (
    HISTORY_COLUMNS,
    FoldResult,
    Prediction,
    csv_text,
    prediction_table,
    vote_metrics,
)

FORMAT = 2  # of config.json and fold.json


class SettingsDifferError(ValueError):
    """A run folder that belongs to other settings; the message names the fields."""


class RunLockedError(OSError):
    """Another live process works on the folder; the message names it."""


class RunFolder:
    """A run's folder on disk.

    Args:
        path: The folder; `create` makes it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder for these settings, or check that it is theirs.

        Args:
            config: JSON-serialisable; `settings` and `data` decide whether a folder can go on.

        Raises:
            SettingsDifferError: The folder has other settings; names each field.
            OSError: It cannot be written.
        """
        file = self.path / "config.json"
        if file.exists():
            found = read_json(file)
            lines = [
                line
                for part in ("settings", "data")
                for line in differences(found.get(part, {}), config[part])
            ]
            if found.get("format") != FORMAT:
                lines = [f"format is {found.get('format')!r} there and {FORMAT!r} here"]
            if lines:
                raise SettingsDifferError(
                    f"{self.path} holds a run with other settings ({'; '.join(lines)}); "
                    "give the same flags to go on with it, or another --workdir"
                )
            return
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(
            file, json.dumps({"format": FORMAT, **config}, indent=2, ensure_ascii=False) + "\n"
        )

    def check(self) -> None:
        """Raise when the folder is no longer there: what a job writes then would be nobody's.

        Raises:
            FileNotFoundError: It, or its `config.json`, was removed while a job worked on it.
        """
        if not (self.path / "config.json").exists():
            raise FileNotFoundError(
                f"{self.path} was removed while this run was working on it; give the same command to begin anew"
            )

    @contextlib.contextmanager
    def lock(self, shared: bool = False) -> Iterator[None]:
        """Hold the folder against other processes; the kernel lets go when the process dies.

        Args:
            shared: Allow others that ask for a shared hold too (shards of one run).

        Raises:
            RunLockedError: Another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with _held(self.path / ".lock", shared, "this run"):
            yield

    @contextlib.contextmanager
    def lock_fold(self, name: str) -> Iterator[None]:
        """Hold one fold against the other processes of a shared run."""
        folder = self.fold(name)
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder / ".lock", False, f"fold {name}"):
            yield

    def fold(self, name: str) -> Path:
        """The folder of the fold that holds out `name`; the name is quoted, so it cannot leave the run."""
        quoted = urllib.parse.quote(name, safe=" ")
        return self.path / "folds" / f"held_out={quoted}"

    def is_finished(self, name: str) -> bool:
        """Whether the fold has ended."""
        return (self.fold(name) / "fold.json").is_file()

    def write_fold(self, result: FoldResult) -> Path:
        """Keep a finished fold: the whole of it or nothing."""
        file = self.fold(result.name) / "fold.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(
            file, json.dumps({"format": FORMAT, **asdict(result)}, ensure_ascii=False) + "\n"
        )
        return file

    def read_fold(self, name: str) -> FoldResult:
        """Read a finished fold.

        Raises:
            ValueError: The file is damaged; says what to do.
        """
        file = self.fold(name) / "fold.json"
        record = read_json(file)
        try:
            predictions = [Prediction(**row) for row in record["predictions"]]
            return FoldResult(
                record["name"],
                predictions,
                record["history"],
                record["training_seconds"],
                record["testing_seconds"],
                record["hardware"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{file} is not a finished fold's record ({error}); delete it to train the fold anew"
            ) from error

    def pool(
        self, folds: Sequence[str], classes: Sequence[str], about: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write the tables and `result.json` from the finished ones among `folds`.

        Args:
            folds: The names of all folds of the protocol, in order.
            classes: Class names in label order.
            about: Further fields of `result.json`, such as `architecture` and `data`.

        Returns:
            The result, as written; its `votes` are empty while no fold is finished.
        """
        with _held(self.path / ".pool", False, "the tables", wait=True):
            finished = [self.read_fold(name) for name in folds if self.is_finished(name)]
            result = pooled_result(finished, len(folds), classes) | dict(about)
            self._write_tables(finished, classes)
            write_atomically(
                self.path / "result.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n"
            )
        return result

    def _write_tables(self, finished: Sequence[FoldResult], classes: Sequence[str]) -> None:
        predictions = (p for fold in finished for p in fold.predictions)
        history = (
            (fold.name, *(row[column] for column in HISTORY_COLUMNS))
            for fold in finished
            for row in fold.history
        )
        timing = (
            (fold.name, fold.training_seconds, fold.testing_seconds, len(fold.predictions))
            for fold in finished
        )
        timing_columns = ("subject", "training_seconds", "testing_seconds", "sequences")
        tables = {
            "predictions.csv": prediction_table(predictions, classes),
            "history.csv": csv_text(("subject", *HISTORY_COLUMNS), history),
            "timing.csv": csv_text(timing_columns, timing),
        }
        for name, text in tables.items():
            write_atomically(self.path / name, text)


def pooled_result(
    finished: Sequence[FoldResult], total: int, classes: Sequence[str]
) -> dict[str, Any]:
    """The fields of `result.json` that the finished folds decide."""
    predictions = [p for fold in finished for p in fold.predictions]
    seconds = [fold.training_seconds for fold in finished]
    return {
        "folds_done": len(finished),
        "folds_total": total,
        "sequences": len(predictions),
        "seconds_per_subject": float(np.mean(seconds)) if seconds else None,
        "training_seconds": float(np.sum(seconds)),
        "testing_seconds": float(sum(fold.testing_seconds for fold in finished)),
        "classes": list(classes),
        "hardware": [
            dict(item) for item in dict.fromkeys(tuple(f.hardware.items()) for f in finished)
        ],
        "votes": vote_metrics(predictions, classes),
    }


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say field by field where two JSON-like mappings differ: "name is A there and B here"."""
    lines = []
    for name in sorted(found.keys() | wanted.keys()):
        ours, theirs = wanted.get(name), found.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            lines += differences(theirs, ours, f"{prefix}{name}.")
        elif _plain(ours) != _plain(theirs):
            lines.append(f"{prefix}{name} is {theirs!r} there and {ours!r} here")
    return lines


def read_json(file: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is not JSON; names the file.
    """
    try:
        return json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: it is not readable JSON ({error})") from error


def write_atomically(file: Path, text: str) -> None:
    """Write a text file in one rename: a reader sees the old content or the new, never a part.

    Raises:
        OSError: The file system refused; names the file.
    """
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):  # A full disk's error does not say which file it was.
            raise type(error)(error.errno, error.strerror, str(file)) from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@contextlib.contextmanager
def _held(file: Path, shared: bool, what: str, wait: bool = False) -> Iterator[None]:
    """An advisory lock with its owners' names in the file. A dead owner's lock is free at once."""
    with file.open("a+", encoding="utf-8") as stream:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(stream, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunLockedError(
                f"{_owners(stream)} is working on {what} in {file.parent}; wait for it, or give another --workdir"
            ) from error
        if not shared:
            stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        yield


def _owners(stream: io.TextIOBase) -> str:
    """Who is named in a lock's file, but for processes of this machine that are gone."""
    stream.seek(0)
    alive = []
    for name in stream.read().split("\n"):
        found = re.fullmatch(r"process (\d+) on (.+)", name)
        if found and not (found[2] == socket.gethostname() and _is_gone(int(found[1]))):
            alive.append(name)
    return ", ".join(dict.fromkeys(alive)) or "another process"


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
