"""Weights in a folder, written by Orbax and checked on the way back.

Beside the arrays lies a JSON record: what the weights belong to (the identity) and a digest of every array,
so that truncated, altered or foreign weights are told from good ones.
"""

import contextlib
import logging
import os
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from stfer.storage.files import remove_leftovers, staged_folder
from stfer.storage.identity import differences

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that belongs to something else."""


class ForeignCheckpointError(CheckpointError):
    """A good checkpoint of something else."""


def save_weights(
    folder: str | Path, variables: Mapping[str, Any], identity: Mapping[str, Any]
) -> None:
    """Write variables and what they belong to: there whole, or not at all; earlier ones stay until then.

    Args:
        folder: Its place; no other process may be writing it.
        variables: `{"params": ..., "batch_stats": ...}`, arrays of any device.
        identity: JSON-serialisable.

    Raises:
        OSError: The file system refused; nothing is left half-written under that name.
    """
    host = jax.device_get(dict(variables))
    folder = Path(os.path.abspath(folder))
    remove_leftovers(folder)
    with (
        staged_folder(folder, replace=True) as staging,
        writing(folder),  # Waits for threads that still write, before the folder is removed.
        ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer,
    ):
        checkpointer.save(
            staging,
            args=ocp.args.Composite(
                weights=ocp.args.StandardSave(host),
                record=ocp.args.JsonSave(describe(host, identity)),
            ),
            force=True,  # The empty folder is there.
        )
        checkpointer.close()
        # Orbax writes into these where the folder was made, which is nobody's business.
        for file in staging.rglob("commit_success.txt"):
            file.write_text("The checkpoint is whole.\n")


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
            f"checkpoint {folder} cannot be read ({first_line(error)})"
        ) from error
    check_digests(folder, record, weights)
    return {"batch_stats": {}} | dict(weights), record["identity"]


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what Orbax and TensorStore raise, and log with tracebacks, into one OSError that names the folder.

    The process's logging and its hook for unraisable errors are as before afterwards.
    """
    with _without_orbax_tracebacks(), _without_closed_loops() as settle:
        try:
            yield
        except Exception as error:
            settle()
            message = str(error)
            reason = re.search(r"(?:: |\] )([^:\[\]]+?)(?: \[os_error_code=.*)?$", message.strip())
            raise OSError(
                f"checkpoint {folder} could not be written: {reason[1] if reason else first_line(error)}; "
                "the one before it is kept"
            ) from error


@contextlib.contextmanager
def _without_orbax_tracebacks() -> Iterator[None]:
    """Orbax logs each failed array with its traceback; the one error that is raised says it all."""

    def keep(record: logging.LogRecord) -> bool:
        return f"{os.sep}orbax{os.sep}" not in record.pathname

    logger = logging.getLogger("absl")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


@contextlib.contextmanager
def _without_closed_loops() -> Iterator[Callable[[], None]]:
    """TensorStore's threads end after a failed write, and report then that nobody waits for them.

    Yields:
        A function that waits until the reports have ceased.
    """
    hook = sys.unraisablehook
    last = time.monotonic()

    def filtered(unraisable: Any) -> None:
        nonlocal last
        error = unraisable.exc_value
        if isinstance(error, RuntimeError) and str(error) == "Event loop is closed":
            last = time.monotonic()
        else:
            hook(unraisable)

    def settle(quiet: float = 1.0, most: float = 5.0) -> None:
        end = time.monotonic() + most
        while time.monotonic() < min(end, max(last, end - most) + quiet):
            time.sleep(0.02)

    sys.unraisablehook = filtered
    try:
        yield settle
    finally:
        sys.unraisablehook = hook


def describe(tree: Any, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The record beside the arrays of a tree: format, identity, shapes and digests."""
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


def check_digests(where: Path, record: Mapping[str, Any], tree: Any) -> None:
    """Raise CheckpointError unless every array is as its record says that it was written."""
    found, written = _digests(tree), record.get("digests")
    if found != written:
        names = sorted(name for name in found if (written or {}).get(name) != found[name])
        raise CheckpointError(
            f"checkpoint {where} is damaged: {', '.join(names[:3]) or 'its list of arrays'} is not as it was written"
        )


def check_identity(where: Path, record: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise ForeignCheckpointError, naming the fields, unless a record is of this format and identity."""
    if record.get("format") != FORMAT:
        raise ForeignCheckpointError(
            f"checkpoint {where} has format {record.get('format')}; this version reads format {FORMAT}"
        )
    differing = differences(record["identity"], wanted)
    if differing:
        raise ForeignCheckpointError(
            f"checkpoint {where} belongs to other settings: {'; '.join(differing)}"
        )


def first_line(error: BaseException) -> str:
    """An error's first line, for a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
