"""Flags that decide a training: preset, overrides, where the frames lie, how often a state is saved."""

from __future__ import annotations

from absl import flags

from experiments import _data
from stfer.training import config as config_lib  # light: it imports no JAX

FLAGS = flags.FLAGS
# Fields of the preset that a flag of the same name overrides.
OVERRIDES = ("epochs", "batch_size", "learning_rate", "precision", "recompute_statistics")


def define_flags() -> None:
    """Define the flags that every training command has."""
    flags.DEFINE_list(
        "modules", [], "Python modules to import first, which register architectures."
    )
    flags.DEFINE_enum(
        "preset", None, list(config_lib.PRESETS), "Settings (demo on synthetic data, else paper)."
    )
    flags.DEFINE_integer("epochs", None, "Override the preset's epochs.")
    flags.DEFINE_integer("batch_size", None, "Override the preset's batch size.")
    flags.DEFINE_float("learning_rate", None, "Override the preset's learning rate.")
    flags.DEFINE_integer("seed", None, "Override the preset's seed (0).")
    flags.DEFINE_enum(
        "precision", None, list(config_lib.PRECISIONS), "Override the preset's precision."
    )
    flags.DEFINE_bool(
        "recompute_statistics",
        None,
        "Override the preset: after the last epoch, compute the batch statistics anew over the training clips "
        "(demo does, paper does not).",
    )
    flags.DEFINE_enum(
        "device_data",
        "auto",
        ["auto", "resident", "streamed"],
        "Keep the frames in the device's memory, or stream batches to it.",
    )
    flags.DEFINE_float("checkpoint_seconds", 120.0, "Save a state this often.", lower_bound=0.0)


def resident() -> bool | None:
    """What `--device_data` asks for: resident, streamed, or None for as the memory allows."""
    return {"auto": None, "resident": True, "streamed": False}[FLAGS.device_data]


def config(architecture: str, data: str, seed: int | None) -> config_lib.TrainConfig:
    """The settings of one training: the preset for `data` (the flag's text) with the flags' overrides.

    Raises:
        ValueError: A setting is out of range.
    """
    preset = FLAGS.preset or ("demo" if _data.is_synthetic(data) else "paper")
    overrides = {name: getattr(FLAGS, name) for name in OVERRIDES}
    return config_lib.preset(preset, architecture, seed=seed, **overrides)
