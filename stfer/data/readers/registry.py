"""The registry of readers: from a data set's name to what lists its sequences."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stfer.data.sequence import Dropped, Sequence
from stfer.registries import Registry

Read = Callable[..., tuple[list[Sequence], list[Dropped]]]
Counts = Mapping[str, int]


def _nothing(root: Any, **options: Any) -> str:
    del root, options
    return ""


@dataclass(frozen=True)
class Reader:
    """A reader and what is known of its set.

    Attributes:
        name: What commands call the set.
        read: `read(root, **options)` lists labelled sequences, neutral to apex, and what cannot be used. It reads no
            pixel.
        population: Whose subjects these are (see `shards.load_data`); None where the user says it.
        complete: The complete set's counts (see `complete_counts`), or a function from the options to them.
        note: From the root and the options to what is worth saying of this copy before work begins; often nothing.
    """

    name: str
    read: Read
    population: str | None = None
    complete: Counts | Callable[..., Counts] = field(default_factory=dict)
    note: Callable[..., str] = _nothing

    @property
    def options(self) -> tuple[str, ...]:
        """The keywords that `read` takes beside the root."""
        return tuple(inspect.signature(self.read).parameters)[1:]

    def select_options(self, known: Mapping[str, Any], further: Iterable[str]) -> dict[str, Any]:
        """The options that `read` takes, of those known and of texts `NAME=VALUE`.

        Raises:
            ValueError: A text is not of that form, or `read` takes no such option.
        """
        options = {name: value for name, value in known.items() if name in self.options}
        for text in further:
            name, equals, value = text.partition("=")
            if not equals or name not in self.options:
                takes = ", ".join(self.options) or "none"
                raise ValueError(
                    f"the option {text!r} is none of {self.name}, which takes NAME=VALUE with the names {takes}"
                )
            options[name] = value
        return options

    def complete_counts(self, **options: Any) -> dict[str, int]:
        """The complete set's counts by name, as far as they are known.

        `subjects`, `sequences`, `labelled`, `labelled subjects`, `without contempt`, each class's name, and
        `the paper's` for what the paper was left with after face detection.
        """
        return dict(self.complete(**options) if callable(self.complete) else self.complete)


READERS: Registry[Reader] = Registry("reader")


def register_reader(
    name: str,
    *,
    population: str | None = None,
    complete: Counts | Callable[..., Counts] | None = None,
    note: Callable[..., str] = _nothing,
) -> Callable[[Read], Read]:
    """Register a function that reads a data set's layout; use it as a decorator.

    Args:
        name: What `experiments.preprocess --dataset=NAME` calls the set.
        population: Whose subjects these are; sets of one population share their subjects. By default the name of the
            shard folder.
        complete: As in `Reader`.
        note: As in `Reader`.

    Raises:
        ValueError: Another function has the name.

    Example:
        >>> from pathlib import Path
        >>> from stfer.data.sequence import FrameSource
        >>> @register_reader("flat", population="flat")
        ... def read(root):
        ...     '''Folders named SUBJECT-EMOTION, each with one sequence of pictures.'''
        ...     sequences = []
        ...     for folder in sorted(Path(root).glob("*-*")):
        ...         subject, label = folder.name.split("-")
        ...         frames = tuple(FrameSource(str(file)) for file in sorted(folder.glob("*.png")))
        ...         sequences.append(Sequence(folder.name, subject, label, frames))
        ...     return sequences, []
        >>> READERS["flat"].population
        'flat'
    """

    def add(read: Read) -> Read:
        READERS.add(name, read, Reader(name, read, population, complete or {}, note))
        return read

    return add
