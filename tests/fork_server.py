"""Commands in forked children of a process that has imported everything: they start in a moment.

A command is seconds of imports and a moment of work in most tests. One server a test process has done the imports and
has not started JAX's backend, so a child is as fresh as a new process in all that matters to most tests; one that is
about start-up, imports or the interpreter's own flags takes a process of its own.

A test process that will run many tests needs the same imports: it forks its server before it sets JAX up (`start`).
"""

import atexit
import contextlib
import faulthandler
import functools
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import psutil

from patience import PATIENCE

ROOT = Path(__file__).parents[1]


class _Server:
    """The process that forks; one is enough for a test process, see `start`."""

    def __init__(self):
        fresh = "jax" not in sys.modules
        self._requests, self._answers, self._wait = _forked() if fresh else _spawned()
        atexit.register(self._close)

    def ask(self, request: dict) -> str:
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        return self._answers.readline()

    def _close(self) -> None:
        self._requests.close()
        self._answers.close()
        self._wait()


def _spawned() -> tuple[TextIO, TextIO, Callable[[], object]]:
    """A new process: this one has imported JAX, and may have threads that a fork would break."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
    )
    return process.stdin, process.stdout, process.wait


def _forked() -> tuple[TextIO, TextIO, Callable[[], object]]:
    """A fork of this process, which does the imports for both."""
    _import_libraries()
    (asked, ask), (said, say) = os.pipe(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # The runner's thread waits for words.
        process = os.fork()
    if not process:
        try:
            _leave_pytest(kept=(asked, say))
            tests = str(ROOT / "tests")
            path = [p for p in sys.path if p not in ("", str(ROOT)) and not p.startswith(tests)]
            with open(asked) as words, open(say, "w") as answers:
                _serve(words, answers, [str(ROOT), *path])
        finally:
            os._exit(0)
    os.close(asked)
    os.close(say)
    return open(ask, "w"), open(said), lambda: os.waitpid(process, 0)


def _leave_pytest(kept: tuple[int, ...]) -> None:
    """Undo what pytest has done to this process: its files, streams and hooks."""
    faulthandler.disable()
    first = 3
    for number in (*sorted(kept), os.sysconf("SC_OPEN_MAX")):
        os.closerange(first, number)
        first = number + 1
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1, errors="backslashreplace")  # noqa: SIM115
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__


start = functools.cache(_Server)


class Command:
    """A command under way; its own process group.

    Args:
        words: The command's name and flags.
        out: File of what it prints, and of its errors unless they have one of their own.
        errors: File of its errors.
        cwd: Where it runs; a folder that modules are found in, as with `python -m`.
        draw: Whether it draws figures, which takes longer than all else in a tiny run.
        code: Python code to run instead of a command of ours; the words are its arguments.
        environment: What differs from this process's environment.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        out: Path,
        errors: Path | None = None,
        cwd: str | Path = ROOT,
        draw: bool = False,
        code: str = "",
        **environment: str,
    ):
        self._out = out
        self.code: int | None = None
        request = {"words": words, "out": str(out), "errors": str(errors or ""), "cwd": str(cwd)}
        request |= {"draw": draw, "code": code, "environment": dict(os.environ) | environment}
        self.process = int(start().ask(request))

    @property
    def printed(self) -> str:
        return self._out.read_text(errors="replace") if self._out.exists() else ""

    def wait(self) -> int:
        """The exit code; negative for a signal."""
        if self.code is None:
            self.code = int(start().ask({"wait": self.process}))
        return self.code

    def ended(self) -> bool:
        if self.code is None:
            answer = start().ask({"poll": self.process}).strip()
            self.code = None if answer == "running" else int(answer)
        return self.code is not None

    def processor_seconds(self) -> float:
        """What it has used of its processor, up to now or to its end."""
        if self.ended():
            return float(start().ask({"seconds": self.process}))
        used = psutil.Process(self.process).cpu_times()
        return used.user + used.system

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, number)

    def wait_until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Watch until the condition holds; False when the command ended before it did."""
        until = time.monotonic() + seconds
        while not condition():
            if self.ended():
                return False
            assert time.monotonic() < until, f"nothing happened:\n{self.printed}"
            time.sleep(0.002)
        return True


class Forks:
    """Start and run `experiments.loso`, to be watched and killed.

    Args:
        folder: For what the commands print, and for their compiled programs: killed in the middle of writing one, they
            must not leave it to others.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._count = 0
        self._own = {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "xla"),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT / "tests/experiments")]),
        }

    def start(self, *flags: str, **environment: str) -> Command:
        """Start a command."""
        self._count += 1
        out = self._folder / f"output-{self._count}.txt"
        return Command(("loso", *flags), out, **self._own | environment)

    def run(self, *flags: str, **environment: str) -> tuple[int, str]:
        """A command's exit code and all that it printed."""
        command = self.start(*flags, **environment)
        return command.wait(), command.printed


def _child(request: dict, path: list[str]) -> None:
    os.setsid()
    started_with = dict(os.environ)
    os.environ.clear()
    os.environ.update(request["environment"])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [request["cwd"], *filter(None, given), *path]
    _redirect(request["out"], request["errors"] or request["out"])
    code = 1
    try:
        os.chdir(request["cwd"])
        _set_jax(started_with)
        code = _run(request)
    except SystemExit as leave:
        code = leave.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(out: str, errors: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = (
        os.open(os.devnull, os.O_RDONLY),
        os.open(out, flags, 0o666),
        os.open(errors, flags, 0o666),
    )
    for target, source in enumerate(files):
        os.dup2(source, target)


def _set_jax(started_with: dict) -> None:
    """JAX read its variables when the server imported it; what differs here is set."""
    import jax

    for name, value in os.environ.items():
        if name.startswith("JAX_") and value != started_with.get(name) and name != "JAX_PLATFORMS":
            option = name.lower()
            is_bool = isinstance(getattr(jax.config, option), bool)
            jax.config.update(option, value == "true" if is_bool else value)
    jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS"))


def _run(request: dict) -> int:
    if request["code"]:
        sys.argv = ["-c", *request["words"]]
        exec(request["code"], {"__name__": "__main__"})
        return 0
    from experiments import command
    from stfer.reporting import figures

    name, *flags = request["words"]
    module = sys.modules["__main__"] = importlib.import_module(f"experiments.{name}")
    sys.argv = [name, *flags]
    if not request["draw"]:
        figures.draw_run = lambda *folders: []
    _spoil()
    command.run(module.main, module.define_flags)
    return 0


def _spoil() -> None:
    """Give a child what its test asks for: a file-size limit, another user, a clock that runs backwards."""
    if limit := os.environ.get("TEST_FILE_LIMIT"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    if user := os.environ.get("TEST_USER"):
        importlib.import_module("tiny")  # That user may not enter its folder.
        os.setgid(int(user))
        os.setuid(int(user))
    if "TEST_CLOCK" in os.environ:
        start, begun = time.time(), time.monotonic()
        time.time = lambda: start - 100 * (time.monotonic() - begun)


def calm_collector() -> None:
    """Let Python's collector of cycles look seldom, and never at what was imported: tracing makes many objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _import_libraries() -> None:
    import cv2
    import jax
    import matplotlib.pyplot
    import orbax.checkpoint
    import pandas
    import tqdm

    from experiments import command
    from stfer import inference, models
    from stfer.data import preprocess
    from stfer.reporting import console, from_folders
    from stfer.runs import crossval, final, plan, source, stop
    from stfer.training.task import TASKS

    del cv2, jax, matplotlib, orbax, pandas, tqdm, command, inference, preprocess, console
    del from_folders, crossval, final, plan, stop
    source.source_digests([models.ARCHITECTURES["rnn"], TASKS["classification"]])
    calm_collector()


def _serve(requests: TextIO, answers: TextIO, path: list[str]) -> None:
    import jax

    jax.config.update("jax_num_cpu_devices", 1)
    codes, seconds = {}, {}

    def status(process: int, options: int) -> int | None:
        if process not in codes:
            found, code, used = os.wait4(process, options)
            if not found:
                return None
            codes[process] = os.waitstatus_to_exitcode(code)
            seconds[process] = used.ru_utime + used.ru_stime
        return codes[process]

    for line in requests:
        request = json.loads(line)
        if "wait" in request:
            answer = status(request["wait"], 0)
        elif "poll" in request:
            answer = status(request["poll"], os.WNOHANG)
            answer = "running" if answer is None else answer
        elif "seconds" in request:
            answer = seconds[request["seconds"]]
        else:
            answer = os.fork()
            if answer == 0:
                _child(request, path)
        answers.write(f"{answer}\n")
        answers.flush()


if __name__ == "__main__":
    _import_libraries()
    _serve(sys.stdin, sys.stdout, sys.path[1:])  # The first is this file's folder.
