"""Runs: cross-validation, final training, launchers; what a researcher imports."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stfer.runs.crossval import Outcome, cross_validate, merge, run, select_folds
    from stfer.runs.local import Launch
    from stfer.runs.plan import Plan, prepare

__all__ = ["Launch", "Outcome", "Plan", "cross_validate", "merge", "prepare", "run", "select_folds"]
_MODULES = {"Launch": "local", "Plan": "plan", "prepare": "plan"}


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: prediction, which needs the environment alone, does not wait for the rest.
    if name in __all__:
        return getattr(
            importlib.import_module(f"{__name__}.{_MODULES.get(name, 'crossval')}"), name
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
