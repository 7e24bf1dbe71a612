"""Settings in a JSON file: what a search found best, for `--settings` of the commands that train."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stfer.storage.files import read_json, write_json
from stfer.training.config import TrainConfig, with_changes

FORMAT = 2


@dataclass(frozen=True)
class Found:
    """Settings and the people that they were chosen on.

    Attributes:
        config: The settings.
        data: The name of the set that they were chosen on; empty where they were not chosen on any.
        people: Those whose sequences decided, from population to subjects (`stfer.data.shards.people`); accuracy on
            them says too much, in whichever set they are.
    """

    config: TrainConfig
    data: str = ""
    people: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def with_changes(self, changed: Mapping[str, Any]) -> TrainConfig:
        """The settings with some fields replaced, see `stfer.training.config.with_changes`."""
        return TrainConfig(**with_changes(self.config.to_dict(), changed))


def write(file: str | Path, found: Found, **more: Any) -> None:
    """Write settings, with whatever else should be known of them."""
    searched = {"data": found.data, "people": found.people}
    settings = found.config.to_dict()
    write_json(file, {"format": FORMAT, "settings": settings, "searched": searched, **more})


def read(file: str | Path, flag: str = "") -> Found:
    """Read settings.

    Args:
        file: The file.
        flag: The flag that names it, such as "--settings", for errors.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It holds no settings, or some that cannot be trained with; names the flag and the file.
    """
    name = f"{flag}={file}" if flag else str(file)
    content = read_json(file)
    settings = content.get("settings") if isinstance(content, Mapping) else None
    if not isinstance(settings, Mapping):
        raise ValueError(f"{name} holds no settings, as experiments.search writes them")
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{name} is of format {content.get('format')}, not {FORMAT}: make it anew with "
            "experiments.search"
        )
    unknown = settings.keys() - {known.name for known in dataclasses.fields(TrainConfig)}
    if unknown:
        raise ValueError(f"{name} sets {', '.join(sorted(unknown))}, which is no setting")
    if "architecture" not in settings:
        raise ValueError(f"{name} must name an architecture")
    searched = content.get("searched") or {}
    try:
        config = TrainConfig(**settings)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error
    return Found(config, searched.get("data", ""), searched.get("people", {}))
