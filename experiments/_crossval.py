"""A cross-validation of one architecture on one set: what it is, its folds one by one, its end.

The commands that run folds (`loso`, and the launchers) share these functions; each is one step of
data -> clips -> fold -> probabilities -> votes -> tables.
"""

import contextlib
import datetime
import os
import platform
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from stfer import models
from stfer.data import clips as clips_lib
from stfer.data import folds as protocols
from stfer.data.shards import Shards
from stfer.evaluation.records import FoldResult, Prediction
from stfer.evaluation.run_folder import RunFolder
from stfer.storage.environment import versions
from stfer.storage.weights import save_weights
from stfer.training import batches
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import TrainConfig
from stfer.training.engine import Clips, Engine
from stfer.training.fit import Fitted, NonFiniteLossError, parameter_count
from stfer.training.parallel import make_engine


@dataclass(frozen=True)
class CrossValidation:
    """One architecture, one set, one protocol, one seed.

    Attributes:
        config: The training settings.
        protocol: A name in `stfer.data.folds.PROTOCOLS`.
        shards: The set.
        rule: Which frames the architecture sees.
        folds: All folds of the protocol, in order.
        folder: Where the results go.
        modules: What `--modules` named, for the record.
    """

    config: TrainConfig
    protocol: str
    shards: Shards
    rule: clips_lib.ClipRule
    folds: Sequence[protocols.Fold]
    folder: RunFolder
    modules: Sequence[str] = ()

    @property
    def fold_names(self) -> list[str]:
        return [fold.held_out for fold in self.folds]

    @property
    def num_classes(self) -> int:
        return len(self.shards.classes)

    def record(self) -> dict[str, Any]:
        """What `config.json` holds; `settings` and `data` decide whether a folder can go on."""
        shards = self.shards
        return {
            "settings": self.config.to_dict()
            | {
                "protocol": self.protocol,
                "clip_offsets": list(self.rule.offsets),
                "slide": self.rule.slide,
            },
            "data": {
                "name": shards.name,
                "checksum": shards.checksum,
                "classes": list(shards.classes),
                "sequences": len(shards),
                "subjects": len(set(shards.subjects)),
                "crop": shards.crop,
            },
            "modules": list(self.modules),
            "versions": versions(),
            "hardware": hardware(),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


def prepare(
    config: TrainConfig,
    protocol: str,
    shards: Shards,
    workdir: str | Path,
    modules: Sequence[str] = (),
) -> CrossValidation:
    """Put a cross-validation together and check that it can run.

    Raises:
        ValueError: The architecture or protocol is unknown, or a sequence is shorter than a clip.
    """
    model = models.create_model(config.architecture, num_classes=len(shards.classes))
    rule = models.registration(config.architecture).rules(model.frames)["frames"]
    short = [
        f"{name} ({length})"
        for name, length in zip(shards.ids, shards.lengths, strict=True)
        if length < rule.shortest
    ]
    if short:
        raise ValueError(
            f"--arch={config.architecture} needs sequences of at least {rule.shortest} frames, but --data holds "
            f"{len(short)} shorter ones: {', '.join(short[:3])}{' ...' if len(short) > 3 else ''}"
        )
    folds = protocols.folds(protocol, shards.subjects)
    folder = run_path(workdir, shards.name, protocol, config)
    return CrossValidation(config, protocol, shards, rule, folds, RunFolder(folder), modules)


def run_path(workdir: str | Path, data: str, protocol: str, config: TrainConfig) -> Path:
    """`WORKDIR/DATA/PROTOCOL/ARCHITECTURE/seed=SEED`; a set's name is data, so it cannot leave the workdir."""
    name = urllib.parse.quote(data, safe="+ ")
    if not name.strip("."):
        name = name.replace(".", "%2E")
    return Path(workdir) / name / protocol / config.architecture / f"seed={config.seed}"


def build_model(plan: CrossValidation, **fields: object) -> nn.Module:
    """The plan's model, computing in the type that its precision asks for."""
    dtype = jax.numpy.bfloat16 if plan.config.precision == "bfloat16" else jax.numpy.float32
    return models.create_model(plan.config.architecture, plan.num_classes, dtype, **fields)


def training_clips(plan: CrossValidation) -> Clips:
    """The training clip of every sequence, read from the shards when asked for."""
    shards, rule = plan.shards, plan.rule
    frames = [
        clips_lib.training_clip(rule, int(length), name)
        for length, name in zip(shards.lengths, shards.ids, strict=True)
    ]

    def gather(rows: np.ndarray) -> np.ndarray:
        clips = np.empty((len(rows), *shape), np.uint8)
        for place, row in enumerate(rows):
            clips[place] = shards.frames(int(row))[frames[int(row)]]
        return clips

    shape = (rule.frames, shards.size, shards.size, 3)
    return Clips(shape, shards.labels, gather)


def build_engine(
    plan: CrossValidation, resident: bool | None = None, parallel: str = "none"
) -> Engine:
    """The compiled functions that all folds of the plan share; `parallel` is "folds", "batch" or "none"."""
    shape = batches.Shape.covering(plan.folds, plan.config.batch_size)
    clips = training_clips(plan)
    return make_engine(parallel, build_model(plan), plan.config, clips, shape, resident)


def checkpoints(
    plan: CrossValidation, fold: protocols.Fold, folder: Path | None = None
) -> FoldCheckpoints:
    """A fold's checkpoints (in its folder of the run, or another), tied to all that its weights depend on."""
    record = plan.record()
    identity = {"settings": record["settings"], "data": record["data"], "held_out": fold.held_out}
    return FoldCheckpoints(folder or plan.folder.fold(fold.held_out), identity)


def conclude(plan: CrossValidation, engine: Engine, fitted: Fitted) -> FoldResult:
    """Classify a fold's held-out sequences, vote, and keep the fold."""
    result = evaluate(plan, engine, fitted)
    keep(plan, fitted.fold, result, weights(fitted))
    return result


def weights(fitted: Fitted) -> dict[str, Any]:
    """What is kept of a fold's state."""
    return {"params": fitted.state.params, "batch_stats": fitted.state.batch_stats}


def evaluate(plan: CrossValidation, engine: Engine, fitted: Fitted) -> FoldResult:
    """Classify a fold's held-out sequences and vote."""
    began = time.monotonic()
    rows = [int(row) for row in fitted.fold.test]
    found = engine.classify_groups(fitted.state, (evaluation_clips(plan, row) for row in rows))
    predictions = [predicted(plan, fitted, *pair) for pair in zip(rows, found, strict=True)]
    return FoldResult(
        fitted.fold.held_out,
        predictions,
        fitted.progress.history,
        fitted.progress.seconds,
        time.monotonic() - began,
        hardware(),
    )


def keep(
    plan: CrossValidation, fold: protocols.Fold, result: FoldResult, variables: dict[str, Any]
) -> None:
    """Keep a finished fold: its weights first, its record last, then its training states go."""
    plan.folder.check()
    saved = checkpoints(plan, fold)
    save_weights(saved.weights, variables, saved.identity)
    plan.folder.write_fold(result)
    saved.discard_training()


def evaluation_clips(plan: CrossValidation, row: int) -> np.ndarray:
    """The evaluation clips of one sequence, uint8 [clips, time, height, width, channel] (paper VI-B)."""
    shards = plan.shards
    frames = shards.frames(row)
    return frames[clips_lib.evaluation_clips(plan.rule, len(frames), shards.ids[row])]


def predicted(
    plan: CrossValidation, fitted: Fitted, row: int, probabilities: np.ndarray
) -> Prediction:
    """Both votes over the probabilities [clips, classes] of one sequence (paper VI-B, Figure 16)."""
    shards = plan.shards
    if not np.isfinite(probabilities).all():
        name, rate = fitted.fold.held_out, plan.config.learning_rate
        raise NonFiniteLossError(
            f"fold {name}: the trained weights give no finite probabilities at learning rate {rate}",
            name,
            fitted.fold.test,
        )
    label = shards.classes[shards.labels[row]]
    return Prediction.by_votes(
        shards.ids[row], shards.subjects[row], label, shards.classes, probabilities
    )


def pool(plan: CrossValidation) -> dict[str, Any]:
    """Write the run's tables and result from the folds that are finished."""
    model = build_model(plan)
    shape = (1, plan.rule.frames, plan.shards.size, plan.shards.size, 3)
    variables = jax.eval_shape(
        model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jax.numpy.float32)
    )
    about = {
        "architecture": plan.config.architecture,
        "data": plan.shards.name,
        "protocol": plan.protocol,
        "seed": plan.config.seed,
        "parameters": parameter_count(variables["params"]),
    }
    return plan.folder.pool(plan.fold_names, plan.shards.classes, about)


def hardware() -> dict[str, Any]:
    """What computed a result."""
    devices = jax.local_devices()
    kind = devices[0].device_kind
    if devices[0].platform == "cpu":
        kind = _processor()
    return {
        "backend": devices[0].platform,
        "device": kind,
        "devices": len(devices),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
