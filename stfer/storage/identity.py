"""What a saved thing belongs to: JSON-like settings, and where two of them differ."""

from collections.abc import Mapping
from typing import Any


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say field by field where two JSON-like mappings differ: "name is A there and B here"."""
    lines = []
    for name in sorted(found.keys() | wanted.keys()):
        ours, theirs = wanted.get(name), found.get(name)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            lines += differences(theirs, ours, f"{prefix}{name}.")
        elif _plain(ours) != _plain(theirs):
            lines.append(f"{prefix}{name} is {theirs!r} there and {ours!r} here")
    return lines


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
