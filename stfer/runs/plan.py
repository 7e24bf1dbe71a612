"""A cross-validation of one architecture on one set: what it is, before anything is trained."""

import datetime
import functools
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stfer import models
from stfer.data import examples, folds
from stfer.data.clips import ClipRule
from stfer.data.examples import Arrays, Examples
from stfer.data.folds import Fold
from stfer.data.shards import Shards
from stfer.evaluation.run_folder import RunFolder
from stfer.models.fields import describe_fields, parse_fields
from stfer.runs import memory
from stfer.runs.environment import hardware
from stfer.runs.source import source_digests
from stfer.storage.environment import versions
from stfer.training import augment, batches, optimizers, related  # noqa: F401 (related registers its stages, tasks and presets)
from stfer.training import config as config_lib
from stfer.training.checkpoints import FoldCheckpoints
from stfer.training.config import PRESETS, TrainConfig, identity
from stfer.training.engine import Engine
from stfer.training.parallel import make_engine
from stfer.training.stages import Stage, stages_of
from stfer.training.step import Learner, init_state, make_learner
from stfer.training.task import TASKS, make_task

SAME = ("settings", "data", "clips", "stages", "code")
"""The parts of a run's record that decide whether a folder can go on."""


@dataclass(frozen=True)
class Plan:
    """Trainings of one architecture on the folds of one set.

    Attributes:
        config: The training settings.
        protocol: A name in `stfer.data.folds.PROTOCOLS`, or "final" for one training of a whole set.
        shards: The set.
        folds: All folds, in order.
        folder: Where the results go.
        modules: Modules that registered what the settings name, for the record.
        arguments: Where the set came from, as a command's flags name it, for the record.
    """

    config: TrainConfig
    protocol: str
    shards: Shards
    folds: Sequence[Fold]
    folder: RunFolder
    modules: Sequence[str] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fold_names(self) -> list[str]:
        """The folds' names, in order."""
        return [fold.held_out for fold in self.folds]

    def fold(self, name: str) -> Fold:
        """The fold of a name."""
        return next(fold for fold in self.folds if fold.held_out == name)

    @functools.cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of each fold's training, in order."""
        return stages_of(self.config)

    @functools.cached_property
    def last_config(self) -> TrainConfig:
        """The settings of the last stage, whose model is tested."""
        return self.stages[-1].config(self.config)

    def learner(self, stage: Stage) -> Learner:
        """What a stage trains."""
        return make_learner(stage.config(self.config), len(self.shards.classes), stage.paths())

    def engine(
        self,
        stage: Stage,
        parallel: str = "none",
        resident: bool | None = None,
        folds_per_device: int = 1,
    ) -> Engine:
        """The compiled functions that all folds share in a stage.

        Args:
            stage: The stage.
            parallel: "folds", "batch" or "none"; see `stfer.training.parallel`.
            resident: Keep the set on the device; None decides by the memory there is.
            folds_per_device: Of "folds", how many train on each device.

        Raises:
            ValueError: So many folds do not fit into a device's memory.
        """
        learner = self.learner(stage)
        shape = batches.Shape.covering(self.folds, learner.config.batch_size)
        found = examples.training_examples(self.shards, stream_rules(learner))
        if folds_per_device > 1:
            memory.check_folds(_state_bytes(learner, found), folds_per_device)
        fits = _keeps_on_device(found, folds_per_device) if resident is None else resident
        return make_engine(parallel, learner, found, shape, fits, folds_per_device)

    def evaluation_clips(self, row: int) -> Arrays:
        """The evaluation clips of one sequence, [clips, ...] a stream (paper VI-B)."""
        rules = stream_rules(self.learner(self.stages[-1]))
        return examples.evaluation_examples(self.shards, rules, row)

    def parameter_count(self) -> int:
        """Trainable parameters of the model that is tested."""
        learner = self.learner(self.stages[-1])
        found = examples.training_examples(self.shards, stream_rules(learner))
        state = _state_shapes(learner, found)
        return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state.params))

    def record(self) -> dict[str, Any]:
        """What `config.json` holds; `SAME` names the parts that decide whether a folder can go on."""
        shards = self.shards
        return {
            "settings": self.config.to_dict() | {"protocol": self.protocol},
            "data": {
                "name": shards.name,
                "checksum": shards.checksum,
                "classes": list(shards.classes),
                "sequences": len(shards),
                "subjects": len(set(shards.subjects)),
                "crop": shards.crop,
            },
            "clips": {
                stage.name: {
                    name: {"offsets": list(rule.offsets), "slide": rule.slide}
                    for name, rule in stream_rules(self.learner(stage)).items()
                }
                for stage in self.stages
            },
            "stages": [
                {
                    "name": stage.name,
                    "settings": dict(stage.settings),
                    "start": stage.start
                    if isinstance(stage.start, str | None)
                    else dict(stage.start),
                    "trains": list(stage.trains),
                }
                for stage in self.stages
            ],
            "code": {"stfer": versions().get("stfer", "source tree")} | self.digests,
            "arguments": dict(self.arguments),
            "modules": list(self.modules),
            "versions": versions(),
            "hardware": hardware(),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }

    def is_whole(self, names: Sequence[str] | None = None) -> bool:
        """Whether the folder holds this run, on every fold or on those named.

        Raises:
            SettingsDifferError: It holds another run.
        """
        if not (self.folder.path / "config.json").exists():
            return False
        self.folder.create(self.record(), same_run)
        return (
            all(map(self.folder.is_finished, names or self.fold_names))
            and (self.folder.path / "result.json").exists()
        )

    def identity(self) -> dict[str, Any]:
        """What of the record makes a run the same; see `same_run`."""
        return dict(self._same)

    @functools.cached_property
    def _same(self) -> dict[str, Any]:
        """Settled once: every fold asks for it, and a record looks at the whole environment."""
        return same_run(self.record())

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """Of the source of all that the stages name; taken once, so that an edit during a run changes nothing."""
        definitions: list[Any] = []
        for stage in self.stages:
            config = stage.config(self.config)
            definitions.append(models.ARCHITECTURES[config.architecture])
            definitions.append(TASKS[config.task or models.registration(config.architecture).task])
            definitions.append(augment.AUGMENTATIONS[config.augment])
            definitions.append(optimizers.OPTIMIZERS.find(config.optimizer))
            definitions.append(optimizers.SCHEDULES.find(config.schedule))
        return source_digests(definitions)

    def checkpoints(
        self, fold: Fold, folder: Path | None = None, stage: Stage | None = None
    ) -> FoldCheckpoints:
        """A fold's checkpoints (in its folder of the run, or another), tied to all that its weights depend on."""
        place = folder or self.folder.fold(fold.held_out)
        found = self.identity() | {"held_out": fold.held_out}
        if stage is not None and stage is not self.stages[-1]:
            place, found = place / "stages" / stage.name, found | {"stage": stage.name}
        return FoldCheckpoints(place, found)


def same_run(record: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a stored or fresh record that make a run the same, settings that it lacks at their defaults."""
    parts = {part: record.get(part, {}) for part in SAME}
    return parts | {"settings": identity(parts["settings"])}


def _state_shapes(learner: Learner, found: Examples) -> Any:
    """The shapes of a fold's train state; nothing is computed."""
    return jax.eval_shape(functools.partial(init_state, learner), found.empty(1), jax.random.key(0))


def _state_bytes(learner: Learner, found: Examples) -> int:
    leaves = jax.tree.leaves(_state_shapes(learner, found))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _keeps_on_device(found: Examples, folds_per_device: int) -> bool:
    """Whether all examples are kept there; of clips drawn at random a processor reads those that it needs."""
    if found.draws is not None and jax.default_backend() == "cpu":
        return False
    return memory.fits(found.nbytes, folds_per_device)


def stream_rules(learner: Learner) -> dict[str, ClipRule]:
    """Which frames of each stream a learner's examples hold: the model's inputs, and what its task needs beside.

    Raises:
        ValueError: A rule makes clips of another length than the model takes, or it takes no pairs and is to.
    """
    config = learner.config
    entry = models.registration(config.architecture)
    rules = dict(entry.rules(learner.module.frames))
    is_random = config.clips == "random"
    if config.clips and not is_random:
        rule = ClipRule(tuple(map(int, config.clips.split(","))))
        if rule.frames != learner.module.frames:
            raise ValueError(
                f"--clips={config.clips} names {rule.frames} frames, and {config.architecture} "
                f"takes {learner.module.frames}"
            )
        rules[entry.inputs[0]] = rule
    first = rules[entry.inputs[0]]
    if config.pairs != "last" and not first.is_pair:
        raise ValueError(
            f"--pairs={config.pairs} is for architectures of two frames, such as late_fusion, and "
            f"{config.architecture} takes {learner.module.frames}"
        )
    rules |= {name: rules.get(name, first) for name in learner.task.streams}
    if not is_random and config.pairs == "last":
        return rules

    def varied(rule: ClipRule) -> ClipRule:
        distance, apex = config.pair_distance, config.apex_frames
        return replace(rule, pairs=config.pairs, random=is_random, distance=distance, apex=apex)

    return {name: varied(rule) for name, rule in rules.items()}


def needed_streams(config: TrainConfig) -> set[str]:
    """Names of the streams that a set must have for a training: inputs and further streams of all its stages."""
    names: set[str] = set()
    for stage in stages_of(config):
        own = stage.config(config)
        entry = models.registration(own.architecture)
        names |= {*entry.inputs, *make_task(own.task or entry.task, own).streams}
    return names


def prepare(
    config: TrainConfig,
    protocol: str,
    shards: Shards,
    workdir: str | Path,
    modules: Sequence[str] = (),
    arguments: Mapping[str, Any] | None = None,
) -> Plan:
    """Put a cross-validation together and check that it can run.

    Raises:
        ValueError: The architecture, task, protocol or another name is unknown, or a sequence is shorter than a clip.
    """
    config = canonical(config)
    parts = validated(folds.folds(protocol, shards.subjects), shards.subjects, config)
    folder = RunFolder(run_path(workdir, shards.name, protocol, config))
    plan = Plan(config, protocol, shards, parts, folder, modules, arguments or {})
    check_lengths(plan)
    return plan


def validated(parts: list[Fold], subjects: Sequence[str], config: TrainConfig) -> list[Fold]:
    """The folds with the validation subjects that the settings set aside; as they are where they set none aside."""
    if not config.validation:
        return parts
    who = set_aside(config.validation)
    return [folds.with_validation(fold, subjects, who, config.seed) for fold in parts]


def set_aside(validation: str) -> float | list[str]:
    """The validation setting: a share of the subjects such as "0.2", or their names."""
    if re.fullmatch(r"0?\.\d+", validation.strip()):
        return float(validation)
    return [name.strip() for name in validation.split(",")]


def canonical(config: TrainConfig) -> TrainConfig:
    """The settings with the model's fields as values of their types, however they were written.

    What a preset says of fields that the architecture does not have is left out.
    """
    known = models.registration(config.architecture).fields
    preset = (
        config_lib.preset(config.preset, config.architecture).model
        if config.preset in PRESETS
        else {}
    )
    given = {k: v for k, v in config.model.items() if k in known or preset.get(k) != v}
    fields = parse_fields(config.architecture, given)
    return config.replace(model=describe_fields(fields))


def check_lengths(plan: Plan) -> None:
    """Raise ValueError where a sequence is shorter than a clip of one of the stages."""
    for stage in plan.stages:
        learner = plan.learner(stage)
        shortest = max(rule.shortest for rule in stream_rules(learner).values())
        short = [
            f"{name} ({length})"
            for name, length in zip(plan.shards.ids, plan.shards.lengths, strict=True)
            if length < shortest
        ]
        if short:
            raise ValueError(
                f"--arch={learner.config.architecture} needs sequences of at least {shortest} frames, but --data holds "
                f"{len(short)} shorter ones: {', '.join(short[:3])}{' ...' if len(short) > 3 else ''}"
            )


def run_path(workdir: str | Path, data: str, protocol: str, config: TrainConfig) -> Path:
    """`WORKDIR/DATA/PROTOCOL/ARCHITECTURE/seed=SEED`; a set's name is data, so it cannot leave the workdir."""
    return (
        Path(workdir) / folder_name(data) / protocol / config.architecture / f"seed={config.seed}"
    )


def folder_name(data: str) -> str:
    """A set's name as that of a folder: it is data, so it cannot lead elsewhere."""
    name = urllib.parse.quote(data, safe="+ ")
    return name if name.strip(".") else name.replace(".", "%2E")
