"""Runs a command: its flags, one-sentence errors, exit codes.

Heavy imports stay inside `main`, so that `--help` answers at once.
"""

import contextlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from absl import app, flags, logging

from experiments.flags import words
from stfer import errors
from stfer.errors import UserError

FLAGS = flags.FLAGS
FAILED, USAGE_ERROR, INTERRUPTED = 1, 2, 130

__all__ = ["FAILED", "USAGE_ERROR", "UserError", "print_paths", "print_settings", "run"]


def run(
    main: Callable[[list[str]], int | None],
    define_flags: Callable[[], None],
    first: Sequence[str] = (),
) -> None:
    """Run a command: define its flags, parse, call `main`, map errors to one sentence and an exit code.

    Exit codes: 0 done; 1 something failed; 2 a bad flag, input or file; 130 interrupted.
    `--debug` lets the traceback through.

    Args:
        main: Does the work; returns the exit code, None for 0.
        define_flags: Defines the command's flags.
        first: Names of the flags that the command's task is about, which `--help` shows first.
    """
    before = set(FLAGS)
    define_flags()
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.")
    own = set(FLAGS) - before
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # A name that the terminal's encoding lacks is written out.
            stream.reconfigure(errors="backslashreplace")

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            return _fail(
                f"unexpected argument {argv[1]!r}; flags are written --name=value", USAGE_ERROR
            )
        logging.set_verbosity(logging.WARNING)
        words.expand_homes(own)
        try:
            words.refuse_empty(own)
            from stfer.storage.freed_memory import keep_freed_memory

            keep_freed_memory()
            return main(argv) or 0
        except KeyboardInterrupt:
            return _fail("interrupted; the same command goes on where it was", INTERRUPTED)
        except Exception as error:
            if FLAGS.debug:
                raise
            if errors.is_for_user(error):
                return _fail(errors.sentence(error), USAGE_ERROR)
            return _fail(errors.unexpected_sentence(error), FAILED)

    # absl prints a usage error with the whole help; one sentence is what a person needs.
    def parse(argv: list[str]) -> list[str]:
        if any(arg in ("--help", "-h", "-help", "--helpshort") for arg in argv[1:]):
            about = (sys.modules["__main__"].__doc__ or "").strip()
            sys.stdout.write(f"{about}\n\n{words.help_text(first)}\n")
            sys.exit(0)
        try:
            return flags.FLAGS(argv, known_only=False)
        except flags.Error as error:
            sys.exit(_fail(f"{error}; --help lists the flags", USAGE_ERROR))

    try:
        with contextlib.suppress(BrokenPipeError):
            app.run(guarded, flags_parser=parse)
    finally:
        # A notebook's process may run a command again, which defines its flags anew.
        for name in own:
            delattr(FLAGS, name)
        FLAGS.unparse_flags()


def _fail(message: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"error: {message}\n")
    return code


def print_settings(title: str, settings: Mapping[str, object]) -> None:
    """Print a command's resolved settings, one a line, before it starts working; what is empty is left out."""
    shown = {name: value for name, value in settings.items() if value not in ("", None, {})}
    width = max(map(len, shown), default=0)
    print(title)
    for name, value in shown.items():
        print(f"  {name:<{width}}  {value}")
    sys.stdout.flush()


def print_paths(paths: Iterable[str | Path]) -> None:
    """Print the paths that a command wrote, as its last lines; nothing where there is none."""
    for number, path in enumerate(paths):
        print(f"  {path}" if number else f"Wrote\n  {path}")
    sys.stdout.flush()
