"""A long measurement as parts: each in a process of its own, kept when it ends, and not made again.

The file of results holds `parts`, from each part's name to `{"result": ...}` or `{"error": SENTENCE}`, with `seconds`
and with its origin: the `device` and the `code` (`experiments.benchmark.origin`). Parts of one file have one origin.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from absl import flags

from experiments.benchmark import origin
from stfer.storage.files import read_json, write_json
from stfer.storage.locks import held

FLAGS = flags.FLAGS


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: Unique; `KIND` or `KIND:ARCHITECTURE`.
        seconds: What it is expected to take; it is not begun with less time left.
    """

    name: str
    seconds: float


# From a part's name and the seconds that it may take to `{"result": ..., "device": ...}`.
Make = Callable[[str, float], dict[str, Any]]


class Measured(Protocol):
    """A module of parts."""

    def plan(self) -> list[Part]:
        """All parts, the most important first."""

    def settings(self) -> dict[str, Any]:
        """What makes two measurements the same."""

    def make(self, name: str) -> Any:
        """Make one part, in this process."""

    def lacks(self, result: Any) -> bool:
        """Whether a part's result lacks something that could be measured now."""

    def show(self, results: Mapping[str, Any]) -> None:
        """Print what there is."""


def define_flags() -> None:
    """Define the flags of what is measured in parts."""
    of = "(--what=gpu or scale)"
    flags.DEFINE_float("minutes", 9.0, f"No part begins that would take longer {of}.", 0.0)
    flags.DEFINE_string("part", None, f"Make this part alone, into --out {of}.")
    flags.DEFINE_bool("tiny", False, f"Tiny networks or few folds, to try it {of}.")
    flags.DEFINE_integer("epochs", 5, "Epochs to measure and scale to 200 (--what=gpu).", 1)
    flags.DEFINE_string(
        "accuracy_data", "synthetic", "The set on which precisions are compared (--what=gpu)."
    )


def measure(measured: Measured) -> Path:
    """Make all parts that are missing, or the one that `--part` names; returns the file.

    Raises:
        ValueError: There is no such part; or the file holds another measurement, or for `--part` a whole one.
        LockedError: Another process writes the file.
    """
    out = Path(FLAGS.out)
    known = [part.name for part in measured.plan()]
    if FLAGS.part is not None and FLAGS.part not in known:
        raise ValueError(f"--part: unknown {FLAGS.part!r}; known are {', '.join(known)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = out.with_name(f".{out.name}.lock")
    with held(lock, out.name, advice="wait for it, or give another --out"):
        if FLAGS.part is not None:
            _make_alone(measured, out)
            return out
        here = {"device": origin.device(os.environ | _environment()), "code": origin.code()}
        everything = (out, measured.settings(), measured.plan(), of_the_benchmark())
        results = run(*everything, 60 * FLAGS.minutes, here, measured.lacks)
    measured.show(results)
    return out


def _make_alone(measured: Measured, out: Path) -> None:
    """Make the part that `--part` names, in this process, with the device that computed it."""
    from stfer.runs.environment import hardware

    if out.exists() and "parts" in read_json(out):
        raise ValueError(
            f"--part={FLAGS.part} would replace all parts in {out} by this one; give another --out"
        )
    result = measured.make(FLAGS.part)
    # Only now: a part may choose its devices first, or leave a GPU to its contenders.
    write_json(out, {"result": result, "device": hardware()["device"]})


def load(path: Path, settings: Mapping[str, Any], here: Mapping[str, str]) -> dict[str, Any]:
    """The results so far, or none yet.

    Raises:
        ValueError: The file holds results of other settings, of another device or of other code.
    """
    if not path.exists():
        return {"settings": dict(settings), "parts": {}}
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("parts"), dict):
        raise ValueError(f"{path} holds another measurement (it has no parts); give another --out")
    kept = found.get("settings", {})
    other = [
        f"{name} was {kept.get(name)!r}"
        for name, value in settings.items()
        if kept.get(name) != value
    ]
    if other:
        raise ValueError(
            f"{path} holds another measurement ({'; '.join(other)}); give another --out"
        )
    for name, part in found["parts"].items():
        theirs = {key: part.get(key, f"an unknown {key}") for key in here}
        if theirs != here:
            raise ValueError(
                f"{path} holds {name} from {' with '.join(theirs.values())}, and this is "
                f"{' with '.join(here.values())}; give another --out"
            )
    return found


def missing(
    results: Mapping[str, Any], parts: Sequence[Part], lacks: Callable[[Any], bool]
) -> list[Part]:
    """What is still to make: the parts that were not tried, then those that failed, then those that lack something."""
    tried = results["parts"]
    fresh = [part for part in parts if part.name not in tried]
    failed = [part for part in parts if "error" in tried.get(part.name, {})]
    made = [part for part in parts if "result" in tried.get(part.name, {})]
    return fresh + failed + [part for part in made if lacks(tried[part.name]["result"])]


def run(
    path: Path,
    settings: Mapping[str, Any],
    parts: Sequence[Part],
    make: Make,
    budget: float,
    here: Mapping[str, str],
    lacks: Callable[[Any], bool] = lambda result: False,
    say: Callable[[str], None] = print,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Make what is missing, as long as there is time, and write the file after each part.

    Args:
        path: The JSON file.
        settings: What makes two measurements the same.
        parts: All parts, the most important first.
        make: Makes a part of a name in at most so many seconds; what it raises is noted as the part's error.
        budget: Seconds that all may take.
        here: The origin of what is made: `device` and `code`.
        lacks: Whether a result lacks something that could be measured now: its part is made again, after all others,
            and stays as it was where that fails.
        say: Told a line a part.
        now: The clock.

    Returns:
        The results.

    Raises:
        ValueError: The file holds results of other settings, of another device or of other code.
    """
    began, results = now(), load(path, settings, here)
    for part in missing(results, parts, lacks):
        left = budget - (now() - began)
        if left < part.seconds:
            say(
                f"{part.name}: left for the next run ({left:.0f} s left, {part.seconds:.0f} s needed)"
            )
            continue
        started = now()
        try:
            found = {"result": _on(here["device"], make(part.name, left))}
        except Exception as error:  # whatever it is, the other parts go on
            found = {"error": " ".join(str(error).split())[:600] or type(error).__name__}
        found |= {"seconds": round(now() - started, 1), **here}
        if "result" in found or "result" not in results["parts"].get(part.name, {}):
            results["parts"][part.name] = found
            write_json(path, results)
        say(f"{part.name}: {found.get('error', 'done')} ({found['seconds']} s)")
    if not path.exists():
        write_json(path, results)
    return results


def _on(device: str, made: Mapping[str, Any]) -> Any:
    """The result of a part that was made on the device of all others.

    Raises:
        RuntimeError: It was another.
    """
    if made["device"] != device:
        raise RuntimeError(f"it was made on {made['device']}, and the other parts on {device}")
    return made["result"]


def in_a_process(words: Sequence[str], environment: Mapping[str, str] | None = None) -> Make:
    """A `Make` that runs `python WORDS --part=NAME --out=FILE` and reads what it wrote into FILE.

    What outlives the time, the part's own processes included, is ended.

    Raises:
        RuntimeError: The process failed, with the end of what it printed; or its time was up.
    """

    def make(name: str, seconds: float) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            out, said = Path(folder) / "part.json", Path(folder) / "said"
            with said.open("w") as stream:
                process = subprocess.Popen(
                    [sys.executable, *words, f"--part={name}", f"--out={out}"],
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=dict(os.environ) | dict(environment or {}),
                    start_new_session=True,
                )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"ended after {seconds:.0f} s: the time was up") from None
            finally:
                _end(process)
            if code or not out.exists():
                lines = said.read_text(errors="replace").strip().splitlines()
                said_last = lines[-1].removeprefix("error: ") if lines else ""
                raise RuntimeError(said_last or f"its process ended with code {code}")
            return read_json(out)

    return make


def of_the_benchmark() -> Make:
    """`in_a_process` with this command and its own flags."""
    return in_a_process(["-m", "experiments.benchmark", *sys.argv[1:]], _environment())


def _environment() -> dict[str, str]:
    """The variables that a part's process gets besides this one's."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # The processes of a part share a GPU.
    }


def _end(process: subprocess.Popen) -> None:
    """End a process with all of its session; nothing where all have ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
