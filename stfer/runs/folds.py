"""One group of folds of a plan: trained stage by stage, tested, kept, pooled."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stfer.data.folds import Fold
from stfer.evaluation.records import FoldResult, Prediction
from stfer.runs.environment import hardware
from stfer.runs.plan import Plan
from stfer.storage.files import read_json, write_json
from stfer.storage.identity import differences
from stfer.storage.weights import ForeignCheckpointError, load_weights, save_weights
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.engine import Engine
from stfer.training.fit import Fitted, NonFiniteLossError, Progress, fit
from stfer.training.stages import FoldWeights, Stage, start_of

PROGRESS = "progress.json"
OnEpoch = Callable[[Fold, Progress], None]


@dataclass
class Engines:
    """The engine of each stage of a plan, built when it is first needed and used for every fold.

    Attributes:
        plan: The plan.
        parallel: "folds", "batch" or "none"; see `stfer.training.parallel`.
        resident: As `Plan.engine` takes it.
        folds_per_device: Of "folds", how many train on each device.
    """

    plan: Plan
    parallel: str = "none"
    resident: bool | None = None
    folds_per_device: int = 1
    _built: dict[str, Engine] = field(default_factory=dict)

    def __getitem__(self, stage: Stage) -> Engine:
        if stage.name not in self._built:
            self._built[stage.name] = self.plan.engine(
                stage, self.parallel, self.resident, self.folds_per_device
            )
        return self._built[stage.name]

    @property
    def last(self) -> Engine:
        """The engine of the last stage, which tests."""
        return self[self.plan.stages[-1]]

    @property
    def lanes(self) -> int:
        """How many folds train side by side."""
        return self.last.lanes


def train(
    engines: Engines,
    group: list[Fold],
    should_stop: Callable[[], bool] = lambda: False,
    on_epoch: OnEpoch = lambda fold, progress: None,
    checkpoint_seconds: float = 120.0,
    on_resume: OnEpoch = lambda fold, progress: None,
    folder: Callable[[Fold], Path | None] = lambda fold: None,
) -> list[Fitted]:
    """Train folds side by side through all stages, from where their checkpoints stand.

    Args:
        engines: Of the plan's stages.
        group: At most `engines.lanes` folds.
        should_stop: See `fit`, as are the next three.
        on_epoch: Told of a progress that counts epochs over all stages.
        checkpoint_seconds: See `fit`.
        on_resume: See `on_epoch`.
        folder: Where a fold's states are kept; None for its folder of the run.

    Raises:
        Stopped, NonFiniteLossError, CheckpointError: See `fit`.
    """
    plan = engines.plan
    earlier: dict[str, dict[str, FoldWeights]] = {fold.held_out: {} for fold in group}
    before: dict[str, Progress] = {fold.held_out: Progress() for fold in group}
    fitted: list[Fitted] = []
    for stage in plan.stages:
        saved = {f.held_out: plan.checkpoints(f, folder(f), stage) for f in group}
        is_last, name = stage is plan.stages[-1], _name(plan, stage)
        todo = [f for f in group if is_last or not _stage_is_done(saved[f.held_out])]

        starts = None
        if stage.start is not None:
            starts = [start_of(stage, fold, earlier[fold.held_out]) for fold in todo]
        fitted = fit(
            engines[stage], todo, [saved[f.held_out] for f in todo], should_stop, _counting(on_epoch, before, name),
            checkpoint_seconds, _counting(on_resume, before, name), starts,
        ) if todo else []  # fmt: skip
        if is_last:
            break
        for one in fitted:
            _keep_stage(saved[one.fold.held_out], one)
        for fold in group:
            held_out, checkpoints = fold.held_out, saved[fold.held_out]
            variables, found = load_weights(checkpoints.weights)
            if lines := differences(found, checkpoints.identity):
                raise ForeignCheckpointError(
                    f"{checkpoints.weights} belongs to other settings: {'; '.join(lines)}"
                )
            earlier[held_out][stage.name] = FoldWeights(held_out, variables)
            progress = Progress(**read_json(checkpoints.folder / PROGRESS))
            before[held_out] = _joined(before[held_out], progress, name)
    return [
        Fitted(
            one.fold,
            one.state,
            _joined(before[one.fold.held_out], one.progress, _name(plan, plan.stages[-1])),
            one.best_epoch and before[one.fold.held_out].epoch + one.best_epoch,
        )
        for one in fitted
    ]


def _counting(report: OnEpoch, before: Mapping[str, Progress], stage: str | None) -> OnEpoch:
    """`report` told of progress over all stages."""
    return lambda fold, progress: report(fold, _joined(before[fold.held_out], progress, stage))


def _name(plan: Plan, stage: Stage) -> str | None:
    """The stage's name where there are several."""
    return stage.name if len(plan.stages) > 1 else None


def _joined(before: Progress, now: Progress, stage: str | None) -> Progress:
    """A stage's progress after the earlier ones': epochs go on counting, and say their stage."""
    if stage is None:
        return now
    rows = [row | {"epoch": before.epoch + row["epoch"], "stage": stage} for row in now.history]
    return Progress(
        before.epoch + now.epoch,
        now.step,
        now.sums,
        before.history + rows,
        before.seconds + now.seconds,
    )


def _stage_is_done(saved: FoldCheckpoints) -> bool:
    return (saved.folder / PROGRESS).is_file()


def _keep_stage(saved: FoldCheckpoints, fitted: Fitted) -> None:
    """Keep what later stages start from: the weights first, the progress, which says that they are there, last."""
    save_weights(saved.weights, weights(fitted), saved.identity)
    write_json(saved.folder / PROGRESS, asdict(fitted.progress))
    saved.discard_training()


def weights(fitted: Fitted) -> dict[str, Any]:
    """What is kept of a fold's state."""
    return {"params": fitted.state.params, "batch_stats": fitted.state.batch_stats}


def conclude(plan: Plan, engine: Engine, fitted: Fitted) -> FoldResult:
    """Classify a fold's held-out sequences, vote, and keep the fold."""
    result = evaluate(plan, engine, fitted)
    keep(plan, fitted.fold, result, weights(fitted))
    return result


def evaluate(plan: Plan, engine: Engine, fitted: Fitted) -> FoldResult:
    """Classify a fold's held-out sequences and vote."""
    began = time.monotonic()
    rows = [int(row) for row in fitted.fold.test]
    found = engine.classify_groups(fitted.state, (plan.evaluation_clips(row) for row in rows))
    predictions = [_predicted(plan, fitted, *pair) for pair in zip(rows, found, strict=True)]
    return FoldResult(
        fitted.fold.held_out,
        predictions,
        fitted.progress.history,
        fitted.progress.seconds,
        time.monotonic() - began,
        hardware(),
    )


def keep(plan: Plan, fold: Fold, result: FoldResult, variables: Mapping[str, Any]) -> None:
    """Keep a finished fold: its weights first, its record last, then its training states go."""
    plan.folder.check()
    saved = plan.checkpoints(fold)
    save_weights(saved.weights, variables, saved.identity)
    plan.folder.write_fold(result)
    saved.discard_training()


def _predicted(plan: Plan, fitted: Fitted, row: int, probabilities: np.ndarray) -> Prediction:
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


def pool(plan: Plan) -> dict[str, Any]:
    """Write the run's tables and result from the folds that are finished."""
    about = {
        "architecture": plan.config.architecture,
        "data": plan.shards.name,
        "protocol": plan.protocol,
        "seed": plan.config.seed,
        "parameters": plan.parameter_count(),
    }
    return plan.folder.pool(plan.fold_names, plan.shards.classes, about)


def failure(plan: Plan, error: NonFiniteLossError) -> str:
    """One sentence on a loss that was not finite, with the batch's sequences by name."""
    return f"{error}; the batch was {', '.join(plan.shards.ids[row] for row in error.rows)}"
