"""The final model of paper section VII: one training on a whole set, tested on subjects that it never saw."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.folds import Fold, ascending
from stfer.data.shards import Shards
from stfer.evaluation.records import Prediction, history_columns, prediction_table, vote_metrics
from stfer.evaluation.run_folder import RunFolder
from stfer.inference import TrainedModel, describe
from stfer.inference.evaluation import predict_shards, training_record
from stfer.inference.folder import CARD, Input
from stfer.runs import folds
from stfer.runs.folds import Engines, OnEpoch
from stfer.runs.local import Launch
from stfer.runs.plan import Plan, canonical, check_lengths, stream_rules
from stfer.storage.files import read_json
from stfer.storage.tables import csv_text
from stfer.training import parallel
from stfer.training.config import TrainConfig, identity
from stfer.training.fit import Fitted

FRACTION = re.compile(r"0?\.\d+")


def split(subjects: Sequence[str], held_out: str, validation: str, seed: int) -> Fold:
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
    names, rows = np.asarray(subjects, dtype=str), np.arange(len(subjects))
    is_tested, is_watched = np.isin(names, tested), np.isin(names, watched)
    trained = rows[~is_tested & ~is_watched]
    if not len(trained):
        raise ValueError("--held_out and --validation leave no subject to train on")
    name = ",".join(tested) or "none"
    if watched:
        name += f"; validation {','.join(watched)}"
    return Fold(name, tested, trained, rows[is_tested], rows[is_watched])


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
        fold: Its split.
        out: The model folder to make; beside it the training keeps its states until it ends.
        modules: Modules that registered what the settings name.
        arguments: Where the set came from, for the record.
    """

    def __init__(
        self,
        config: TrainConfig,
        shards: Shards,
        fold: Fold,
        out: Path,
        modules: Sequence[str] = (),
        arguments: Mapping[str, Any] | None = None,
    ):
        config = canonical(config)
        self.config, self.shards, self.fold, self.out = config, shards, fold, out
        self.states = out.parent / f".{out.name}.training"
        folder = RunFolder(self.states)
        self.plan = Plan(config, "final", shards, [fold], folder, tuple(modules), arguments or {})
        check_lengths(self.plan)

    def is_made(self) -> bool:
        """Whether its model folder is there: of these settings, data, people, arguments and code."""
        if not (self.out / CARD).is_file():
            return False
        card = read_json(self.out / CARD)
        ours = _made_of(self._training(), self.plan.record())
        return ours == _made_of(card.get("training", {}), card)

    def train(
        self,
        launch: Launch,
        should_stop: Callable[[], bool] = lambda: False,
        on_epoch: OnEpoch = lambda fold, progress: None,
    ) -> Fitted:
        """Train from where it stands.

        Raises:
            Stopped: `should_stop` said so; the state is saved.
            NonFiniteLossError: See `stfer.training.fit`.
        """
        how = parallel.resolve(launch.parallel, many_folds=False)
        engines = Engines(self.plan, how, launch.resident)
        (fitted,) = folds.train(
            engines, [self.fold], should_stop, on_epoch, launch.checkpoint_seconds, on_epoch,
            lambda fold: self.states,
        )  # fmt: skip
        return fitted

    def model(self, fitted: Fitted) -> TrainedModel:
        """The trained model; its card is without metrics."""
        record = self.plan.record()
        learner = self.plan.learner(self.plan.stages[-1])
        config, rules = self.plan.last_config, stream_rules(learner)
        card = describe(
            config.architecture,
            self.shards.classes,
            {name: Input(rules[name], *_kind(self.shards, name)) for name in learner.inputs},
            self.shards.crop | {"size": self.shards.size},
            task=config.task,
            precision=config.precision,
            fields=config.model,
            modules=self.plan.modules,
            frame_rate=self.shards.frame_rate,
            training=self._training()
            | {"weights_of_epoch": fitted.best_epoch or fitted.progress.epoch},
            data=record["data"] | {"sets": _sets(self.shards)},
            code=record["code"],
            arguments=record["arguments"],
            versions=record["versions"],
            hardware=record["hardware"],
            started=record["started"],
        )
        return TrainedModel(card, learner.module, folds.weights(fitted))

    def _training(self) -> dict[str, Any]:
        """The settings and the people, as the card has them."""
        fold = self.fold
        return {
            "settings": self.config.to_dict(),
            "sequences": len(fold.train),
            "subjects": training_record(self.shards, fold.train),
            "held_out": training_record(self.shards, fold.test),
            "validation": training_record(self.shards, fold.validation),
        }

    def write(self, fitted: Fitted) -> tuple[Path, TrainedModel]:
        """Test the model on the held-out subjects and write its folder, with metrics and tables.

        Returns:
            The folder, and the model with its whole card: `metrics["held_out"]` holds both votes' figures, or None
            without held-out subjects.
        """
        model, history = self.model(fitted), fitted.progress.history
        metrics, predictions = held_out_metrics(model, fitted, self.shards, self.fold.test)
        columns = history_columns(history)
        rows = ([row.get(column, "") for column in columns] for row in history)
        files = {"history.csv": csv_text(columns, rows)}
        if predictions:
            files["predictions.csv"] = prediction_table(predictions, self.shards.classes)
        whole = TrainedModel(dict(model.card) | {"metrics": metrics}, model.module, model.variables)
        return whole.save(self.out, files), whole


def held_out_metrics(
    model: TrainedModel, fitted: Fitted, shards: Shards, rows: Sequence[int] | np.ndarray
) -> tuple[dict[str, Any], list[Prediction]]:
    """Test a trained model on sequences of people that it never saw.

    Args:
        model: The model.
        fitted: The training that it comes from.
        shards: The set with the sequences.
        rows: Their rows.

    Returns:
        The card's metrics (`held_out` is None without rows; `testing_seconds` are without compilation), and the
        predictions.
    """
    predict_shards(model, shards, rows[:1])
    began = time.monotonic()
    predictions = predict_shards(model, shards, rows)
    testing = time.monotonic() - began if predictions else 0.0
    metrics = {
        "held_out": vote_metrics(predictions, shards.classes) or None,
        "sequences": len(predictions),
        "training_seconds": round(fitted.progress.seconds, 3),
        "testing_seconds": round(testing, 3),
        "last_epoch": {k: v for k, v in fitted.progress.history[-1].items() if v == v},
    }
    return metrics, predictions


def _made_of(training: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a card, or of a run's record and what it trains on, makes a model the same."""
    people = {part: training.get(part) for part in ("subjects", "held_out", "validation")}
    parts = {part: record.get(part) for part in ("arguments", "code")}
    checksum = (record.get("data") or {}).get("checksum")
    settings = identity(training.get("settings") or {})
    return {"settings": settings, "checksum": checksum} | people | parts


def _kind(shards: Shards, stream: str) -> tuple[tuple[int, ...], str]:
    dtype, shape = shards.streams[stream]
    return tuple(shape), np.dtype(dtype).name


def _sets(shards: Shards) -> list[dict[str, str]]:
    headers = shards.header.get("sets") or [shards.header]
    return [{key: header[key] for key in ("name", "population", "checksum")} for header in headers]
