"""Advisory locks between processes, with their owners' names; a dead owner's lock is free at once."""

import contextlib
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


class LockedError(OSError):
    """Another live process holds the lock; the message names it."""


@contextlib.contextmanager
def held(
    file: str | Path,
    what: str,
    *,
    shared: bool = False,
    wait: bool = False,
    advice: str = "wait for it",
) -> Iterator[None]:
    """Hold a lock file against other processes; the kernel lets go when the process dies.

    Args:
        file: Made where it is not there; it stays.
        what: What is worked on, for the error's sentence.
        shared: Allow others that ask for a shared hold too.
        wait: For another owner to let go, instead of raising.
        advice: The error's last words.

    Raises:
        LockedError: Another process holds it.
    """
    file = Path(file)
    with file.open("a+", encoding="utf-8") as stream:
        try:
            lock(stream, shared, wait)
        except BlockingIOError:
            raise LockedError(
                f"{_owners(stream)} is working on {what} in {file.parent}; {advice}"
            ) from None
        if not shared:
            stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        yield


def lock(stream: IO[Any], shared: bool = False, wait: bool = False) -> None:
    """Lock an open file until it is closed.

    Raises:
        BlockingIOError: Another process, or another opening in this one, holds it.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(stream, kind if wait else kind | fcntl.LOCK_NB)


def _owners(stream: IO[str]) -> str:
    """Who is named in a lock's file, but for processes of this machine that are gone."""
    stream.seek(0)
    alive = []
    for name in stream.read().split("\n"):
        found = re.fullmatch(r"process (\d+) on (.+)", name)
        if found and not (found[2] == socket.gethostname() and _is_gone(int(found[1]))):
            alive.append(name)
    return ", ".join(dict.fromkeys(alive)) or "another process"


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
