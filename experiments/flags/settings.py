"""A flag for every setting of a training, derived from `TrainConfig`."""

import dataclasses
from typing import Any

from absl import flags

from stfer.data import sources  # light, as is the next: neither imports JAX
from stfer.training import config as config_lib
from stfer.training import settings_file
from stfer.training.config import NESTED, TrainConfig

FLAGS = flags.FLAGS
_OWN = ("architecture", "preset", "validation", *NESTED.values())  # flags of another kind or name
_CHOICES = {"precision": list(config_lib.PRECISIONS), "pairs": list(config_lib.PAIRS)}
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
    flags.DEFINE_string("settings", None, "A JSON file of settings, such as a search's best.json, instead of "
        "a preset; flags override it.")  # fmt: skip
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
    changed = changes(seed)
    if FLAGS.settings:
        return _from_file(architecture, changed)
    named = [name.strip() for name in (data or FLAGS.data).split(",")]
    preset = FLAGS.preset or ("demo" if sources.SYNTHETIC in named else "paper")
    return config_lib.preset(preset, architecture or FLAGS.arch, **changed)


def is_somebody(people: str | None) -> bool:
    """Whether a flag that names people names any: not where it is missing, none or 0."""
    return (people or "none").strip().lower() not in ("", "none", "0", "0.0")


def changes(seed: int | None) -> dict[str, Any]:
    """What the flags change of a preset or a file."""
    without_flag = ("architecture", "preset", *NESTED.values())
    names = [f.name for f in dataclasses.fields(TrainConfig) if f.name not in without_flag]
    given = {name: FLAGS[name].value for name in names if name in FLAGS}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    changed |= config_lib.parse_assignments(FLAGS.set)
    if "validation" in changed and not is_somebody(changed["validation"]):
        changed["validation"] = ""
        changed.setdefault("patience", 0)  # Of a file or a preset: it means nothing without.
    if changed.get("patience") and changed.get("recompute_statistics") is None:
        changed["recompute_statistics"] = False  # The epoch is chosen by the running statistics.
    if seed is not None:
        changed["seed"] = seed
    return changed


def _from_file(architecture: str | None, changed: dict[str, Any]) -> TrainConfig:
    found = settings_file.read(FLAGS.settings, "--settings")
    own = found.config.architecture
    if architecture is None and FLAGS["arch"].present:
        architecture = FLAGS.arch
    if architecture not in (None, own):
        raise ValueError(f"--settings={FLAGS.settings} is for {own}, not for {architecture}")
    if FLAGS.preset:
        raise ValueError("--settings and --preset both name settings; give one of them")
    return found.with_changes(changed)


def define_seeds() -> None:
    """Define `--seeds` beside `--seed`."""
    flags.DEFINE_list("seeds", None, "Several seeds instead of --seed, separated by commas.")


def seeds() -> list[int]:
    """The seeds of `--seeds`, or the settings' one.

    Raises:
        ValueError: Both flags are given, or one is no number.
    """
    if FLAGS.seeds is None:
        return [settings().seed]
    if FLAGS["seed"].present:
        raise ValueError("--seed and --seeds both name seeds; give one of them")
    from stfer.runs.compare import parse_seeds

    return parse_seeds(FLAGS.seeds)
