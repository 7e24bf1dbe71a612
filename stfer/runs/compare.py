"""Many runs for one comparison: planned before the first trains, each in a process of its own or on Ray, then read."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stfer.data.shards import Shards
from stfer.nearest import did_you_mean
from stfer.runs.crossval import select_folds
from stfer.runs.plan import Plan

if TYPE_CHECKING:
    from stfer.runs.local import Launch
    from stfer.runs.ray import RayOptions


@dataclass(frozen=True)
class Job:
    """One run to make: an architecture on a set with a seed."""

    data: str
    architecture: str
    seed: int

    def __str__(self) -> str:
        return f"{self.architecture} on {self.data}, seed {self.seed}"


def parse_seeds(texts: Sequence[str]) -> list[int]:
    """The seeds as numbers, each once.

    Raises:
        ValueError: One is not a number of at least 0, or there is none.
    """
    if not texts or not all(text.strip().isdecimal() for text in texts):
        raise ValueError(f"--seeds={','.join(texts)} must be numbers from 0, such as --seeds=0,1,2")
    return list(dict.fromkeys(int(text) for text in texts))


def check_architectures(names: Sequence[str]) -> list[str]:
    """The architectures asked for, each once.

    Args:
        names: Registered names; none for all but the systems of the paper's section III; "all" alone for these too.

    Raises:
        ValueError: One is not registered.
    """
    from stfer import models
    from stfer.models.related import RELATED

    if list(names) == ["all"]:
        return list(models.ARCHITECTURES)
    unknown = [name for name in names if name not in models.ARCHITECTURES]
    if unknown:
        raise ValueError(
            f"--archs names {', '.join(unknown)}, not among {', '.join(models.ARCHITECTURES)}"
            f"{did_you_mean(unknown[0], models.ARCHITECTURES)}"
        )
    return list(dict.fromkeys(names)) or [n for n in models.ARCHITECTURES if n not in RELATED]


def check_plans(plans: Mapping[Job, Plan], subjects: Sequence[str] | None) -> None:
    """Refuse what cannot run before hours are spent on the rest.

    Raises:
        ValueError: Two sets have one name, so that their runs would share a folder; or one lacks a subject asked for.
    """
    owners: dict[Path, str] = {}
    for job, plan in plans.items():
        select_folds(plan, subjects)
        owner = owners.setdefault(plan.folder.path, job.data)
        if owner != job.data:
            raise ValueError(
                f"--data: {owner} and {job.data} are both named {plan.shards.name}, so their runs would share "
                f"{plan.folder.path}; compare them with a --workdir each"
            )


def finished_jobs(
    plans: Mapping[Job, Plan],
    subjects: Sequence[str] | None = None,
    most: int | None = None,
    searched: Callable[[Shards], Collection[str]] = lambda shards: (),
) -> set[Job]:
    """The runs that stand on every fold that their preset asks for, with these settings, this data and this code.

    Args:
        plans: All runs.
        subjects: See `select_folds`.
        most: See `select_folds`.
        searched: From a set to the people of it on whom the settings were chosen.

    Raises:
        SettingsDifferError: A run's folder holds another run; said before hours are spent on the others.
    """
    return {
        job
        for job, plan in plans.items()
        if plan.is_whole(select_folds(plan, subjects, most, searched(plan.shards)))
    }


def run_jobs(
    jobs: Sequence[Job], finished: Collection[Job], flags: Sequence[str]
) -> tuple[list[Job], int]:
    """Make what is missing, one `experiments.loso` process a run, so that each starts with a clean device.

    Args:
        jobs: All runs, in order.
        finished: Those that need nothing.
        flags: Further flags of every process.

    Returns:
        The runs that failed, and 0 or the exit code of a stop: 128 and the signal's number.
    """
    failed: list[Job] = []
    for number, job in enumerate(jobs, start=1):
        if job in finished:
            print(f"\n[{number}/{len(jobs)}] {job}: finished already", flush=True)
            continue
        print(f"\n[{number}/{len(jobs)}] {job}", flush=True)
        code = _run_job(job, flags)
        if code >= 128:
            return failed, code
        if code:
            failed.append(job)
    return failed, 0


def run_on_ray(
    plans: Mapping[Job, Plan],
    finished: Collection[Job],
    folders: Mapping[str, str],
    chosen: Callable[[Plan], Sequence[str]],
    options: RayOptions,
    launch: Launch,
    should_stop: Callable[[], bool],
) -> tuple[list[Job], bool]:
    """Make what is missing of all runs at once as tasks of a Ray cluster.

    Args:
        plans: All runs.
        finished: Those that need nothing.
        folders: From a set's name to its shard folders as the nodes see them.
        chosen: From a run to the folds that are wanted of it.
        options: The cluster.
        launch: How each fold is trained.
        should_stop: True cancels what is under way.

    Returns:
        The runs that failed, and whether it was stopped.
    """
    from stfer.runs import ray
    from stfer.training.fit import Stopped

    missing = {
        job: ray.Run(plan, chosen(plan), folders[job.data])
        for job, plan in plans.items()
        if job not in finished
    }
    try:
        failures = ray.train_grid(list(missing.values()), options, launch, should_stop)
    except Stopped:
        return [], True
    for sentence in failures:
        print(f"failed: {sentence}")
    return [job for job, run in missing.items() if not run.is_whole()], False


def _run_job(job: Job, flags: Sequence[str]) -> int:
    """The exit code of one run; negative when a signal killed it."""
    command = [
        *(sys.executable, "-m", "experiments.loso"),
        *(f"--data={job.data}", f"--arch={job.architecture}", f"--seed={job.seed}", *flags),
    ]
    with subprocess.Popen(command) as process, _signals_left_to(process) as caught:
        code = process.wait()
    # Asked to stop while it drew its last figures it still ends with 0; before its own handler, it dies of the signal.
    return 128 + caught[0] if caught else code


@contextmanager
def _signals_left_to(process: subprocess.Popen) -> Iterator[list[int]]:
    """Leave stopping to the run, which saves first; what a terminal has sent it too is one request to it.

    Yields:
        The signals that came meanwhile.
    """
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        del frame
        caught.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
