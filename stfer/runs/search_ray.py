"""A search by tasks of a Ray cluster that all work on one study.

Each task is a process of `stfer.runs.search.run`. The study is one SQLite file, so the nodes must see the search's
folder, and the shard folders, under the same paths; a network file system must keep file locks.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from stfer import registries
from stfer.data.shards.subset import subset
from stfer.data.sources import Source
from stfer.runs import environment, search
from stfer.runs import ray as ray_lib
from stfer.runs.inner_folds import Search
from stfer.runs.ray import RayOptions
from stfer.runs.search import Trial
from stfer.runs.search_space import Dimension
from stfer.storage.freed_memory import keep_freed_memory
from stfer.training.config import TrainConfig


@dataclass(frozen=True)
class Where:
    """Where a search runs.

    Attributes:
        source: The set.
        rows: int [n], the sequences of it that the search may use.
        options: The cluster.
        tasks: How many work on the study at once.
    """

    source: Source
    rows: np.ndarray
    options: RayOptions
    tasks: int


def run(
    found: Search,
    where: Where,
    trials: int,
    minutes: float | None,
    should_stop: Callable[[], bool],
    on_progress: Callable[[Sequence[Trial]], None] = lambda trials: None,
) -> list[Trial]:
    """Make trials on the cluster, as `stfer.runs.search.run` does here.

    Raises:
        ValueError: Ray is not installed, the cluster does not answer, or no node is large enough.
    """
    study = search.open_study(found)
    ray = ray_lib.connect(where.options)
    try:
        needed = ray_lib.resources(ray, where.options)
        task = ray.remote(work).options(max_retries=where.options.retries, **needed)
        job = describe(found, where)
        pending = [task.remote(job, trials, minutes) for _ in range(where.tasks)]
        while pending and not should_stop():
            ready, pending = ray.wait(pending, timeout=0.5)
            ray.get(ready)
            on_progress(search.read_trials(study))
    finally:
        ray.shutdown()
    return search.read_trials(study)


def describe(found: Search, where: Where) -> str:
    """A search as JSON, from which a node builds it again."""
    folders = [os.path.abspath(folder) for folder in where.source.folders().split(",")]
    return json.dumps(
        {
            "base": found.base.to_dict(),
            "space": [asdict(dimension) for dimension in found.space],
            "data": ",".join(folders),
            "neutral": where.source.neutral,
            "rows": [int(row) for row in where.rows],
            "folder": os.path.abspath(found.folder),
            "inner_folds": found.inner_folds,
            "seeds": list(found.seeds),
            "vote": found.vote,
            "modules": list(where.options.modules),
            "cache_dir": where.options.cache_dir,
        }
    )


def work(job: str, trials: int, minutes: float | None) -> int:
    """Make trials on a node until there are enough: the task. Returns how many there are."""
    return len(search.run(_prepared(job), trials, minutes))


@functools.lru_cache(maxsize=1)
def _prepared(job: str) -> Search:
    settings = json.loads(job)
    keep_freed_memory()
    registries.import_modules(settings["modules"])
    environment.set_up_jax(settings["cache_dir"])
    shards = subset(Source(settings["data"], neutral=settings["neutral"]).load(), settings["rows"])
    space = [Dimension(**row | {"choices": tuple(row["choices"])}) for row in settings["space"]]
    return Search(
        TrainConfig(**settings["base"]),
        space,
        shards,
        Path(settings["folder"]),
        settings["inner_folds"],
        settings["seeds"],
        settings["vote"],
        settings["modules"],
    )
