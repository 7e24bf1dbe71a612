"""Flags that say which folds are trained, how and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from stfer.runs.local import Launch

FLAGS = flags.FLAGS


def define_folds() -> None:
    """Define the flags that say which folds are run and where their results go."""
    flags.DEFINE_string(
        "protocol",
        "loso",
        "Which subjects are held out together: loso, kfold, or one of --modules.",
    )
    flags.DEFINE_string("workdir", "runs", "Folder for results.")
    flags.DEFINE_list(
        "subjects", None, "Hold out only these subjects (default: every one in turn)."
    )
    flags.DEFINE_integer(
        "max_folds", None, "Stop after this many folds (preset demo: 8).", lower_bound=1
    )


def define_launch(shares: bool = True, ray: bool = True) -> None:
    """Define the flags that say how and where folds are trained; `shares` by several processes, `ray` on a cluster."""
    flags.DEFINE_enum("parallel", "auto", ["auto", "folds", "batch", "none"],
        "With several devices: one fold a device, or each batch split over them (auto: what fits).")  # fmt: skip
    flags.DEFINE_enum("device_data", "auto", ["auto", "resident", "streamed"],
        "Keep the frames in the device's memory, or stream batches to it.")  # fmt: skip
    flags.DEFINE_float("checkpoint_seconds", 120.0, "Save a state this often.", lower_bound=0.0)
    if shares or ray:
        flags.DEFINE_integer(
            "folds_per_device", 1, "Folds that train side by side on each device.", lower_bound=1
        )
    if shares:
        _define_shares()
    if ray:
        _define_ray()


def _define_shares() -> None:
    flags.DEFINE_integer(
        "shares",
        1,
        "Processes that share the folds (array jobs on one file system).",
        lower_bound=1,
    )
    flags.DEFINE_integer("share", None, "Which of them this is, from 0.", lower_bound=0)
    flags.DEFINE_bool("merge", False, "Train nothing; pool what the shares have finished.")


def _define_ray() -> None:
    flags.DEFINE_enum("launcher", "local", ["local", "ray"], "Train here, or on a Ray cluster.")
    flags.DEFINE_string(
        "ray_address", "auto", "The cluster: auto, HOST:PORT, or local for one on this machine."
    )
    flags.DEFINE_float(
        "ray_cpus", None, "Cores a fold (default: up to 4, with a GPU 1).", lower_bound=0
    )
    flags.DEFINE_float(
        "ray_gpus", None, "GPUs a fold (default: 1 where there are any).", lower_bound=0
    )
    flags.DEFINE_integer("ray_retries", 3, "Tries after a lost node or worker.", lower_bound=0)
    flags.DEFINE_bool("ray_shared_workdir", False,
        "The nodes see --workdir too: states are saved there, and a retried fold goes on from them.")  # fmt: skip


def launch() -> Launch:
    """How and where folds are trained, as the flags say.

    Raises:
        ValueError: The flags do not fit together.
    """
    from stfer.runs.local import Launch

    resident = {"auto": None, "resident": True, "streamed": False}[FLAGS.device_data]
    beside = FLAGS.folds_per_device if "folds_per_device" in FLAGS else 1
    if beside > 1 and "launcher" in FLAGS and FLAGS.launcher == "ray":
        raise ValueError(
            "--launcher=ray trains one fold a task: leave --folds_per_device out, and lower --ray_gpus for several "
            "tasks on one GPU"
        )
    if "shares" not in FLAGS:
        return Launch(FLAGS.parallel, resident, FLAGS.checkpoint_seconds, folds_per_device=beside)
    if FLAGS.shares > 1 and FLAGS.share is None and not FLAGS.merge:
        raise ValueError("--shares needs --share, from 0 to shares - 1")
    if FLAGS.share is not None and FLAGS.merge:
        raise ValueError("--merge comes after the shares: give it without --share")
    if FLAGS.share is not None and FLAGS.launcher == "ray":
        raise ValueError("--launcher=ray shares the folds out itself: leave --share out")
    return Launch(
        FLAGS.parallel, resident, FLAGS.checkpoint_seconds, FLAGS.shares, FLAGS.share, beside
    )
