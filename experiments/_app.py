"""What every command shares: flags, one-sentence errors, JAX set-up, printed settings and paths.

Heavy imports stay inside functions so that `--help` answers at once.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from absl import app, flags, logging

from experiments._memory import keep_freed_memory

FLAGS = flags.FLAGS
FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130


class UserError(Exception):
    """A mistake of the user's that one sentence explains; `run` prints it and exits with code 2."""


def default_cache_dir() -> str:
    """The folder for generated sets and compiled programs: $STFER_CACHE_DIR or the user's cache folder."""
    import platformdirs

    return os.environ.get("STFER_CACHE_DIR") or platformdirs.user_cache_dir("stfer")


def run(main: Callable[[list[str]], int | None], define_flags: Callable[[], None]) -> None:
    """Run a command: define its flags, parse, call `main`, map errors to one sentence and an exit code.

    Exit codes: 0 done; 1 something failed; 2 a bad flag, input or file; 130 interrupted.
    `--debug` lets the traceback through.
    """
    define_flags()
    flags.DEFINE_bool("debug", False, "Show the traceback of an error.")

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            _fail(f"unexpected argument {argv[1]!r}; flags are written --name=value")
            return USAGE_ERROR
        logging.set_verbosity(logging.WARNING)
        keep_freed_memory()
        try:
            return main(argv) or 0
        except KeyboardInterrupt:
            _fail("interrupted; the same command goes on where it was")
            return INTERRUPTED
        except (UserError, ValueError, OSError, ImportError) as error:
            if FLAGS.debug:
                raise
            _fail(_sentence(error))
            return USAGE_ERROR
        except (
            Exception
        ) as error:  # A device that is not there, memory that is not enough, a fault of ours.
            if FLAGS.debug:
                raise
            _fail(f"{type(error).__name__}: {_sentence(error)} (--debug shows where)")
            return FAILED

    # absl prints a usage error with the whole help; one sentence is what a person needs.
    def parse(argv: list[str]) -> list[str]:
        try:
            return flags.FLAGS(argv, known_only=False)
        except flags.Error as error:
            _fail(f"{error}; --help lists the flags")
            sys.exit(USAGE_ERROR)

    with contextlib.suppress(BrokenPipeError):
        app.run(guarded, flags_parser=_with_help(parse))


def _with_help(parse: Callable[[list[str]], list[str]]) -> Callable[[list[str]], list[str]]:
    def parser(argv: list[str]) -> list[str]:
        if any(arg in ("--help", "-h", "-help", "--helpshort") for arg in argv[1:]):
            about = (sys.modules["__main__"].__doc__ or "").strip()
            sys.stdout.write(f"{about}\n\nFlags:\n{_help_of_own_flags()}\n")
            sys.exit(0)
        return parse(argv)

    return parser


def _help_of_own_flags() -> str:
    """Help for the flags that the commands define (absl's own are noise to a reader), by name."""
    own = flags.FlagValues()
    for module, defined in FLAGS.flags_by_module_dict().items():
        if module == "__main__" or "experiments" in module:
            for flag in defined:
                own[flag.name] = flag
    return own.get_help(include_special_flags=False)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        names = " -> ".join(str(n) for n in (error.filename, error.filename2) if n is not None)
        return f"{names}: {error.strerror}" if names else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _fail(sentence: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"error: {sentence}\n")


def print_settings(title: str, settings: Mapping[str, object]) -> None:
    """Print a command's resolved settings, one a line, before it starts working."""
    width = max(map(len, settings), default=0)
    print(title)
    for name, value in settings.items():
        print(f"  {name:<{width}}  {value}")
    sys.stdout.flush()


def print_votes(votes: Mapping[str, Mapping], classes: Sequence[str]) -> None:
    """Print both votes' accuracy and the summed vote's confusion matrix."""
    for vote, numbers in votes.items():
        interval = numbers["accuracy_interval"]
        spread = f", 95 % interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        recall, chance = numbers["unweighted_average_recall"], numbers["chance"]
        print(
            f"  accuracy ({vote}) {numbers['accuracy']:.3f}{spread}; average recall {recall:.3f}; "
            f"chance {chance:.3f}"
        )
    width = max(map(len, classes))
    print("  confusion matrix, summed vote (rows: true class; columns: predicted)")
    print("  " + " " * width + "".join(f"  {name[:5]:>5}" for name in classes))
    for name, row in zip(classes, votes["summed"]["confusion_matrix"], strict=True):
        print(f"  {name:<{width}}" + "".join(f"  {count:>5}" for count in row))


def print_paths(paths: Iterable[str | Path]) -> None:
    """Print the paths that a command wrote, as its last lines."""
    print("Wrote")
    for path in paths:
        print(f"  {path}")
    sys.stdout.flush()


def set_up_jax(cache_dir: str | Path, compilation_cache: bool = True) -> None:
    """Configure JAX for a command: the persistent compilation cache under `cache_dir/xla`.

    A user's own $JAX_COMPILATION_CACHE_DIR stays as it is.
    Call before the first computation. Compiled programs are keyed by JAX version, backend and program.
    """
    import jax

    if compilation_cache and not jax.config.jax_compilation_cache_dir:
        folder = Path(cache_dir) / "xla"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return  # A read-only home costs compile time, nothing else.
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
