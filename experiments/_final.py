"""The final model of paper section VII: one training on a whole set, tested on subjects that it never saw."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments import _crossval
from stfer.data.folds import Fold, ascending
from stfer.data.shards import Shards
from stfer.evaluation.records import HISTORY_COLUMNS, Prediction
from stfer.evaluation.run_folder import RunFolder
from stfer.inference import TrainedModel, describe
from stfer.inference.evaluation import predict_shards, training_record
from stfer.storage.tables import csv_text
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig
from stfer.training.early_stopping import EarlyStopping
from stfer.training.fit import Stopped, fit

FRACTION = re.compile(r"0?\.\d+")


@dataclass(frozen=True)
class Split:
    """Who is trained on, who decides when to stop, and who the accuracy is reported on."""

    held_out: tuple[str, ...]
    validation: tuple[str, ...]
    train_rows: np.ndarray
    validation_rows: np.ndarray
    held_out_rows: np.ndarray

    @property
    def fold(self) -> Fold:
        """What is given to `fit`: its held-out part only watches, or with validation decides when to stop."""
        name = ",".join(self.held_out) or "none"
        if self.validation:
            name += f"; validation {','.join(self.validation)}"
            return Fold(name, self.validation, self.train_rows, self.validation_rows)
        return Fold(name, self.held_out, self.train_rows, self.held_out_rows)


def split(subjects: Sequence[str], held_out: str, validation: str, seed: int) -> Split:
    """Split a set by subjects.

    Args:
        subjects: Of each sequence.
        held_out: Subjects with commas between, a fraction of them such as 0.1, or nothing.
        validation: The same, of the subjects that are left.
        seed: Decides which subjects a fraction takes.

    Raises:
        ValueError: A subject is not there, is named twice, or none is left to train on.
    """
    everyone = ascending(subjects)
    tested = _choose(everyone, held_out, "--held_out", seed)
    left = [name for name in everyone if name not in tested]
    watched = _choose(left, validation, "--validation", seed + 1)
    names = np.asarray(subjects, dtype=str)
    rows = np.arange(len(names))
    is_tested, is_watched = np.isin(names, tested), np.isin(names, watched)
    trained = rows[~is_tested & ~is_watched]
    if not len(trained):
        raise ValueError("--held_out and --validation leave no subject to train on")
    return Split(tested, watched, trained, rows[is_watched], rows[is_tested])


def _choose(subjects: Sequence[str], wanted: str, flag: str, seed: int) -> tuple[str, ...]:
    wanted = wanted.strip()
    if wanted.lower() in ("", "none"):
        return ()
    if FRACTION.fullmatch(wanted):
        share = float(wanted)
        count = max(1, round(share * len(subjects))) if share else 0
        chosen = np.random.default_rng((seed, len(subjects))).choice(len(subjects), count, False)
        return tuple(subjects[index] for index in sorted(chosen))
    return tuple(ascending([_find(subjects, n.strip(), flag) for n in wanted.split(",")]))


def _find(subjects: Sequence[str], name: str, flag: str) -> str:
    """A subject by its name, or by its name within its population (P042 of oulu_casia:P042)."""
    found = [s for s in subjects if s == name] or [s for s in subjects if s.endswith(f":{name}")]
    if len(found) == 1:
        return found[0]
    some = ", ".join((found or subjects)[:8]) + (" ..." if len(found or subjects) > 8 else "")
    what = "could be any of" if found else "is not in the data, whose subjects are"
    raise ValueError(f"{flag}: {name} {what} {some}")


class FinalTraining:
    """One training of everything but the held-out subjects, resumable, ending in a model folder.

    Args:
        config: The settings.
        shards: The set.
        parts: Its split.
        out: The model folder to make; beside it the training keeps its states until it ends.
        patience: With validation subjects: epochs without a better validation loss.
        modules: Modules that registered the architecture.
    """

    def __init__(
        self,
        config: TrainConfig,
        shards: Shards,
        parts: Split,
        out: Path,
        patience: int,
        modules: Sequence[str] = (),
    ):
        self.config, self.shards, self.parts, self.out = config, shards, parts, out
        self.patience, self.modules = patience, tuple(modules)
        self.states = out.parent / f".{out.name}.training"
        checked = _crossval.prepare(config, "loso", shards, self.states)
        self.plan = dataclasses.replace(
            checked, protocol="final", folds=[parts.fold], folder=RunFolder(self.states)
        )
        self.best_epoch: int | None = None

    def run(
        self,
        should_stop: Callable[[], bool],
        on_epoch: Callable[[Any], None],
        checkpoint_seconds: float,
        resident: bool | None,
        parallel: str = "none",
    ) -> tuple[TrainedModel, list[dict[str, float]], float]:
        """Train from where it stands; `parallel` "batch" splits each batch over the devices.

        Returns:
            The model (its card without metrics), the history and the training seconds.

        Raises:
            Stopped: `should_stop` said so; the state is saved.
        """
        engine = _crossval.build_engine(self.plan, resident, parallel)
        saved = FoldCheckpoints(self.states, self._identity())
        if not self.parts.validation:
            (fitted,) = fit(
                engine, [self.parts.fold], [saved], should_stop,
                lambda fold, progress: on_epoch(progress), checkpoint_seconds,
            )  # fmt: skip
            model = TrainedModel(
                self._card(), _crossval.build_model(self.plan), _crossval.weights(fitted)
            )
            return model, fitted.progress.history, fitted.progress.seconds
        stopping = EarlyStopping(engine, self.patience, self.states / "best")
        last: list[Any] = []

        def watch(fold, progress):
            stopping.on_epoch(fold, progress)
            last[:] = [progress]
            on_epoch(progress)

        def resumed(fold, progress):
            stopping.on_resume(fold, progress)
            last[:] = [progress]

        try:
            (fitted,) = fit(
                stopping, [self.parts.fold], [saved], lambda: stopping.over or should_stop(),
                watch, checkpoint_seconds, resumed, stopping.on_save,
            )  # fmt: skip
            last[:] = [fitted.progress]
        except Stopped:
            if not stopping.over:
                raise
        variables, self.best_epoch = stopping.weights(last[0].history)
        model = TrainedModel(self._card(), _crossval.build_model(self.plan), variables)
        return model, last[0].history, last[0].seconds

    def _identity(self) -> dict[str, Any]:
        record = self.plan.record()
        patience = self.patience if self.parts.validation else None
        return {
            "settings": record["settings"],
            "data": record["data"],
            "split": self.parts.fold.held_out,
            "patience": patience,
        }

    def _card(self) -> dict[str, Any]:
        record, parts = self.plan.record(), self.parts
        return describe(
            self.config.architecture,
            self.shards.classes,
            self.plan.rule,
            self.shards.crop | {"size": self.shards.size},
            precision=self.config.precision,
            modules=self.modules,
            training={
                "settings": self.config.to_dict(),
                "sequences": len(parts.train_rows),
                "subjects": training_record(self.shards, parts.train_rows),
                "held_out": training_record(self.shards, parts.held_out_rows),
                "validation": training_record(self.shards, parts.validation_rows),
                "patience": self.patience if parts.validation else None,
                "weights_of_epoch": self.best_epoch or self.config.epochs,
            },
            data=record["data"] | {"sets": _sets(self.shards)},
            versions=record["versions"],
            hardware=record["hardware"],
            started=record["started"],
        )

    def test(self, model: TrainedModel) -> tuple[list[Prediction], float]:
        """Predictions of the held-out sequences, and the seconds they took (after compilation)."""
        rows = self.parts.held_out_rows
        if not len(rows):
            return [], 0.0
        predict_shards(model, self.shards, rows[:1])
        began = time.monotonic()
        predictions = predict_shards(model, self.shards, rows)
        return predictions, time.monotonic() - began


def history_table(history: Sequence[dict[str, float]]) -> str:
    """The losses and accuracies of every epoch; `heldout` is who watched: validation, else held-out subjects."""
    return csv_text(
        HISTORY_COLUMNS, ([row[column] for column in HISTORY_COLUMNS] for row in history)
    )


def _sets(shards: Shards) -> list[dict[str, str]]:
    headers = shards.header.get("sets") or [shards.header]
    return [{key: header[key] for key in ("name", "population", "checksum")} for header in headers]
