"""The settings of one training, in one frozen dataclass, and named presets of them (paper VI-A).

The dataclass is the one list of settings: the commands' flags, what a run's identity compares, and the
printed command that repeats a run are derived from its fields and its docstring. `paper` is the protocol
of the paper, exactly. `demo` is for the embedded synthetic set on two CPU cores.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stfer.data.clips import PAIRS
from stfer.nearest import did_you_mean

# What each precision asks of the matrix units: JAX's own default for float32 would be TensorFloat-32 on recent GPUs.
PRECISIONS = {"float32": "highest", "tensorfloat32": "tensorfloat32", "bfloat16": "default"}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result of a training, and nothing else.

    A new field gets a default that changes nothing: runs that were made before it then stay valid.

    Attributes:
        architecture: A name in `stfer.models.ARCHITECTURES`.
        model: Fields of the architecture's module that differ from its own (`--set model.block2_features=384`).
        task: What is learned: a name in `stfer.training.task.TASKS`; empty for the architecture's own.
        stages: Stages of the training: a name in `stfer.training.stages.STAGES`; empty for the architecture's own,
            or a single one.
        epochs: Passes over the training clips; the weights of the last one are used, unless `patience` chooses.
        batch_size: Clips a step; the last batch of an epoch may be smaller.
        optimizer: A name in `stfer.training.optimizers.OPTIMIZERS`.
        learning_rate: Step size, where the schedule is at its highest.
        adam_epsilon: Epsilon of Adam and AdamW, outside the square root (Keras 2's default, 1e-7).
        weight_decay: Decoupled weight decay of kernels, times the learning rate (AdamW, SGD); biases and
            normalisation scales are never decayed.
        clip_norm: Gradients of a larger global norm are scaled down to it; 0 for none.
        schedule: Of the learning rate over the fold's own number of steps: a name in
            `stfer.training.optimizers.SCHEDULES`.
        warmup_epochs: Epochs in which the learning rate rises from 0 linearly; a fraction is one of an epoch.
        label_smoothing: Share of the target that is spread evenly over all classes (0 for none).
        augment: Random changes of the training clips: a name in `stfer.training.augment.AUGMENTATIONS`.
        augmentation: Strengths of the augmentation that differ from its own (`--set augment.rotation=8`).
        validation: Training subjects that every fold sets aside: a share such as 0.2, or names; empty for none.
        patience: Epochs without a better validation loss that end a training; the weights of the best epoch are
            used. 0 for no early stopping.
        clips: Which clip of a sequence is trained on: `paper` or empty for the architecture's own; `random` for
            one of the apex part, drawn anew each epoch; or offsets from the sequence's end, such as -2,-1.
        pairs: Which pairs of frames late fusion is evaluated on, and votes over: `last`, the paper's; `sliding`,
            those as far apart that end in the apex part; `all`, every one that ends there.
        pair_distance: Fewest frames from start to end of a pair of `--pairs=all` or `--clips=random`.
        apex_frames: Frames at a sequence's end that are its apex part, for `--pairs` and `--clips=random`.
        seed: Seed of every random stream (with the fold's name and the epoch or step, nothing else).
        precision: "float32", "tensorfloat32" (products only, on GPUs that have it) or "bfloat16"
            (compute; parameters and logits stay float32).
        recompute_statistics: After the last epoch, compute the batch statistics anew over one pass
            through the training clips with the final weights (Wu & Johnson 2021, "Rethinking 'Batch' in
            BatchNorm", section 3), instead of using the running ones, which lag behind in a short training.
            Only for layers of `stfer.models.layers.normalization.BatchNorm`; others keep their running ones.
        preset: The name of the preset that the settings came from, for the record.
    """

    architecture: str
    model: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""
    stages: str = ""
    epochs: int = 200
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 1e-5
    adam_epsilon: float = 1e-7
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    label_smoothing: float = 0.0
    augment: str = "none"
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    validation: str = ""
    patience: int = 0
    clips: str = ""
    pairs: str = "last"
    pair_distance: int = 10
    apex_frames: int = 5
    seed: int = 0
    precision: str = "float32"
    recompute_statistics: bool = False
    preset: str = field(default="paper", metadata={"record": True})

    def __post_init__(self):
        """Refuse settings that cannot be trained with.

        Raises:
            ValueError: Names the field and what would be right.
        """
        if self.clips == "paper":
            object.__setattr__(self, "clips", "")
        for name in ("epochs", "batch_size", "pair_distance", "apex_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "adam_epsilon"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a positive number")
        for name in ("weight_decay", "clip_norm", "warmup_epochs", "patience"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; it must be from 0 to 1")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 4294967295")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}"
            )
        if self.clips and not re.fullmatch(r"random|-\d+(,-\d+)*", self.clips):
            raise ValueError(
                f"clips is {self.clips!r}; it must be paper, random, or offsets from the end such as -2,-1"
            )
        if self.pairs not in PAIRS:
            raise ValueError(f"pairs is {self.pairs!r}; it must be one of {', '.join(PAIRS)}")
        if self.patience and not self.validation:
            raise ValueError(
                "patience needs validation subjects (--validation=0.2): stopping by the held-out "
                "subjects' loss would choose the epoch on the people who are tested"
            )
        if self.patience and self.recompute_statistics:
            raise ValueError(
                "recompute_statistics cannot go with patience: the epoch is chosen by the running statistics"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a JSON-serialisable dict."""
        return dataclasses.asdict(self)

    def replace(self, **changed: Any) -> "TrainConfig":
        """A copy with some fields changed; raises as the class."""
        return dataclasses.replace(self, **changed)


FOR_THE_RECORD = frozenset(
    f.name for f in dataclasses.fields(TrainConfig) if f.metadata.get("record")
)
"""Fields that say where settings came from: two runs that differ in them alone are the same."""

NESTED = {"model": "model", "augment": "augmentation"}
"""What `--set PREFIX.FIELD=VALUE` may start with, and the field of `TrainConfig` that it fills."""


def identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What of stored settings makes a run the same: no record fields, and a default for each that is missing."""
    defaults = {
        f.name: f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        for f in dataclasses.fields(TrainConfig)
        if f.name != "architecture"
    }
    return {k: v for k, v in (defaults | dict(settings)).items() if k not in FOR_THE_RECORD}


def descriptions() -> dict[str, str]:
    """Each field's description, from the class' docstring."""
    _, _, attributes = (TrainConfig.__doc__ or "").partition("Attributes:")
    entries = re.split(r"\n {8}(?=\w+: )", attributes)
    pairs = (entry.split(": ", 1) for entry in entries if ": " in entry)
    return {name.strip(): " ".join(text.split()) for name, text in pairs}


PRESETS: dict[str, dict[str, Any]] = {}
_OF_ARCHITECTURE: dict[tuple[str, str], dict[str, Any]] = {}


def register_preset(
    name: str, of_architecture: Mapping[str, Mapping[str, Any]] | None = None, **settings: Any
) -> None:
    """Name a set of settings for `--preset`; the same name again replaces it.

    Args:
        name: What commands call it.
        of_architecture: From an architecture's name to what differs for it.
        **settings: Fields of `TrainConfig`.

    Raises:
        ValueError: A setting is unknown or out of range.
    """
    own = {key for changed in (of_architecture or {}).values() for key in changed}
    unknown = {*settings, *own} - {f.name for f in dataclasses.fields(TrainConfig)}
    if unknown:
        raise ValueError(
            f"the preset {name!r} sets {', '.join(sorted(unknown))}, which is no setting"
        )
    TrainConfig(**({"architecture": ""} | settings))
    PRESETS[name] = settings
    for architecture, changed in (of_architecture or {}).items():
        TrainConfig(**({"architecture": architecture} | settings | dict(changed)))
        _OF_ARCHITECTURE[name, architecture] = dict(changed)


register_preset("paper")
register_preset(
    "strong",
    model={"normalize": "local_contrast", "dropout": 0.3},
    epochs=40,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=1e-4,
    clip_norm=1.0,
    schedule="cosine",
    warmup_epochs=2.0,
    label_smoothing=0.1,
    augment="faces",
    recompute_statistics=True,
)
register_preset(  # On pairs of frames of synthetic people (experiments.pretrain).
    "carry",
    model={"border": 0.0625},
    clips="-2,-1",
    epochs=30,
    batch_size=48,
    optimizer="adamw",
    learning_rate=1.5e-3,
    weight_decay=1e-4,
    clip_norm=1.0,
    schedule="cosine",
    warmup_epochs=1.0,
    label_smoothing=0.1,
    augment="faces",
    augmentation={
        "jitter_scale": 0.015,
        "jitter_degrees": 0.8,
        "jitter_shift": 0.009,
        "erase": 0.15,
    },
    recompute_statistics=True,
)
_CHANGE = {"model": {"normalize": "contrast_change"}}
register_preset(
    "demo",
    of_architecture={
        "early_fusion": _CHANGE | {"epochs": 5, "learning_rate": 4e-4},
        "slow_fusion": _CHANGE,
        "conv3d": _CHANGE,
    },
    model={"normalize": "local_contrast"},
    epochs=6,
    batch_size=8,
    optimizer="adamw",
    learning_rate=2e-4,
    clip_norm=1.0,
    schedule="cosine",
    warmup_epochs=0.6,
    label_smoothing=0.05,
    augment="mirror",
    recompute_statistics=True,
)


def preset(name: str, architecture: str, **overrides: Any) -> TrainConfig:
    """Return the settings of a preset for an architecture.

    Args:
        name: A key of `PRESETS`, such as "paper" or "demo".
        architecture: A name in `stfer.models.ARCHITECTURES`.
        **overrides: Fields that replace the preset's; those that are None are left as they are.

    Raises:
        ValueError: For an unknown preset or a field out of range.
    """
    if name not in PRESETS:
        raise ValueError(
            f"preset {name!r} is unknown; it must be one of {', '.join(PRESETS)}"
            f"{did_you_mean(name, PRESETS)}"
        )
    settings = PRESETS[name] | _OF_ARCHITECTURE.get((name, architecture), {})
    own = {"architecture": architecture, "preset": name}
    return TrainConfig(**with_changes(settings | own, overrides))


def with_changes(settings: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with some of them replaced.

    Of the model's and the augmentation's fields those that are named are replaced and the others stay; but strengths
    are of one augmentation, so where another is asked for, none of them stays.

    Args:
        settings: Fields of `TrainConfig`; those that are missing have their defaults.
        changed: Fields that replace them; those that are None are left as they are.
    """
    new = {key: value for key, value in changed.items() if value is not None}
    old = dict(settings)
    own = old.get("augment", TrainConfig.augment)
    if new.get("augment", own) != own:
        old["augmentation"] = {}
    for key in NESTED.values():
        if key in new:
            new[key] = dict(old.get(key, {})) | dict(new[key])
    return old | new


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Settings from texts such as `epochs=3` or `model.block2_features=384`, for flags and files.

    Values of a setting take its type; values of a model's or an augmentation's field are JSON where they can
    be read as JSON, else text (`model.block3_features=[384,256,256]`).

    Raises:
        ValueError: No `=`, an unknown setting, or a value of another type.
    """
    types = {f.name: f.type for f in dataclasses.fields(TrainConfig)}
    found: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        prefix, dot, inner = name.partition(".")
        if not equals:
            raise ValueError(
                f"--set={text} must read NAME=VALUE, such as model.block2_features=384"
            )
        if dot and prefix in NESTED:
            found.setdefault(NESTED[prefix], {})[inner] = _json_or_text(value)
        elif dot or name not in types or name in NESTED.values():
            known = [n for n in types if n not in NESTED.values()]
            raise ValueError(
                f"--set={text}: {name!r} is no setting; use {', '.join(known)}, model.FIELD or "
                f"augment.FIELD{did_you_mean(name, known)}"
            )
        else:
            found[name] = _typed(name, types[name], value)
    return found


def _typed(name: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{name} is {text!r}; it must be {_KINDS[kind]}") from None


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
