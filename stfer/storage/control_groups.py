"""The control groups that a process is in (Linux): a container or a batch job has its limits in their files."""

import contextlib
from pathlib import Path

OF_PROCESS = Path("/proc/self/cgroup")
MOUNTED = Path("/sys/fs/cgroup")


def levels(controller: str, groups: Path = OF_PROCESS, root: Path = MOUNTED) -> list[Path]:
    """The folders of all groups that may limit the process: a limit may be set at any level from its own group up.

    A hierarchy of version 1 has a folder of the controller's name below the root; that of version 2 is the root
    itself. Nothing is said of whether a folder, or a limit in it, is there.

    Args:
        controller: What is limited, such as "cpu" or "memory".
        groups: The file that names the process' groups, a line a hierarchy.
        root: Where the hierarchies are mounted.

    Returns:
        Of each hierarchy the process' own group first and the top last; none where the system has no groups.
    """
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            top = root / controller if controllers else root
            folder = top / path.lstrip("/")
            own_and_above = [folder, *folder.parents]
            found += own_and_above[: own_and_above.index(top) + 1]
    return found
