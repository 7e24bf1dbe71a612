"""Runs: cross-validation, final training, launchers; what a researcher imports."""

from stfer.runs.crossval import Outcome, cross_validate, merge, run, select_folds
from stfer.runs.local import Launch
from stfer.runs.plan import Plan, prepare

__all__ = ["Launch", "Outcome", "Plan", "cross_validate", "merge", "prepare", "run", "select_folds"]
