"""Checkpoints of one fold: train state and position, written by Orbax, checked on the way back.

While a fold trains, `training/` holds its last two states. When it has ended, `checkpoint/` holds the
weights alone (parameters and batch statistics of the last epoch) and `training/` goes. Beside the
arrays lies a JSON record: what the weights belong to (the identity) and a digest of every array, so
that a truncated, altered or foreign checkpoint is told from a good one.
"""

import contextlib
import logging
import os
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from stfer.evaluation.results import differences
from stfer.training.step import TrainState

_log = logging.getLogger(__name__)
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that belongs to something else."""


class ForeignCheckpointError(CheckpointError):
    """A good checkpoint of something else."""


class FoldCheckpoints:
    """The checkpoints of one fold.

    Args:
        folder: The fold's folder; made when the first checkpoint is written.
        identity: JSON-serialisable settings that the state belongs to.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]):
        self._folder = Path(os.path.abspath(folder))
        self._identity = dict(identity)

    @property
    def identity(self) -> dict[str, Any]:
        """What the state belongs to."""
        return dict(self._identity)

    @property
    def _training(self) -> Path:
        return self._folder / "training"

    @property
    def weights(self) -> Path:
        """Where the finished fold's weights are."""
        return self._folder / "checkpoint"

    def save(self, state: TrainState, progress: Mapping[str, Any]) -> None:
        """Write the state and the position; an earlier good checkpoint stays until this one is complete.

        A state with a number that is not finite is not written: training could not go on from it.

        Raises:
            OSError: The file system refused; names the folder.
        """
        host = jax.device_get(state)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(host)):
            return
        with _written(self._training), self._manager() as manager:
            taken = set(manager.all_steps())
            number = max(taken, default=-1) + 1
            manager.save(
                number,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(host),
                    record=ocp.args.JsonSave(
                        _record(host, self._identity) | {"progress": dict(progress)}
                    ),
                ),
                force=True,
            )

    def restore(self, template: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
        """Return the newest complete state and its position, or None where there is none.

        A checkpoint that does not read back as it was written is passed over with a warning; the one
        before it is taken, or training starts anew.

        Raises:
            CheckpointError: A complete checkpoint belongs to other settings; names the fields.
        """
        if not self._training.is_dir():
            return None
        abstract = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), template)
        with self._manager() as manager:
            for number in sorted(manager.all_steps(), reverse=True):
                where = self._training / str(number)
                try:
                    record = manager.restore(
                        number, args=ocp.args.Composite(record=ocp.args.JsonRestore())
                    )["record"]
                    _check_identity(where, record, self._identity)
                    state = manager.restore(
                        number, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
                    )["state"]
                    _check_digests(where, record, state)
                except ForeignCheckpointError:
                    raise
                except CheckpointError as error:
                    _log.warning("%s; passing it over", error)
                except (
                    Exception
                ) as error:  # Orbax and TensorStore raise many kinds for a broken file.
                    _log.warning(
                        "checkpoint %s cannot be read (%s); passing it over",
                        where,
                        _first_line(error),
                    )
                else:
                    return state, record["progress"]
        return None

    def discard_training(self) -> None:
        """Remove the states of the training that has ended."""
        shutil.rmtree(self._training, ignore_errors=True)

    def _manager(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2, enable_async_checkpointing=False, cleanup_tmp_directories=True
        )
        return ocp.CheckpointManager(self._training, options=options)


def save_weights(folder: Path, variables: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Write `{"params": ..., "batch_stats": ...}` and what they belong to: there whole, or not at all.

    Raises:
        OSError: The file system refused; nothing is left half-written under that name.
    """
    host = jax.device_get(dict(variables))
    folder = Path(os.path.abspath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place first: what lies there stays until the new one is complete.
    fresh = folder.with_name(f".{folder.name}.new")
    _remove_all(fresh)
    try:
        with (
            _written(folder),
            ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer,
        ):
            checkpointer.save(
                fresh,
                args=ocp.args.Composite(
                    weights=ocp.args.StandardSave(host),
                    record=ocp.args.JsonSave(_record(host, identity)),
                ),
            )
            if folder.exists():
                os.rename(folder, folder.with_name(f"{fresh.name}.old"))
            os.rename(fresh, folder)
    finally:
        _remove_all(fresh)


def _remove_all(fresh: Path) -> None:
    """Remove a folder being written, and what Orbax leaves beside it when it is killed."""
    for left in fresh.parent.glob(f"{fresh.name}*"):
        shutil.rmtree(left, ignore_errors=True)


def load_weights(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `save_weights` wrote.

    Returns:
        The variables as NumPy arrays, and the identity they were saved with.

    Raises:
        FileNotFoundError: There is no checkpoint.
        CheckpointError: It cannot be read, or an array differs from what was written.
    """
    folder = Path(os.path.abspath(folder))
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} holds no checkpoint")
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            record = checkpointer.restore(
                folder, args=ocp.args.Composite(record=ocp.args.JsonRestore())
            )["record"]
            abstract = jax.tree.map(_empty, record["arrays"])
            weights = checkpointer.restore(
                folder, args=ocp.args.Composite(weights=ocp.args.StandardRestore(abstract))
            )["weights"]
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {folder} cannot be read ({_first_line(error)})"
        ) from error
    _check_digests(folder, record, weights)
    weights = {"batch_stats": {}} | dict(weights)
    return weights, record["identity"]


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Turn what Orbax and TensorStore raise, and log with tracebacks, into one OSError that names the folder."""
    before, hook = absl.logging.get_verbosity(), sys.unraisablehook
    absl.logging.set_verbosity(absl.logging.FATAL)
    sys.unraisablehook = _without_closed_loops(hook)
    try:
        yield
        sys.unraisablehook = hook
    except Exception as error:
        message = str(error)
        reason = re.search(r"(?:: |\] )([^:\[\]]+?)(?: \[os_error_code=.*)?$", message.strip())
        raise OSError(
            f"checkpoint {folder} could not be written: {reason[1] if reason else _first_line(error)}; "
            "the one before it is kept"
        ) from error
    finally:
        absl.logging.set_verbosity(before)


def _without_closed_loops(hook: Callable) -> Callable:
    """TensorStore's threads end after a failed write, and report then that nobody waits for them."""

    def filtered(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            hook(unraisable)

    return filtered


def _record(tree: Any, identity: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "identity": dict(identity),
        "arrays": jax.tree.map(_described, dict(tree) if isinstance(tree, Mapping) else None),
        "digests": _digests(tree),
    }


def _described(leaf: np.ndarray) -> str:
    return f"{leaf.dtype} {' '.join(map(str, leaf.shape))}"


def _empty(description: str) -> np.ndarray:
    dtype, *shape = description.split()
    return np.empty([int(length) for length in shape], dtype)


def _digests(tree: Any) -> dict[str, int]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): zlib.crc32(
            np.ascontiguousarray(leaf)
        )
        for path, leaf in leaves
    }


def _check_digests(where: Path, record: Mapping[str, Any], tree: Any) -> None:
    found, written = _digests(tree), record.get("digests")
    if found != written:
        names = sorted(name for name in found if (written or {}).get(name) != found[name])
        raise CheckpointError(
            f"checkpoint {where} is damaged: {', '.join(names[:3]) or 'its list of arrays'} is not as it was written"
        )


def _check_identity(where: Path, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    if record.get("format") != FORMAT:
        raise ForeignCheckpointError(
            f"checkpoint {where} has format {record.get('format')}; this version reads format {FORMAT}"
        )
    differing = differences(record["identity"], wanted)
    if differing:
        raise ForeignCheckpointError(
            f"checkpoint {where} belongs to other settings: {'; '.join(differing)}"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
