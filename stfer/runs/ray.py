"""Folds as tasks of a Ray cluster: any number of runs (architectures, sets, seeds) at once.

A task trains and tests one fold and sends weights and predictions back; the driver alone writes them
to the run folders, so results have one owner and the nodes need no shared file system. They need the
package (or its source tree), the modules of `--modules` and the shard folders under the same paths. Ray
gives a lost node's tasks to another node; a fold that came back is on disk and is never trained again.
With a shared workdir the tasks save their states in the run folders, and a retried fold goes on
from there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stfer import registries
from stfer.data.sources import Source
from stfer.evaluation.records import FoldResult, Prediction
from stfer.runs import environment, folds
from stfer.runs.folds import Engines
from stfer.runs.local import Launch
from stfer.runs.plan import Plan, prepare, same_run
from stfer.storage.freed_memory import keep_freed_memory
from stfer.training.config import TrainConfig
from stfer.training.fit import NonFiniteLossError, Stopped

LOG = "ray.jsonl"
_KEPT = {  # By whether the nodes share the run folders.
    True: "finished folds are kept, and of those under way the states that were saved last",
    False: "finished folds are kept, and those under way begin anew",
}


@dataclass(frozen=True)
class Run:
    """One run of many that share the cluster.

    Attributes:
        plan: The cross-validation.
        folds: Names of the folds to train.
        folders: The shard folders, separated by commas, as the nodes see them.
    """

    plan: Plan
    folds: Sequence[str]
    folders: str

    def is_whole(self) -> bool:
        """Whether every one of the folds is finished."""
        return all(map(self.plan.folder.is_finished, self.folds))


@dataclass(frozen=True)
class RayOptions:
    """How folds become tasks.

    Attributes:
        address: The cluster, as `ray.init` takes it.
        cpus: Cores a fold; None for up to 4, or 1 beside a GPU.
        gpus: GPUs a fold; None for 1 where the cluster has any.
        retries: Tries after a lost node or worker.
        shared_workdir: Whether the nodes see the run folders.
        modules: Modules to import first.
        cache_dir: Folder for compiled programs on each node.
    """

    address: str
    cpus: float | None
    gpus: float | None
    retries: int
    shared_workdir: bool
    modules: tuple[str, ...]
    cache_dir: str


def trainer(source: Source, options: RayOptions):
    """A function that trains the pending folds of a plan on the cluster, as `stfer.runs.crossval.run` takes it."""

    def train(
        plan: Plan, pending: Sequence[str], launch: Launch, should_stop: Callable[[], bool]
    ) -> list[str]:
        return train_runs([Run(plan, pending, source.folders())], options, launch, should_stop)

    return train


def train_runs(
    runs: Sequence[Run], options: RayOptions, launch: Launch, should_stop: Callable[[], bool]
) -> list[str]:
    """Train the folds of all runs on the cluster and keep each as it comes back.

    Args:
        runs: What to train; the caller holds the run folders' locks.
        options: How.
        launch: How each is trained.
        should_stop: Asked twice a second; True cancels what is under way.

    Returns:
        A sentence for each fold that failed.

    Raises:
        ValueError: Ray is not installed, the cluster does not answer, or no node is large enough.
        Stopped: `should_stop` said so.
    """
    import tqdm

    ray = connect(options)
    try:
        needed = resources(ray, options)
        task = ray.remote(train_fold).options(
            max_retries=options.retries, scheduling_strategy="SPREAD", **needed
        )
        tasks = {}
        for run in runs:
            job = describe(run, options, launch)
            for name in run.folds:
                tasks[task.remote(job, name)] = (run.plan, name)
        failures = []
        with tqdm.tqdm(total=len(tasks), unit="fold", dynamic_ncols=True) as bar:
            while tasks:
                if should_stop():
                    raise Stopped(kept=_KEPT[options.shared_workdir])
                ready, _ = ray.wait(list(tasks), timeout=0.5)
                for reference in ready:
                    plan, name = tasks.pop(reference)
                    failed = _receive(ray, reference, plan, name)
                    failures += [failed] if failed else []
                    bar.update()
        return failures
    finally:
        ray.shutdown()


def train_grid(
    runs: Sequence[Run], options: RayOptions, launch: Launch, should_stop: Callable[[], bool]
) -> list[str]:
    """Lock the folders of many runs, train what is missing of all of them at once, and pool each.

    Raises:
        LockedError: Another process works on one of them.
        Stopped, ValueError: See `train_runs`.
    """
    with contextlib.ExitStack() as held:
        missing = []
        for run in runs:
            folder = run.plan.folder
            held.enter_context(folder.lock())
            folder.create(run.plan.record(), same_run)
            pending = [name for name in run.folds if not folder.is_finished(name)]
            missing.append(dataclasses.replace(run, folds=pending))
        try:
            return train_runs(missing, options, launch, should_stop)
        finally:
            for run in runs:
                folds.pool(run.plan)


def describe(run: Run, options: RayOptions, launch: Launch) -> str:
    """A run as JSON, from which a node builds it again; equal runs give equal text."""
    plan = run.plan
    folders = [os.path.abspath(folder) for folder in run.folders.split(",")]
    return json.dumps(
        {
            "config": plan.config.to_dict(),
            "protocol": plan.protocol,
            "checksum": plan.shards.checksum,
            "data": ",".join(folders),
            "neutral": plan.arguments.get("neutral", False),
            "workdir": str(_workdir(plan)) if options.shared_workdir else None,
            "modules": options.modules,
            "cache_dir": options.cache_dir,
            "resident": launch.resident,
            "checkpoint_seconds": launch.checkpoint_seconds,
        },
        sort_keys=True,
    )


def train_fold(job: str, name: str) -> dict[str, Any]:
    """Train and test one fold on a node: the task.

    Returns:
        `node`, `seconds`, and either `failed` (a sentence) or `result` and `variables`.
    """
    import jax

    began = time.monotonic()
    engines = _prepared(job)
    plan, settings = engines.plan, json.loads(job)
    answer: dict[str, Any] = {"node": node_id(), "host": socket.gethostname()}
    with tempfile.TemporaryDirectory(prefix="stfer-fold-") as scratch:
        # Without a shared file system nobody could go on from a state, so none is saved but what stages need.
        shared = settings["workdir"] is not None
        seconds = settings["checkpoint_seconds"] if shared else float("inf")
        place = None if shared else Path(scratch)
        try:
            (fitted,) = folds.train(
                engines, [plan.fold(name)], checkpoint_seconds=seconds, folder=lambda fold: place
            )
            result = folds.evaluate(plan, engines.last, fitted)
        except NonFiniteLossError as error:
            answer["failed"] = folds.failure(plan, error)
        else:
            answer["result"] = asdict(result)
            answer["variables"] = jax.device_get(folds.weights(fitted))
    return answer | {"seconds": time.monotonic() - began}


@functools.lru_cache(maxsize=1)
def _prepared(job: str) -> Engines:
    """The run and its compiled functions, kept for the next fold that the same process gets."""
    settings = json.loads(job)
    keep_freed_memory()
    registries.import_modules(settings["modules"])
    environment.set_up_jax(settings["cache_dir"])
    shards = Source(settings["data"], neutral=settings["neutral"]).load()
    if shards.checksum != settings["checksum"]:
        raise ValueError(
            f"{settings['data']} on {socket.gethostname()} is not the set of the driver"
        )
    config = TrainConfig(**settings["config"])
    workdir = settings["workdir"] or tempfile.gettempdir()
    plan = prepare(config, settings["protocol"], shards, workdir)
    return Engines(plan, resident=settings["resident"])


def node_id() -> str:
    """The Ray node that this process runs on."""
    import ray

    return ray.get_runtime_context().get_node_id()


def _receive(ray, reference, plan: Plan, name: str) -> str | None:
    """Keep a fold that came back; a sentence when it failed."""
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        return f"fold {name}: {' '.join(str(cause).split())[:300] or type(cause).__name__}"
    plan.folder.check()
    event = {key: answer[key] for key in ("node", "host", "seconds")}
    with open(plan.folder.path / LOG, "a", encoding="utf-8") as log:
        log.write(json.dumps({"fold": name, **event}) + "\n")
    if "failed" in answer:
        return answer["failed"]
    record = answer["result"]
    predictions = [Prediction(**row) for row in record.pop("predictions")]
    result = FoldResult(predictions=predictions, **record)
    folds.keep(plan, plan.fold(name), result, answer["variables"])
    return None


def connect(options: RayOptions):
    """The package ray, connected to the cluster.

    Raises:
        ValueError: It is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise ValueError("--launcher=ray needs the package ray: pip install '.[ray]'") from None
    address = None if options.address == "local" else options.address
    _check_reachable(options.address)
    started = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR", **started)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"--ray_address={options.address}: no Ray cluster answers ({str(error).splitlines()[0]})"
        ) from None
    return ray


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(
            f"--ray_address={address}: no Ray cluster answers ({error.strerror or error})"
        ) from None


def resources(ray, options: RayOptions) -> dict[str, float]:
    """What a task asks for; at least one node must have it, or the tasks would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = options.gpus
    if gpus is None:
        gpus = float(any(node.get("GPU", 0) >= 1 for node in nodes))
    largest = max((node.get("CPU", 0) for node in nodes), default=0)
    cpus = options.cpus
    if cpus is None:
        cpus = 1.0 if gpus else min(4.0, largest)
    if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        raise ValueError(
            f"no node of the cluster has {cpus:g} cores and {gpus:g} GPUs for a fold; lower --ray_cpus or --ray_gpus"
        )
    return {"num_cpus": cpus, "num_gpus": gpus}


def _workdir(plan: Plan) -> Path:
    """The workdir whose run folder the plan has (`WORKDIR/DATA/PROTOCOL/ARCHITECTURE/SEED`)."""
    return Path(os.path.abspath(plan.folder.path)).parents[3]
