"""What trains pending folds, as the flags of `experiments.flags.launch` say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from experiments.flags.sets import data

if TYPE_CHECKING:
    from stfer.data.sources import Source
    from stfer.runs.ray import RayOptions

FLAGS = flags.FLAGS


def trainer(source: Source):
    """What trains pending folds: this machine, or the Ray cluster that the flags name."""
    if FLAGS.launcher == "ray":
        from stfer.runs import ray

        return ray.trainer(source, ray_options())
    from stfer.runs.local import train_folds

    return train_folds


def ray_options() -> RayOptions:
    """How folds become tasks of a Ray cluster."""
    from stfer.runs.ray import RayOptions

    return RayOptions(
        FLAGS.ray_address, FLAGS.ray_cpus, FLAGS.ray_gpus, FLAGS.ray_retries, FLAGS.ray_shared_workdir,
        tuple(FLAGS.modules), data().cache,
    )  # fmt: skip
