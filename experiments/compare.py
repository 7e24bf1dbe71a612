"""Every architecture on every set, then the report: the paper's comparison.

    python -m experiments.compare --data=synthetic

runs what is missing and reuses what is finished: interrupted, the same command goes on where it was. Each
run is one `experiments.loso` in a process of its own, so that it starts with a clean device.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from experiments import _app, _data, _modules, _settings, loso
from experiments import report as report_command

if TYPE_CHECKING:
    from experiments._crossval import CrossValidation

FLAGS = flags.FLAGS
FAILED_RUNS = 1
# Flags that mean the same to every run; what is not given is left to loso's own default.
PASSED_ON = (
    *("protocol", "workdir", "modules", "preset", "subjects", "max_folds"),
    *_settings.OVERRIDES,
    *("device_data", "checkpoint_seconds", "cache_dir", "parallel"),
    *("synthetic_subjects", "synthetic_seed", "workers"),
)


@dataclass(frozen=True)
class Job:
    """One run to make: an architecture on a set with a seed."""

    data: str
    architecture: str
    seed: int

    def __str__(self) -> str:
        return f"{self.architecture} on {self.data}, seed {self.seed}"


def define_flags() -> None:
    """Define this command's flags: loso's, but for lists of sets, architectures and seeds."""
    loso.define_flags()
    for name in ("arch", "seed"):
        delattr(FLAGS, name)
    flags.DEFINE_list(
        "data",
        ["synthetic"],
        "The sets, separated by commas: 'synthetic' or shard folders. Each is a comparison of its own.",
        allow_override=True,
    )
    flags.DEFINE_list("archs", [], "The architectures (default: all that are registered).")
    flags.DEFINE_list("seeds", ["0"], "The seeds, separated by commas; several give a spread.")
    report_command.define_report_flags()


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    seeds = parse_seeds(FLAGS.seeds)
    architectures = check_architectures(FLAGS.archs)
    if FLAGS.fold_index is not None or FLAGS.merge:
        raise _app.UserError(
            "--fold_index and --merge are experiments.loso's: run the shards with it first"
        )
    if not FLAGS.data:
        raise _app.UserError("--data is empty; name at least one set, such as --data=synthetic")
    sets = {name: _data.load(name) for name in dict.fromkeys(FLAGS.data)}
    jobs = [Job(data, name, seed) for data in sets for name in architectures for seed in seeds]
    plans = plan_jobs(jobs, sets)
    finished = {job for job, plan in plans.items() if is_finished(plan)}
    _app.print_settings(
        "Settings",
        {
            "data": "; ".join(
                f"{shards.name}, {len(shards)} sequences" for shards in sets.values()
            ),
            "architectures": ", ".join(architectures),
            "seeds": ", ".join(map(str, seeds)),
            "runs": f"{len(jobs)}, {len(finished)} of them finished",
            "passed on": " ".join(passed_on()) or "nothing",
            "out": report_command.report_folder(),
        },
    )
    if FLAGS.launcher == "ray":
        return compare_on_ray(plans, finished, sets)
    failed = []
    for number, job in enumerate(jobs, start=1):
        if job in finished:
            print(f"\n[{number}/{len(jobs)}] {job}: finished already", flush=True)
            continue
        print(f"\n[{number}/{len(jobs)}] {job}", flush=True)
        code = run_loso(job)
        if code >= 128:
            print("\nstopped; the same command goes on where it was", flush=True)
            return code
        if code:
            failed.append(job)
    return finish(plans, sets, failed)


def plan_jobs(jobs: Sequence[Job], sets: Mapping) -> dict[Job, CrossValidation]:
    """Every run's plan, so that what cannot run is said before hours are spent on the others.

    Raises:
        UserError: Two sets have one name, so that their runs would share a folder; or one lacks a subject asked for.
        ValueError: A run cannot be made, as `experiments._crossval.prepare`.
    """
    plans = {
        job: loso.plan_for(job.data, job.architecture, job.seed, sets[job.data]) for job in jobs
    }
    owners: dict[Path, str] = {}
    for job, plan in plans.items():
        loso.select_folds(plan)
        owner = owners.setdefault(plan.folder.path, job.data)
        if owner != job.data:
            raise _app.UserError(
                f"--data: {owner} and {job.data} are both named {plan.shards.name}, so their runs would share "
                f"{plan.folder.path}; compare them with a --workdir each"
            )
    return plans


def compare_on_ray(
    plans: Mapping[Job, CrossValidation], finished: Collection[Job], sets: Mapping
) -> int:
    """Make what is missing of all runs at once as tasks of a Ray cluster, then report."""
    from experiments import _ray, _stop
    from stfer.training.fit import Stopped

    runs = {
        job: _ray.Run(plan, loso.select_folds(plan), _data.folders(job.data))
        for job, plan in plans.items()
        if job not in finished
    }
    with _stop.stop_requests() as should_stop:
        try:
            failures = _ray.train_grid(list(runs.values()), _ray.options_from_flags(), should_stop)
        except Stopped:
            print("\nstopped; the same command goes on where it was", flush=True)
            return should_stop.exit_code
    for sentence in failures:
        print(f"failed: {sentence}")
    return finish(
        plans,
        sets,
        [
            job
            for job, run in runs.items()
            if not all(run.plan.folder.is_finished(name) for name in run.folds)
        ],
    )


def finish(plans: Mapping[Job, CrossValidation], sets: Mapping, failed: Collection[Job]) -> int:
    """Report the runs that were asked for, and say which failed."""
    from stfer.reporting import runs

    for job in failed:
        print(f"failed: {job} (its message stands above)")
    folders = [plan.folder.path for plan in plans.values() if plan.folder.path.is_dir()]
    found = runs.read_runs(folders)
    if not found:
        raise _app.UserError(f"no run in {FLAGS.workdir} has a finished fold; nothing to report")
    known = {run.checksum for run in found}
    shown = [shards for shards in sets.values() if FLAGS.pictures and str(shards.checksum) in known]
    paths = report_command.report(runs.comparisons(found), shown, runs.unfinished(folders))
    _app.print_paths([paths[0], *(paths[0].parent / name for name in ("tables", "figures"))])
    return FAILED_RUNS if failed else 0


def parse_seeds(texts: Sequence[str]) -> list[int]:
    """The seeds as numbers, each once.

    Raises:
        UserError: One is not a number of at least 0, or there is none.
    """
    if not texts or not all(text.strip().isdecimal() for text in texts):
        raise _app.UserError(
            f"--seeds={','.join(texts)} must be numbers from 0, such as --seeds=0,1,2"
        )
    return list(dict.fromkeys(int(text) for text in texts))


def check_architectures(names: Sequence[str]) -> list[str]:
    """The architectures asked for, or all, after importing `--modules`.

    Raises:
        UserError: One is not registered.
    """
    from stfer import models

    _modules.import_modules(FLAGS.modules)
    unknown = [name for name in names if name not in models.ARCHITECTURES]
    if unknown:
        raise _app.UserError(
            f"--archs names {', '.join(unknown)}, not among {', '.join(models.ARCHITECTURES)}"
        )
    return list(dict.fromkeys(names)) or list(models.ARCHITECTURES)


def is_finished(plan: CrossValidation) -> bool:
    """Whether a run stands on every fold, with these settings and this data.

    Raises:
        UserError: The run's folder holds other settings or other data; said before hours are spent on the others.
    """
    from stfer.evaluation.run_folder import FORMAT
    from stfer.storage.files import read_json
    from stfer.storage.identity import differences

    folder, config = plan.folder.path, plan.config
    if not (folder / "config.json").exists():
        return False
    found = read_json(folder / "config.json")
    settings = {name: found["settings"].get(name) for name in config.to_dict()}
    lines = differences(settings, config.to_dict())
    if found.get("format") != FORMAT:
        lines = [f"format is {found.get('format')!r} there and {FORMAT!r} here"]
    if found["data"].get("checksum") != plan.shards.checksum:
        lines.append(
            f"the data there has checksum {found['data'].get('checksum')!r}, here {plan.shards.checksum!r}"
        )
    if lines:
        raise _app.UserError(
            f"{folder} holds a run with other settings ({'; '.join(lines)}); give the same flags, or another --workdir"
        )
    if not (folder / "result.json").exists():
        return False
    result = read_json(folder / "result.json")
    return result["folds_done"] == result["folds_total"]


def passed_on() -> list[str]:
    """The flags that the user gave and that every run gets."""
    given = []
    for name in PASSED_ON:
        flag = FLAGS[name]
        if flag.present:
            value = flag.value
            given.append(f"--{name}={','.join(value) if isinstance(value, list) else value}")
    return given


def run_loso(job: Job) -> int:
    """Make or finish one run in a process of its own.

    Returns:
        Its exit code: 128 and the signal's number when it was asked to stop, negative when a signal killed it.
    """
    command = [
        *(sys.executable, "-m", "experiments.loso"),
        *(f"--data={job.data}", f"--arch={job.architecture}", f"--seed={job.seed}"),
        *passed_on(),
        *(["--debug"] if FLAGS.debug else []),
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


if __name__ == "__main__":
    _app.run(main, define_flags)
