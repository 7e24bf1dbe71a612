"""A flag for every setting of a training, derived from `TrainConfig`."""

import dataclasses
from typing import Any

from absl import flags

from stfer.data import sources  # light, as is the next: neither imports JAX
from stfer.training import config as config_lib
from stfer.training.config import NESTED, TrainConfig

FLAGS = flags.FLAGS
_OWN = ("architecture", "preset", "validation", *NESTED.values())  # flags of another kind or name
_CHOICES = {"precision": list(config_lib.PRECISIONS)}
_DEFINE = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
}


def define_settings(architecture: str | None) -> None:
    """Define a flag for every field of `TrainConfig`; `architecture` is the default of `--arch`, None for many."""
    help_of = config_lib.descriptions()
    if architecture is not None:
        flags.DEFINE_string("arch", architecture, help_of["architecture"])
    flags.DEFINE_string(
        "preset",
        None,
        "Settings by name (demo on synthetic data, else paper); flags override it.",
    )
    flags.DEFINE_string("validation", None, help_of["validation"])
    for field in dataclasses.fields(TrainConfig):
        if field.name in _CHOICES:
            flags.DEFINE_enum(field.name, None, _CHOICES[field.name], help_of[field.name])
        elif field.name not in _OWN and (architecture is not None or field.name != "seed"):
            _DEFINE[field.type](field.name, None, help_of[field.name])
    flags.DEFINE_multi_string("set", [], "NAME=VALUE for any setting, or a field of the model or the augmentation: "
        "--set=model.block2_features=384 (may be given several times).")  # fmt: skip


def settings(
    seed: int | None = None, architecture: str | None = None, data: str | None = None
) -> TrainConfig:
    """The settings that the flags ask for: the preset's with the flags' changes.

    Raises:
        ValueError: A setting is unknown or out of range.
    """
    named = [name.strip() for name in (data or FLAGS.data).split(",")]
    preset = FLAGS.preset or ("demo" if sources.SYNTHETIC in named else "paper")
    without_flag = ("architecture", "preset", *NESTED.values())
    names = [f.name for f in dataclasses.fields(TrainConfig) if f.name not in without_flag]
    changed: dict[str, Any] = {name: FLAGS[name].value for name in names if name in FLAGS}
    changed |= config_lib.parse_assignments(FLAGS.set)
    if str(changed.get("validation")).lower() in ("none", "0", "0.0"):
        changed["validation"] = ""
    if changed.get("patience") and changed.get("recompute_statistics") is None:
        changed["recompute_statistics"] = False  # The epoch is chosen by the running statistics.
    if seed is not None:
        changed["seed"] = seed
    return config_lib.preset(preset, architecture or FLAGS.arch, **changed)
