"""How much memory may still be taken: by a set beside its trainings, by folds side by side, by a batch job."""

import contextlib
from pathlib import Path

import psutil

from stfer.storage.control_groups import MOUNTED, OF_PROCESS, levels


def fits(nbytes: int, folds: int = 1) -> bool:
    """Whether a set of clips fits on the device beside its trainings.

    A training has at least twice the memory of the set: the set takes at most a third of what is free beside one
    fold, a fifth beside two.

    Args:
        nbytes: What the set takes.
        folds: How many folds train on the device side by side.
    """
    free = _free()
    # Without statistics (another allocator than JAX's own) nothing is known: small sets alone are kept.
    return nbytes <= (3 << 30 if free is None else free) / (1 + 2 * folds)


def check_folds(state_bytes: int, folds: int) -> None:
    """Refuse more folds side by side than a device has memory for.

    A fold takes its train state and, in a step, as much again for gradients and the new state; what its batch takes
    comes on top, so that less than what is refused may still be too much.

    Args:
        state_bytes: What one fold's train state takes.
        folds: How many folds are to train on each device.

    Raises:
        ValueError: Says what they take, and how many at most would fit.
    """
    free, one = _free(), 2 * state_bytes
    if free is not None and folds * one > free:
        raise ValueError(
            f"--folds_per_device={folds} takes {folds * one / 1e9:.1f} GB for the folds' states alone and "
            f"{_each_device()} has {free / 1e9:.1f} GB free; give at most {max(int(free // one), 1)}"
        )


def _free() -> float | None:
    """Bytes that are free on each device; None where nothing is known of it.

    The devices of a processor have one memory together: each has its share.
    """
    import jax

    device = jax.local_devices()[0]
    if device.platform == "cpu":
        available = min(psutil.virtual_memory().available, left_to_group())
        return available / jax.local_device_count()
    memory = device.memory_stats() or {}
    if "bytes_limit" not in memory:
        return None
    return memory["bytes_limit"] - memory.get("bytes_in_use", 0)


def _each_device() -> str:
    import jax

    count = jax.local_device_count()
    return "the device" if count == 1 else f"each of the {count} devices"


def left_to_group(groups: Path = OF_PROCESS, root: Path = MOUNTED) -> float:
    """Bytes that the process' control groups (a batch job, a container) may still take; infinite without a limit.

    Args:
        groups: As `stfer.storage.control_groups.levels` takes it.
        root: As there.
    """
    return min(map(_left_at, levels("memory", groups, root)), default=float("inf"))


_VERSIONS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def _left_at(folder: Path) -> float:
    """Bytes that one control group, of version 2 or 1, may still take; infinite without a limit."""
    for limit, used, droppable in _VERSIONS:
        # Without the files there is no such group here or it is of the other version; "max" is no limit.
        with contextlib.suppress(OSError, ValueError, KeyError):
            parts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            room = int((folder / limit).read_text()) - int((folder / used).read_text())
            return room + int(parts[droppable])  # files in memory, which the system lets go of
    return float("inf")
