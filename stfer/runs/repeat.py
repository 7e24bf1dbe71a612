"""The command that makes a run again, from its record: derived from the settings, so no setting can be forgotten."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

from stfer.training import config as config_lib
from stfer.training.config import NESTED, PRESETS, TrainConfig


def command(record: Mapping[str, Any]) -> str:
    """The shell command that repeats a cross-validation.

    Args:
        record: As `config.json` holds it: `settings`, `arguments` and `modules`.

    Returns:
        `python -m experiments.loso` with every flag that is needed.
    """
    settings = dict(record["settings"])
    flags = {"arch": settings["architecture"], **record.get("arguments", {})}
    if settings.get("protocol", "loso") != "loso":
        flags["protocol"] = settings["protocol"]
    if record.get("modules"):
        flags["modules"] = ",".join(record["modules"])
    preset = settings.get("preset", "paper")
    if preset not in PRESETS:  # One that a module registered, which may not be imported here.
        preset = "paper"
    flags["preset"] = preset
    plain = config_lib.preset(preset, settings["architecture"]).to_dict()
    # The flag of another augmentation drops the preset's strengths, so a run's own are told apart from what is left.
    base = config_lib.with_changes(plain, {"augment": settings.get("augment")})
    base["augment"] = plain["augment"]
    assignments = []
    for field in dataclasses.fields(TrainConfig):
        value: Any = settings.get(field.name, base[field.name])
        if field.name in ("architecture", "preset") or value == base[field.name]:
            continue
        if field.name in NESTED.values():
            prefix = next(prefix for prefix, name in NESTED.items() if name == field.name)
            assignments += [f"{prefix}.{n}={_text(v)}" for n, v in value.items()]
        else:
            flags[field.name] = value
    words = [f"--{name}={_text(value)}" for name, value in flags.items()]
    words += [f"--set={assignment}" for assignment in assignments]
    return shlex.join(["python", "-m", "experiments.loso", *words])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
