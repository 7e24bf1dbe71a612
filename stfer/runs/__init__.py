"""Runs: cross-validation, final training, launchers; what a researcher imports."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stfer.runs.crossval import Outcome, cross_validate, merge, run, select_folds
    from stfer.runs.local import Launch
    from stfer.runs.plan import Plan, prepare

__all__ = ["Launch", "Outcome", "Plan", "cross_validate", "merge", "prepare", "run", "select_folds"]
_MODULES = {
    "crossval": ("Outcome", "cross_validate", "merge", "run", "select_folds"),
    "local": ("Launch",),
    "plan": ("Plan", "prepare"),
}


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: prediction, which needs the environment alone, does not wait for the rest.
    for module, names in _MODULES.items():
        if name == module or name in names:
            found = importlib.import_module(f"{__name__}.{module}")
            return found if name == module else getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})
