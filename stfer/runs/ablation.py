"""What each change from one preset to another is worth: one change at a time and all together, same folds, same seeds.

A change is one field of the settings that differs, or one field of the model's or the augmentation's; fields that mean
nothing without another go with it (`TOGETHER`). Every step is a run of its own, as `experiments.loso` makes it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stfer.data.shards import Shards
from stfer.evaluation.run_folder import SettingsDifferError
from stfer.models.fields import default_fields
from stfer.runs.plan import Plan, canonical, prepare
from stfer.storage.files import read_json, write_json
from stfer.storage.identity import differences
from stfer.training.config import FOR_THE_RECORD, NESTED, TrainConfig, identity

RECORD = "ablation.json"
FORMAT = 1
BASE, ALL = "base", "all together"
TOGETHER = {
    "weight_decay": ("optimizer",),
    "warmup_epochs": ("schedule",),
    "augmentation": ("augment",),
    "patience": ("validation",),
    "recompute_statistics": ("patience",),
    "pair_distance": ("pairs", "clips"),
    "apex_frames": ("pairs", "clips"),
}
"""From a field to those without which it means nothing or may not be; it changes with the first that differs too."""
_PREFIX = {field: prefix for prefix, field in NESTED.items()}


@dataclass(frozen=True)
class Step:
    """The base with some of its settings changed.

    Attributes:
        name: In words, such as "augment faces"; unique.
        config: The settings.
    """

    name: str
    config: TrainConfig

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return re.sub(r"[^A-Za-z0-9.]+", "_", self.name).strip("_")


@dataclass(frozen=True)
class Ablation:
    """An ablation study.

    Attributes:
        base: The settings that everything is compared with.
        target: Those that the changes lead to.
        shards: The set.
        protocol: How subjects are held out.
        folder: Where its runs are kept.
        seeds: Every step is run with each.
        modules: Modules that registered what the settings name, for the record.
        arguments: Where the set came from, for the record.
    """

    base: TrainConfig
    target: TrainConfig
    shards: Shards
    protocol: str
    folder: Path
    seeds: Sequence[int] = (0,)
    modules: Sequence[str] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def steps(self) -> list[Step]:
        """The base, the base with each change, and with all of them (where there is more than one).

        Raises:
            ValueError: The two do not differ.
        """
        return steps(self.base, self.target)

    def plans(self) -> dict[tuple[str, int], Plan]:
        """From step and seed to its run.

        Raises:
            ValueError: As `stfer.runs.plan.prepare`.
        """
        return {
            (step.name, seed): prepare(
                step.config.replace(seed=seed), self.protocol, self.shards, self.folder / step.folder,
                self.modules, self.arguments,
            )
            for step in self.steps()
            for seed in self.seeds
        }  # fmt: skip

    def record(self, plans: Mapping[tuple[str, int], Plan]) -> dict[str, Any]:
        """What `ablation.json` holds: both ends, and every step with its runs' folders within this one."""
        runs: dict[str, list[str]] = {}
        for (name, _), plan in plans.items():
            runs.setdefault(name, []).append(str(plan.folder.path.relative_to(self.folder)))
        return {
            "base": identity(self.base.to_dict()),
            "target": identity(self.target.to_dict()),
            "data": {"name": self.shards.name, "checksum": self.shards.checksum},
            "protocol": self.protocol,
            "seeds": list(self.seeds),
            "steps": [{"name": name, "runs": folders} for name, folders in runs.items()],
        }


def steps(base: TrainConfig, target: TrainConfig) -> list[Step]:
    """See `Ablation.steps`."""
    base, target = canonical(base), canonical(target)
    if base.architecture != target.architecture:
        raise ValueError(
            f"an ablation changes settings, not the architecture: {base.architecture} and {target.architecture}"
        )
    found = list(_changes(base, target))
    if not found:
        raise ValueError("base and target have the same settings; there is nothing to change")
    made = [Step(BASE, base)]
    made += [Step(name, _changed(base, target, parts)) for name, parts in found]
    if len(found) > 1:
        made.append(Step(ALL, target.replace(seed=base.seed)))
    return made


def _changes(base: TrainConfig, target: TrainConfig) -> Iterator[tuple[str, list[str]]]:
    """Each change in words, and the settings that it changes: names of fields, `model.FIELD` or `augment.FIELD`.

    A field of the model that is given its default is no change.
    """
    named = base.model.keys() | target.model.keys()
    defaults = default_fields(base.architecture, named)
    ours, theirs = (
        {f"model.{name}": value for name, value in defaults.items()} | _flat(config)
        for config in (base, target)
    )
    skipped = {"architecture", "seed", *FOR_THE_RECORD}
    names = list(TrainConfig.__dataclass_fields__)
    differing = sorted(
        (
            n
            for n in ours.keys() | theirs.keys()
            if ours.get(n) != theirs.get(n) and n not in skipped
        ),
        key=lambda name: (names.index(_field(name)), name),
    )
    led: dict[str, list[str]] = {}
    for name in differing:
        led.setdefault(_leader(name, differing), []).append(name)
    for leader, names in led.items():
        parts = [leader, *(name for name in names if name != leader)]
        yield ", ".join(f"{_words(name)} {_value(theirs.get(name))}" for name in parts), parts


def _leader(name: str, differing: Sequence[str]) -> str:
    """The setting that one changes with, often itself."""
    for other in TOGETHER.get(_field(name), ()):
        if other in differing:
            return _leader(other, differing)
    return name


def _changed(base: TrainConfig, target: TrainConfig, names: Sequence[str]) -> TrainConfig:
    """The base with these settings as the target has them."""
    changed: dict[str, Any] = {}
    for name in names:
        prefix, dot, inner = name.partition(".")
        if not dot:
            changed[name] = getattr(target, name)
            continue
        whole = NESTED[prefix]
        fields = changed.setdefault(whole, dict(getattr(base, whole)))
        fields.pop(inner, None)
        if inner in getattr(target, whole):
            fields[inner] = getattr(target, whole)[inner]
    return base.replace(**changed)


def _flat(config: TrainConfig) -> dict[str, Any]:
    """The settings with the fields of the model and the augmentation by their own names."""
    found: dict[str, Any] = {}
    for name, value in config.to_dict().items():
        if name in _PREFIX:
            found |= {f"{_PREFIX[name]}.{inner}": v for inner, v in value.items()}
        else:
            found[name] = value
    return found


def _field(name: str) -> str:
    """The field of `TrainConfig` that a setting's name is of."""
    prefix, dot, _ = name.partition(".")
    return NESTED[prefix] if dot else name


def _words(name: str) -> str:
    return name.partition(".")[2].replace("_", " ") if "." in name else name.replace("_", " ")


def _value(value: Any) -> str:
    if value is None:
        return "as it is"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if value != "" else "none"


def begin(ablation: Ablation, plans: Mapping[tuple[str, int], Plan]) -> None:
    """Keep the study's record, or check that the folder is this study's.

    Raises:
        SettingsDifferError: It holds another; names each field.
    """
    ablation.folder.mkdir(parents=True, exist_ok=True)
    file, record = ablation.folder / RECORD, ablation.record(plans)
    if not file.exists():
        write_json(file, {"format": FORMAT, **record})
        return
    kept = {name: value for name, value in read_json(file).items() if name != "format"}
    if lines := differences(kept, record):
        raise SettingsDifferError(
            f"{ablation.folder} holds another ablation ({'; '.join(lines)}); give the same flags to go on with it, "
            "or another --out"
        )


def run(
    ablation: Ablation,
    names: Sequence[str],
    make: Callable[[Plan, Sequence[str]], bool],
    on_run: Callable[[str, int, int, int], None] = lambda step, seed, number, total: None,
) -> bool:
    """Make every run that is missing, in order: the base first.

    Args:
        ablation: The study.
        names: The folds that are wanted of every run.
        make: Makes a run on these folds; False ends the study here.
        on_run: Told of each run before it is made: step, seed, its number from 1, and how many there are.

    Returns:
        Whether all were made.
    """
    plans = ablation.plans()
    begin(ablation, plans)
    for number, ((step, seed), plan) in enumerate(plans.items(), start=1):
        on_run(step, seed, number, len(plans))
        if not plan.is_whole(names) and not make(plan, names):
            return False
    return True
