"""The user's own modules, which register architectures, tasks, readers and the like when they are imported."""

import importlib
from collections.abc import Sequence


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
