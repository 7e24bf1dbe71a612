"""Files that are whole or not there: write and rename, locks, journals, weights with checksums; a process's memory."""

__all__ = [
    "control_groups",
    "environment",
    "files",
    "freed_memory",
    "identity",
    "journal",
    "locks",
    "tables",
    "weights",
]
