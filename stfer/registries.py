"""Registries: names that commands and files use, and what was registered under them.

Registering the same thing again, as a notebook's cell that is run twice or a reloaded file does, takes the place of
the earlier; another thing under a taken name is an error. The user's own modules register when they are imported.
"""

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stfer.nearest import did_you_mean

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}")


class Registry[Entry](Mapping[str, Entry]):
    """What is registered, by name, in the order of registration.

    Args:
        what: What the entries are, for sentences: "reader".
    """

    def __init__(self, what: str):
        self._what = what
        self._entries: dict[str, Entry] = {}
        self._sources: dict[str, tuple[str, str]] = {}

    def add(self, name: str, source: Callable, entry: Entry) -> None:
        """Register an entry.

        Args:
            name: Letters, digits, `_` and `-`: it becomes part of paths.
            source: The function or class that it was made of; its module and name tell the same from another.
            entry: What the name stands for.

        Raises:
            ValueError: The name cannot be one, or another source has it.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a {self._what}: use letters, digits, _ and -")
        place = origin(source)
        taken = self._sources.get(name, place)
        if taken != place:
            raise ValueError(
                f"the {self._what} name {name!r} is taken by {taken[1]} of {taken[0]}; "
                f"register {place[1]} under another name"
            )
        self._entries[name], self._sources[name] = entry, place

    def register(self, name: str) -> Callable[[Any], Any]:
        """A decorator that registers what it decorates as its own entry; raises as `add`."""

        def add(entry: Any) -> Any:
            self.add(name, entry, entry)
            return entry

        return add

    def find(self, name: str) -> Entry:
        """The entry of a name.

        Raises:
            ValueError: There is none; lists those that are, and names the nearest.
        """
        if name not in self._entries:
            raise ValueError(
                f"{self._what} must be one of {', '.join(self)}, not {name!r}{did_you_mean(name, self)}"
            )
        return self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def origin(source: Any) -> tuple[str, str]:
    """Module and qualified name of a definition; of its class, for an instance; of its function, for a partial."""
    source = getattr(source, "func", source)
    named = source if hasattr(source, "__qualname__") else type(source)
    return named.__module__, named.__qualname__


def import_modules(modules: Sequence[str]) -> None:
    """Import the modules of `--modules`.

    Raises:
        ValueError: One of them is not there, or raises while it is imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # Whatever the user's own code raises.
            raise ValueError(
                f"--modules={module} cannot be imported: {type(error).__name__}: {error}"
            ) from error
