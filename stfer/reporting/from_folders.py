"""A report from run folders, as the commands make it: read, grouped, written, and its tables and sentences printed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from stfer import models
from stfer.data.shards import Shards
from stfer.reporting import report, runs, speed, summary, tables
from stfer.reporting.ablation import Study
from stfer.reporting.comparisons import Comparison, comparisons
from stfer.reporting.paper import PAPER
from stfer.reporting.scores import compare


@dataclass(frozen=True)
class Options:
    """Where a report goes, and whose accuracy it compares: the vote "summed" or "maximum"."""

    out: Path
    vote: str = "summed"


def settings(
    found: Sequence[runs.Run], options: Options, workdir: str | Path, pictures: bool
) -> dict[str, object]:
    """What is reported and where to, for printing."""
    partial = sum(not run.complete for run in found)
    more = f", {partial} of them partial" if partial else ""
    return {
        "runs": f"{len(found)} in {workdir}{more}",
        "comparisons": "; ".join(comparison.title for comparison in comparisons(found)),
        "vote": options.vote,
        "pictures": "yes" if pictures else "no",
        "out": options.out,
    }


def write(
    folders: Sequence[Path],
    sets: Sequence[Shards],
    options: Options,
    strict: bool = True,
    studies: Sequence[Study] = (),
    measured: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write the report of all runs in these folders, and print its tables and summary.

    Args:
        folders: Run folders, finished or begun.
        sets: Shards to take pictures from; empty for none.
        options: Where to, and which vote.
        strict: Refuse a set that no run was made on.
        studies: Ablations to report too.
        measured: What `stfer.reporting.speed` read of a GPU.

    Returns:
        The page, and the folders of tables and figures.

    Raises:
        ValueError: No run has a finished fold; or a set is not that of a run.
    """
    found = runs.read_runs(folders)
    if not found:
        raise ValueError("no run has a finished fold; nothing to report")
    groups = comparisons(found)
    shown, paths = report.write_report(
        groups,
        options.out,
        vote=options.vote,
        parameters=count_parameters(),
        frames=frame_source(groups, sets, strict),
        unfinished=runs.unfinished(folders),
        studies=studies,
        speed=speed.table(measured) if measured else None,
    )
    print()
    print("\n".join(map(tables.to_text, shown)))
    for comparison in groups:
        print(_summary_text(comparison, options.vote))
    return [paths[0], options.out / "tables", options.out / "figures"]


def _summary_text(comparison: Comparison, vote: str) -> str:
    """The sentences that the page starts with."""
    pairs = compare(comparison, vote)
    holding, not_established = summary.differences(comparison, pairs)
    sentences = summary.headline(comparison, vote, pairs) + holding + not_established
    notes = summary.partial_notes(comparison)
    lines = [f"Summary: {comparison.title}; vote by {vote} probability", *sentences, *notes]
    return "\n  ".join(lines) + "\n"


def count_parameters() -> Mapping[str, int]:
    """Table I from the models themselves: trainable parameters with the paper's number of classes."""
    counts = {}
    for name, paper in PAPER.items():
        model = models.create_model(name, num_classes=paper.classes)
        # Shapes only: nothing is computed and no device is touched.
        variables = jax.eval_shape(
            lambda model=model: model.init(
                jax.random.key(0), jnp.zeros((1, model.frames, 170, 170, 3))
            )
        )
        counts[name] = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    return counts


def frame_source(
    comparisons: Sequence[Comparison], sets: Sequence[Shards], strict: bool = True
) -> report.FrameSource | None:
    """Where the page gets its frames: the sets whose checksum is that of a comparison.

    Raises:
        ValueError: No run was made on one of the sets, and that is not allowed.
    """
    known = {comparison.checksum for comparison in comparisons}
    for shards in sets:
        if strict and str(shards.checksum) not in known:
            raise ValueError(
                f"--data: no run in --workdir was made on {shards.name} as it is now "
                f"(checksum {str(shards.checksum)[:12]}); name the set that the runs used, or leave --data out"
            )
    by_checksum = {str(s.checksum): s for s in sets if str(s.checksum) in known}
    if not by_checksum:
        return None

    def frames(comparison: Comparison, sequence: str):
        shards = by_checksum.get(comparison.checksum)
        return None if shards is None else shards.frames(shards.ids.index(sequence))

    return frames
