"""The flags of a command as a whole: their help, which of them were given, paths at home."""

import os
from collections.abc import Collection, Iterable

from absl import flags

FLAGS = flags.FLAGS


def expand_homes(names: Iterable[str]) -> None:
    """Replace `~` at the start of paths: the shell does not after an equals sign."""
    for name in names:
        value = FLAGS[name].value
        if isinstance(value, str):
            # Several shard folders or pictures are separated by commas.
            FLAGS[name].value = ",".join(map(os.path.expanduser, value.split(",")))
        elif isinstance(value, list):
            FLAGS[name].value = [os.path.expanduser(v) if isinstance(v, str) else v for v in value]


def help_text() -> str:
    """Help for the flags that the commands define (absl's own are noise to a reader), by name."""
    own = flags.FlagValues()
    for module, defined in FLAGS.flags_by_module_dict().items():
        if module == "__main__" or "experiments" in module:
            for flag in defined:
                own[flag.name] = flag
    return own.get_help(include_special_flags=False)


def given(without: Collection[str] = ()) -> list[str]:
    """The flags that the user gave, as words of a command, but for some."""
    words = []
    for module, defined in FLAGS.flags_by_module_dict().items():
        for flag in defined if module == "__main__" or "experiments" in module else ():
            if flag.present and flag.name not in without:
                values = flag.value if flag.name == "set" else [flag.value]
                words += [
                    f"--{flag.name}={','.join(v) if isinstance(v, list) else v}" for v in values
                ]
    return words
