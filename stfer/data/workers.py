"""Worker processes of which one may die without the others' work: a decoder can crash on a damaged file.

Each worker does one group of items at a time, so a death is that group's alone: its items are tried again,
each by itself, and one that a worker dies of twice has `Died` for a result.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from stfer.storage.control_groups import MOUNTED, OF_PROCESS, levels

_ATTEMPTS = 2
_NO_QUOTA = 1 << 16


@dataclass(frozen=True)
class Died:
    """What stands for an item's result when workers died of it; `code` is the last one's exit code."""

    code: int

    def __str__(self) -> str:
        if self.code >= 0:
            return f"its worker process ended with exit code {self.code}, {_ATTEMPTS} times"
        name = signal.Signals(-self.code).name if -self.code in _SIGNALS else f"signal {-self.code}"
        text = f"its worker process died of {name}, {_ATTEMPTS} times"
        if -self.code == signal.SIGKILL:
            text += "; perhaps memory ran out: fewer workers need less"
        return text


_SIGNALS = {int(known) for known in signal.Signals}


def usable_cores() -> int:
    """Cores that this process may use: its affinity and its container's quota, at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(cores, cores_of_group()))


def cores_of_group(groups: Path = OF_PROCESS, root: Path = MOUNTED) -> int:
    """Whole cores that the process' control groups (a container, a batch job) allow; a large number without a quota.

    Args:
        groups: As `stfer.storage.control_groups.levels` takes it.
        root: As there.
    """
    return min(map(_quota, levels("cpu", groups, root)), default=_NO_QUOTA)


def _quota(folder: Path) -> int:
    """Whole cores of one control group's quota, of version 2 or 1; a large number without one."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = (
                (folder / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            )
        if quota.strip() != "max" and int(quota) > 0:
            return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass
    return _NO_QUOTA


def run(
    function: Callable[[Sequence[Any]], list[Any]],
    groups: Sequence[Sequence[Any]],
    workers: int,
    set_up: Callable[[], None],
) -> Generator[Any, None, None]:
    """Every item's result, in order.

    Args:
        function: makes a list of results of a group of items; both travel between processes.
        groups: the items, in groups that one worker does together.
        workers: processes; a few groups each wait at most.
        set_up: called once in every worker.

    Raises:
        OSError: a worker dies before it can work.
        Exception: whatever `function` raised in a worker.
    """
    crew = _Crew(function, set_up)
    numbers = iter(range(sum(map(len, groups))))
    todo = deque(_Task([next(numbers) for _ in group], list(group)) for group in groups)
    done: dict[int, Any] = {}
    following, last = 0, sum(map(len, groups))
    try:
        while following < last:
            # Bounded memory: whoever is far ahead of the slowest waits.
            while todo and len(crew.busy) < workers and len(done) <= _ahead(groups, workers):
                crew.give(todo.popleft())
            if following not in done and not crew.busy and todo:
                crew.give(todo.popleft())
            while following in done:
                yield done.pop(following)
                following += 1
            if crew.busy:
                for task, results in crew.collect():
                    if isinstance(results, Died):
                        todo.extendleft(reversed(task.again()))
                        results = [results] if task.is_spent else []
                        done.update(zip(task.numbers, results, strict=False))
                    else:
                        done.update(zip(task.numbers, results, strict=True))
    finally:
        crew.dismiss()


def _ahead(groups: Sequence[Sequence[Any]], workers: int) -> int:
    return 2 * workers * max(map(len, groups), default=1)


@dataclass
class _Task:
    """A group of items with their numbers, and how often a worker died of it."""

    numbers: list[int]
    items: list[Any]
    deaths: int = 0

    @property
    def is_spent(self) -> bool:
        return len(self.items) == 1 and self.deaths >= _ATTEMPTS

    def again(self) -> list["_Task"]:
        """What is to be done after a death: each item by itself."""
        self.deaths += 1
        if self.is_spent:
            return []
        if len(self.items) == 1:
            return [self]
        return [_Task([n], [item]) for n, item in zip(self.numbers, self.items, strict=True)]


class _Crew:
    """The processes: idle ones, and busy ones with their tasks."""

    def __init__(self, function: Callable, set_up: Callable[[], None]):
        # Forking a process that runs JAX's threads can deadlock; spawned ones import only what they need.
        self._context = multiprocessing.get_context("spawn")
        self._start = (function, set_up)
        self.idle: list[tuple[BaseProcess, Connection]] = []
        self.busy: dict[Connection, tuple[BaseProcess, _Task]] = {}

    def give(self, task: _Task) -> None:
        """Give a task to an idle worker, or to a new one."""
        process, connection = self.idle.pop() if self.idle else self._hire()
        with contextlib.suppress(OSError):  # One that has died; collecting finds that out.
            connection.send(task.items)
        self.busy[connection] = (process, task)

    def collect(self) -> list[tuple[_Task, list[Any] | Died]]:
        """Wait until at least one worker has finished or died; its task with the results or `Died`."""
        found: list[tuple[_Task, list[Any] | Died]] = []
        for connection in cast(list[Connection], wait(list(self.busy))):
            process, task = self.busy.pop(connection)
            try:
                results, error = connection.recv()
            except (EOFError, OSError):
                process.join()
                connection.close()
                found.append((task, Died(process.exitcode or 0)))
                continue
            self.idle.append((process, connection))
            if error is not None:
                raise error
            found.append((task, results))
        return found

    def dismiss(self) -> None:
        """End all processes, whatever they are at."""
        for connection, (process, _) in self.busy.items():
            process.kill()
            connection.close()
        for _, connection in self.idle:
            connection.close()
        for process in [p for p, _ in self.busy.values()] + [p for p, _ in self.idle]:
            process.join()

    def _hire(self) -> tuple[BaseProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, *self._start), daemon=True)
        process.start()
        theirs.close()
        try:
            ours.recv()
        except EOFError:
            process.join()
            raise OSError(
                f"a worker process could not start (exit code {process.exitcode})"
            ) from None
        return process, ours


def _serve(connection: Connection, function: Callable, set_up: Callable[[], None]) -> None:
    """A worker's life: one group after the other until the parent closes the connection."""
    # Ctrl-C is the parent's to handle; and a killed parent must not leave workers waiting for ever.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    set_up()
    connection.send(None)
    while True:
        try:
            items = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: tuple[Any, Exception | None] = (function(items), None)
        except Exception as error:
            error.add_note("".join(traceback.format_exception(error)))
            answer = (None, error)
        connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
