"""Commands in forked children of a process that has imported everything: they start in a moment.

Killing a command some twenty times would else be mostly waiting for imports. The server has not started
JAX's backend, so a child is as fresh as a new process in all that matters here.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


class ForkServer:
    """Start, watch, kill and await `experiments.loso` commands; a context manager."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._count = 0
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "JAX_NUM_CPU_DEVICES": "1"}
            # Its commands are killed, in the middle of writing a compiled program too.
            | {"JAX_COMPILATION_CACHE_DIR": str(folder / "xla")},
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def start(self, *flags: str, **environment: str) -> "Command":
        """Start a command; it is its own process group."""
        self._count += 1
        output = self._folder / f"output-{self._count}.txt"
        process = int(
            self._ask({"flags": flags, "output": str(output), "environment": environment})
        )
        return Command(self, process, output)

    def run(self, *flags: str, **environment: str) -> tuple[int, str]:
        """A command's exit code and all that it printed."""
        command = self.start(*flags, **environment)
        return command.wait(), command.printed

    def _ask(self, request: dict) -> str:
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()


class Command:
    """A command under way."""

    def __init__(self, server: ForkServer, process: int, output: Path):
        self._server = server
        self.process = process
        self._output = output
        self.code: int | None = None

    @property
    def printed(self) -> str:
        return self._output.read_text() if self._output.exists() else ""

    def wait(self) -> int:
        """The exit code; negative for a signal."""
        if self.code is None:
            self.code = int(self._server._ask({"wait": self.process}))
        return self.code

    def ended(self) -> bool:
        if self.code is None:
            answer = self._server._ask({"poll": self.process}).strip()
            self.code = None if answer == "running" else int(answer)
        return self.code is not None

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, number)

    def wait_until(self, condition: Callable[[], object], seconds: float = 120.0) -> bool:
        """Watch until the condition holds; False when the command ended before it did."""
        until = time.monotonic() + seconds
        while not condition():
            if self.ended():
                return False
            assert time.monotonic() < until, f"nothing happened:\n{self.printed}"
            time.sleep(0.002)
        return True


def _child(request: dict) -> None:
    os.setsid()
    os.environ.update(request["environment"])
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, output), (2, output)):
        os.dup2(source, target)
    _spoil(request["environment"])
    sys.argv = ["loso", *request["flags"]]
    from experiments import command, loso
    from stfer.reporting import figures

    figures.draw_run = (
        lambda *folders: []
    )  # It takes longer than such a run, and is tested elsewhere.
    code = 1
    try:
        command.run(loso.main, loso.define_flags)
        code = 0
    except SystemExit as leave:
        code = leave.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _spoil(environment: dict) -> None:
    """Give a child what its test asks for: a file-size limit, another user, a clock that runs backwards."""
    if limit := environment.get("TEST_FILE_LIMIT"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    if user := environment.get("TEST_USER"):
        os.setgid(int(user))
        os.setuid(int(user))
    if "TEST_CLOCK" in environment:
        start, begun = time.time(), time.monotonic()
        time.time = lambda: start - 100 * (time.monotonic() - begun)


def _serve() -> None:
    import orbax.checkpoint
    import tqdm

    import tiny
    from experiments import loso
    from stfer.reporting import console, figures
    from stfer.runs import crossval, plan, stop

    del orbax, tqdm, tiny, loso, console, figures, crossval, plan, stop
    codes = {}

    def status(process: int, options: int) -> int | None:
        if process not in codes:
            found, code = os.waitpid(process, options)
            if not found:
                return None
            codes[process] = os.waitstatus_to_exitcode(code)
        return codes[process]

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = status(request["wait"], 0)
        elif "poll" in request:
            answer = status(request["poll"], os.WNOHANG)
            answer = "running" if answer is None else answer
        else:
            answer = os.fork()
            if answer == 0:
                _child(request)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
