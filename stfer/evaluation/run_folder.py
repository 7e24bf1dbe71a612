"""The folder of one cross-validation run: settings, finished folds, pooled tables, the result.

`config.json` says what the run is; a folder with other settings is refused. Each finished fold is one
JSON file, `folds/held_out=NAME/fold.json`, written last and in one rename: it is there whole or not at
all, and a fold that has it is never trained again. The tables and `result.json` are pooled from those
files, and always say how many folds of how many they cover. Every prediction carries its sequence's
id; nothing is matched by order.
"""

import contextlib
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stfer.evaluation.records import (
    FoldResult,
    Prediction,
    history_columns,
    pooled_result,
    prediction_table,
)
from stfer.storage.files import read_json, write_atomically, write_json
from stfer.storage.identity import differences
from stfer.storage.locks import held
from stfer.storage.tables import csv_text

FORMAT = 3  # of config.json and fold.json
_ADVICE = "wait for it, or give another --workdir"


class SettingsDifferError(ValueError):
    """A run folder that belongs to other settings; the message names the fields."""


class RunFolder:
    """A run's folder on disk.

    Args:
        path: The folder; `create` makes it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def create(
        self,
        record: Mapping[str, Any],
        same: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda record: record,
    ) -> None:
        """Make the folder for a run, or check that it is the run's.

        Args:
            record: What `config.json` is to hold; JSON-serialisable.
            same: The parts of a record that decide whether a folder can go on.

        Raises:
            SettingsDifferError: The folder has other settings; names each field.
            OSError: It cannot be written.
        """
        file = self.path / "config.json"
        if file.exists():
            found = read_json(file)
            version = found.pop("format", None)
            lines = [
                line.removeprefix("settings.") for line in differences(same(found), same(record))
            ]
            if version != FORMAT:
                lines = [f"format is {version!r} there and {FORMAT!r} here"]
            if lines:
                raise SettingsDifferError(
                    f"{self.path} holds a run with other settings ({'; '.join(lines)}); "
                    "give the same flags to go on with it, or another --workdir"
                )
            return
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(file, {"format": FORMAT, **record})

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
            LockedError: Another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with held(self.path / ".lock", "this run", shared=shared, advice=_ADVICE):
            yield

    @contextlib.contextmanager
    def lock_fold(self, name: str) -> Iterator[None]:
        """Hold one fold against the other processes of a shared run."""
        folder = self.fold(name)
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / ".lock", f"fold {name}", advice=_ADVICE):
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
        write_json(file, {"format": FORMAT, **asdict(result)}, indent=None)
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
        with held(self.path / ".pool", "the tables", wait=True):
            finished = [self.read_fold(name) for name in folds if self.is_finished(name)]
            result = pooled_result(finished, len(folds), classes) | dict(about)
            self._write_tables(finished, classes)
            write_json(self.path / "result.json", result)
        return result

    def _write_tables(self, finished: Sequence[FoldResult], classes: Sequence[str]) -> None:
        predictions = (p for fold in finished for p in fold.predictions)
        rows = [(fold.name, row) for fold in finished for row in fold.history]
        columns = history_columns(row for _, row in rows)
        history = ((name, *(row.get(column, "") for column in columns)) for name, row in rows)
        timing = (
            (fold.name, fold.training_seconds, fold.testing_seconds, len(fold.predictions))
            for fold in finished
        )
        timing_columns = ("subject", "training_seconds", "testing_seconds", "sequences")
        tables = {
            "predictions.csv": prediction_table(predictions, classes),
            "history.csv": csv_text(("subject", *columns), history),
            "timing.csv": csv_text(timing_columns, timing),
        }
        for name, text in tables.items():
            write_atomically(self.path / name, text)
