"""The flags of a command as a whole: their help, which of them were given, paths at home."""

import dataclasses
import os
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence

from absl import flags

from stfer.errors import UserError
from stfer.training.config import TrainConfig  # light: it imports no JAX

FLAGS = flags.FLAGS
_MAY_BE_EMPTY = {"host", *(f.name for f in dataclasses.fields(TrainConfig) if f.type is str)}


def expand_homes(names: Iterable[str]) -> None:
    """Replace `~` at the start of paths: the shell does not after an equals sign."""
    for name in names:
        value = FLAGS[name].value
        if isinstance(value, str):
            # Several shard folders or pictures are separated by commas.
            FLAGS[name].value = ",".join(map(os.path.expanduser, value.split(",")))
        elif isinstance(value, list):
            FLAGS[name].value = [os.path.expanduser(v) if isinstance(v, str) else v for v in value]


def refuse_empty(names: Iterable[str]) -> None:
    """Refuse flags that name something and were given without it, as a script's unset variable does.

    Raises:
        UserError: One was; names all that were.
    """
    asked = [FLAGS[name] for name in sorted(set(names) - _MAY_BE_EMPTY)]
    empty = [f"--{flag.name}" for flag in asked if flag.present and _is_empty(flag)]
    if empty:
        raise UserError(f"{' and '.join(empty)} without a value: give one, or leave the flag out")


def _is_empty(flag: flags.Flag) -> bool:
    """Whether a flag's value is none: of a list no item is any, also where the list's default has none."""
    if isinstance(flag.value, list):
        return not any(item != "" for item in flag.value)
    return flag.value == "" and flag.default != ""


_TITLES = {
    "experiments.flags.sets": "The set:",
    "experiments.flags.settings": "Settings of the training, where they differ from the preset's:",
    "experiments.flags.launch": "Folds, devices and machines:",
    "experiments.command": "When something fails:",
}
_FIRST, _OWN = "Flags:", "More flags of this command:"


def help_text(first: Sequence[str] = ()) -> str:
    """Help for the flags that the commands define (absl's own are noise to a reader), in groups.

    Args:
        first: Names of the flags that the command's task is about, in order; without any, the command's own flags.
    """
    own_title = _OWN if first else _FIRST
    groups: dict[str, list[flags.Flag]] = {
        title: [] for title in (_FIRST, own_title, *_TITLES.values())
    }
    groups[_FIRST] += [FLAGS[name] for name in first]
    for module, flag in _defined():
        if flag.name not in first:
            groups[_TITLES.get(module, own_title)].append(flag)
    shown = {title: "\n".join(map(_help, found)) for title, found in groups.items() if found}
    return "\n\n".join(f"{title}\n{text}" for title, text in shown.items())


def _help(flag: flags.Flag) -> str:
    """One flag's lines as absl writes them."""
    alone = flags.FlagValues()
    alone[flag.name] = flag
    return textwrap.indent(alone.get_help(include_special_flags=False).strip("\n"), "  ")


def _defined() -> Iterator[tuple[str, flags.Flag]]:
    """The commands' flags with the module that defines each, in order of definition."""
    for module, defined in FLAGS.flags_by_module_dict().items():
        if module == "__main__" or "experiments" in module:
            for flag in defined:
                yield module, flag


def refuse(names: Iterable[str], why: str) -> None:
    """Refuse flags that were given and would change nothing.

    Raises:
        ValueError: One was given; names all that were.
    """
    if idle := [f"--{name}" for name in names if FLAGS[name].present]:
        raise ValueError(f"{why}: leave {', '.join(idle)} out")


def given(without: Collection[str] = ()) -> list[str]:
    """The flags that the user gave, as words of a command, but for some."""
    words = []
    for _, flag in _defined():
        if flag.present and flag.name not in without:
            values = flag.value if flag.name == "set" else [flag.value]
            words += [f"--{flag.name}={','.join(v) if isinstance(v, list) else v}" for v in values]
    return words
