"""`--data`: the embedded synthetic set, made on first use, or one or more shard folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from experiments import _app

if TYPE_CHECKING:
    from stfer.data.shards import Shards

FLAGS = flags.FLAGS
SYNTHETIC = "synthetic"


def define_flags() -> None:
    """Define the flags of a command that reads shards."""
    flags.DEFINE_string(
        "data",
        SYNTHETIC,
        "The set: 'synthetic' (made on first use), a shard folder that experiments.preprocess wrote, "
        "or several folders separated by commas.",
    )
    flags.DEFINE_string(
        "cache_dir",
        None,
        "Folder for generated sets, and for compiled programs unless $JAX_COMPILATION_CACHE_DIR names one.",
    )
    flags.DEFINE_integer(
        "synthetic_subjects", 8, "Subjects of the synthetic set.", lower_bound=2, upper_bound=999
    )
    flags.DEFINE_integer("synthetic_seed", 0, "Seed of the synthetic set.", lower_bound=0)
    flags.DEFINE_integer("workers", None, "Processes for making the synthetic set (all cores).")


def is_synthetic(data: str) -> bool:
    """Whether `--data` names the embedded set."""
    return data == SYNTHETIC


def cache_dir() -> str:
    """The folder of `--cache_dir`, or the default one."""
    return FLAGS.cache_dir or _app.default_cache_dir()


def folders(data: str) -> str:
    """The shard folders that `--data` names, separated by commas; the synthetic set is made if it is not there."""
    found = []
    for name in (part.strip() for part in data.split(",")):
        if is_synthetic(name):
            from stfer.data.synthetic import default

            folder = default.ensure(
                cache_dir(), FLAGS.synthetic_subjects, FLAGS.synthetic_seed, FLAGS.workers
            )
            found.append(str(folder))
        else:
            found.append(name)
    return ",".join(found)


def load(data: str) -> Shards:
    """Open what `--data` names; see `folders`.

    Raises:
        FileNotFoundError: A folder is not there or holds no shards.
        ValueError: A shard is damaged, or sets do not fit together.
    """
    from stfer.data import shards

    return shards.load_data(folders(data))
