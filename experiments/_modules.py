"""`--modules`: Python modules that register architectures from outside the package."""

import importlib
from collections.abc import Sequence

from experiments import _app


def import_modules(modules: Sequence[str]) -> None:
    """Import the modules of `--modules`.

    Raises:
        UserError: One of them is not there, or raises while it is imported.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # Whatever the user's own code raises.
            raise _app.UserError(
                f"--modules={module} cannot be imported: {type(error).__name__}: {error}"
            ) from error


def check_architecture(name: str, modules: Sequence[str]) -> None:
    """Import the modules and check that the architecture is registered.

    Raises:
        UserError: It is not; lists those that are.
    """
    from stfer import models

    import_modules(modules)
    if name not in models.ARCHITECTURES:
        raise _app.UserError(
            f"--arch={name} is unknown; it must be one of {', '.join(models.ARCHITECTURES)}"
        )
