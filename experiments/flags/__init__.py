"""Flags that several commands share."""

from experiments.flags.launch import define_folds, define_launch, launch, ray_options, trainer
from experiments.flags.sets import (
    data,
    define_data,
    define_modules,
    define_report,
    report_folder,
    sets,
)
from experiments.flags.settings import define_settings, settings

__all__ = [
    "data",
    "define_data",
    "define_folds",
    "define_launch",
    "define_modules",
    "define_report",
    "define_settings",
    "launch",
    "ray_options",
    "report_folder",
    "sets",
    "settings",
    "trainer",
]
