"""Flags that several commands share."""

from experiments.flags.ends import end_settings, searched_on
from experiments.flags.launch import define_folds, define_launch, launch
from experiments.flags.sets import (
    data,
    define_data,
    define_model,
    define_modules,
    define_report,
    import_modules,
    model_folder,
    report_folder,
    sets,
)
from experiments.flags.settings import (
    define_seeds,
    define_settings,
    is_somebody,
    seeds,
    settings,
)
from experiments.flags.trainers import ray_options, trainer

__all__ = [
    "data",
    "define_data",
    "define_folds",
    "define_launch",
    "define_model",
    "define_modules",
    "define_report",
    "define_seeds",
    "define_settings",
    "end_settings",
    "import_modules",
    "is_somebody",
    "launch",
    "model_folder",
    "ray_options",
    "report_folder",
    "searched_on",
    "seeds",
    "sets",
    "settings",
    "trainer",
]
