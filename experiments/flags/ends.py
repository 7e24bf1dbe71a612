"""The settings at an ablation's two ends, and the people on whom settings were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags.settings import changes
from stfer.training import config as config_lib  # light, as is the next: neither imports JAX
from stfer.training import settings_file
from stfer.training.config import NESTED, TrainConfig

if TYPE_CHECKING:
    from stfer.data.shards import Shards

FLAGS = flags.FLAGS


def end_settings(flag: str, further: list[str]) -> TrainConfig:
    """One end of an ablation: a preset or a JSON file, with the flags' changes and then further ones (NAME=VALUE).

    Args:
        flag: The flag that names it, "base" or "target".
        further: The further changes.

    Raises:
        ValueError: A setting is unknown or out of range, or --preset or --settings is given besides.
    """
    if FLAGS.preset or FLAGS.settings:
        raise ValueError(
            "--base and --target name the settings here; leave --preset and --settings out"
        )
    changed, more = changes(None), config_lib.parse_assignments(further)
    for field in NESTED.values():
        if field in changed and field in more:
            more[field] = changed[field] | more[field]
    changed |= more
    name = FLAGS[flag].value
    if not name.endswith(".json"):
        return config_lib.preset(name, FLAGS.arch, **changed)
    found = settings_file.read(name, f"--{flag}")
    if found.config.architecture != FLAGS.arch:
        raise ValueError(
            f"--{flag}={name} is for {found.config.architecture}, not for --arch={FLAGS.arch}"
        )
    return found.with_changes(changed)


def searched_on(shards: Shards, named_by: Sequence[str] = ("settings",)) -> frozenset[str]:
    """The people of a set on whom the settings were chosen that flags name: `--settings`, or an ablation's ends."""
    files = {flag: FLAGS[flag].value or "" for flag in named_by}
    read = [
        settings_file.read(file, f"--{flag}")
        for flag, file in files.items()
        if file.endswith(".json") or (file and flag == "settings")
    ]
    if not read:
        return frozenset()
    from stfer.data.shards.people import named_among

    return frozenset().union(*(named_among(shards, found.people) for found in read))
