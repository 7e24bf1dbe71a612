"""Files and folders that are there whole or not at all: written under another name, then renamed.

The mode of what is made follows the process's umask, which the kernel applies: to read the umask is to change it,
and another thread that makes a file in between would get no protection.
"""

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stfer.storage.locks import LockedError, lock


def write_atomically(file: str | Path, text: str) -> None:
    """Write a UTF-8 text file in one rename: a reader sees the old content or the new, never a part.

    Raises:
        OSError: The file system refused; names the file.
    """
    write_bytes_atomically(file, text.encode("utf-8"))


def write_bytes_atomically(file: str | Path, data: bytes | bytearray) -> None:
    """Write a file's bytes, on disk before they get the file's name; see `write_atomically`."""
    file = Path(file)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with open(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):  # A full disk's error does not say which file it was.
            raise type(error)(error.errno, error.strerror, str(file)) from error
        raise


def read_json(file: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is not JSON; names the file.
    """
    try:
        return json.loads(Path(file).read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: it is not readable JSON ({error})") from error


def write_json(
    file: str | Path, value: Any, indent: int | None = 2, allow_nan: bool = True
) -> None:
    """Write a JSON file, as `write_atomically`.

    Args:
        file: Its place.
        value: What JSON can hold.
        indent: Spaces a level; None writes one line.
        allow_nan: Write NaN and infinities by these names, which not every reader of JSON takes.

    Raises:
        ValueError: A number is not finite, and they are not allowed.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    write_atomically(file, text + "\n")


def check_new(folder: str | Path) -> None:
    """Raise FileExistsError, with what to do, unless nothing or an empty folder is in a new folder's place."""
    path = Path(folder)
    if os.path.lexists(path) and not _is_empty_folder(path):
        raise FileExistsError(f"{folder} exists already: name a new folder, or remove it first")


@contextlib.contextmanager
def staged_folder(folder: str | Path, replace: bool = False) -> Iterator[Path]:
    """Make a folder whole or not at all: work in the yielded one, which gets the name at the end.

    It lies beside its place under a hidden name, and goes when the work fails. One that a killed process left is
    for `remove_leftovers`.

    Args:
        folder: It must not be there, or be empty; its parents are made.
        replace: What is in its place stays until the new one is complete, and goes then.

    Yields:
        The folder to work in.

    Raises:
        FileExistsError: Something is in its place, before the work or after it.
        LockedError: Another process is making it.
    """
    folder = Path(os.path.abspath(folder))
    if not replace:
        check_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        contextlib.nullcontext() if replace else _only_maker(folder),
        _staged(folder, replace) as staging,
    ):
        yield staging


@contextlib.contextmanager
def _only_maker(folder: Path) -> Iterator[None]:
    """Refuse a second process that would make the same folder, before it has worked in vain."""
    file = folder.with_name(f".{folder.name}.lock")
    with open(file, "w", encoding="utf-8") as stream:
        try:
            lock(stream)
        except BlockingIOError:
            raise LockedError(
                f"another process is making {folder}: wait for it, or name another folder"
            ) from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.unlink()


@contextlib.contextmanager
def _named_full_disk(folder: Path) -> Iterator[None]:
    """A full disk's error does not say where the disk is."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise


@contextlib.contextmanager
def _staged(folder: Path, replace: bool) -> Iterator[Path]:
    staging = folder.with_name(f"{_staging_prefix(folder)}{secrets.token_hex(4)}")
    staging.mkdir()
    try:
        with _named_full_disk(folder):
            yield staging
        if replace and folder.exists():
            os.rename(folder, staging.with_name(f"{staging.name}.old"))
        elif not replace:
            check_new(folder)
        try:
            os.rename(staging, folder)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                check_new(folder)  # Another process was faster.
            raise
    finally:
        _remove_all(staging)


def remove_leftovers(folder: str | Path) -> None:
    """Remove what killed processes left of `staged_folder(folder)`; only where nobody else can be making it."""
    folder = Path(os.path.abspath(folder))
    _remove_all(folder.with_name(_staging_prefix(folder)))


def _staging_prefix(folder: Path) -> str:
    return f".{folder.name}.partial-"


def _remove_all(prefix: Path) -> None:
    """Remove all whose paths begin so: others, such as Orbax, stage a folder beside its place too."""
    for left in glob.glob(f"{glob.escape(str(prefix))}*"):
        shutil.rmtree(left, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and next(path.iterdir(), None) is None
