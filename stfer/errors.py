"""Errors that are raised for the user, told from faults: the first are one sentence, the second need their traceback.

An error is for the user when stfer itself raised it on purpose, where the mistake was visible, as all its rooms do;
when the system refused a file or a device that was asked for; or when it is a `UserError`, which code from
outside may raise. Whatever else comes up, from a researcher's own model or from a fault of ours, is unexpected.
"""

import dis
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

_OURS = (Path(__file__).parent, Path(__file__).parent.parent / "experiments")
_LIBRARY = Path(sysconfig.get_path("stdlib"))
_RAISE = dis.opmap["RAISE_VARARGS"]
TRACEBACK = "error.txt"


class UserError(ValueError):
    """A mistake of the user's that one sentence explains; for readers, models and tasks from outside."""


def is_for_user(error: BaseException) -> bool:
    """Whether the error's message is all that its reader needs."""
    if isinstance(error, UserError):
        return True
    frames = list(_frames(error.__traceback__))
    if not frames:
        return False
    last = frames[-1]
    if isinstance(error, OSError) and error.errno is not None:
        # The system's own refusal: of a call of ours, at most through the standard library.
        callers = [f for f in frames if not _is_in(f, _LIBRARY)]
        return bool(callers) and _is_ours(callers[-1])
    raised = last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE
    return (
        _is_ours(last)
        and raised
        and isinstance(error, ValueError | OSError | ImportError | RuntimeError)
    )


def sentence(error: BaseException) -> str:
    """The error's message in one line, with the file's name where the system gives one."""
    if isinstance(error, OSError) and error.strerror:
        names = " -> ".join(str(n) for n in (error.filename, error.filename2) if n is not None)
        return f"{names}: {error.strerror}" if names else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def unexpected_sentence(error: BaseException) -> str:
    """What came up and where: the innermost line that is not in an installed package, else the innermost."""
    summary = traceback.extract_tb(error.__traceback__)
    installed = sysconfig.get_path("purelib")
    outside = [
        line for line in summary if not line.filename.startswith((installed, str(_LIBRARY), "<"))
    ]
    place = (outside or summary)[-1] if summary else None
    where = f" in {place.filename}, line {place.lineno}" if place else ""
    notes = "".join(
        f"; {note}" for note in getattr(error, "__notes__", ()) if note.startswith("its ")
    )
    return f"unexpected {type(error).__name__}{where}: {sentence(error)}{notes} (--debug shows all)"


def keep_traceback(error: BaseException, folder: Path) -> None:
    """Write an unexpected error's traceback into a run's folder, and say so in a note of the error."""
    if is_for_user(error) or not folder.is_dir():
        return
    (folder / TRACEBACK).write_text("".join(traceback.format_exception(error)), "utf-8")
    error.add_note(f"its traceback is in {folder / TRACEBACK}")


def _frames(innermost: TracebackType | None):
    while innermost is not None:
        yield innermost
        innermost = innermost.tb_next


def _is_ours(frame: TracebackType) -> bool:
    return any(_is_in(frame, folder) for folder in _OURS)


def _is_in(frame: TracebackType, folder: Path) -> bool:
    return Path(frame.tb_frame.f_code.co_filename).is_relative_to(folder)
