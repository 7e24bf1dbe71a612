"""A search as figures, sentences and a table: the best so far, what mattered, and what a nested search came to."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tqdm
from matplotlib.figure import Figure

from stfer.data.folds import Fold
from stfer.reporting.figures import COLOURS, canvas, save
from stfer.reporting.tables import Column, Table, format_value
from stfer.runs.inner_folds import Search
from stfer.runs.search import Trial, best
from stfer.runs.search_results import IMPORTANCES, TRIALS, write_trials

_MARKS = {"complete": ("o", COLOURS[0]), "pruned": ("x", COLOURS[1]), "failed": ("v", COLOURS[6])}


def draw(folder: Path) -> list[Path]:
    """Draw `best_so_far` and, where there are importances, `importances`, each as PNG and SVG.

    Args:
        folder: a search's; holds search.csv, perhaps importances.csv.
    """
    trials = pd.read_csv(folder / TRIALS)
    written = save(best_so_far_figure(trials), folder / "figures" / "best_so_far")
    if (folder / IMPORTANCES).exists():
        shares = pd.read_csv(folder / IMPORTANCES)
        written += save(importance_figure(shares), folder / "figures" / "importances")
    return written


def best_so_far_figure(trials: pd.DataFrame) -> Figure:
    """Every trial's accuracy (a pruned one's at its last epoch) and the best complete one so far.

    Args:
        trials: search.csv.
    """
    with canvas(6.4, 3.2) as (figure, axes):
        plot = axes[0, 0]
        for state, (mark, colour) in _MARKS.items():
            rows = trials[trials["state"] == state]
            heights = rows["accuracy"].fillna(rows["last_accuracy"])
            if heights.notna().any():
                plot.plot(rows["trial"], heights, mark, color=colour, label=state, markersize=5)
        complete = trials["accuracy"].where(trials["state"] == "complete")
        plot.step(trials["trial"], complete.cummax().ffill(), where="post", color=COLOURS[2],
                  label="best so far")  # fmt: skip
        plot.set_xlabel("trial")
        plot.set_ylabel("mean accuracy of the inner folds")
        plot.locator_params(axis="x", integer=True)
        figure.legend(loc="outside right upper", fontsize=8)
    return figure


def importance_figure(shares: pd.DataFrame) -> Figure:
    """Each dimension's importance, the largest on top.

    Args:
        shares: importances.csv.
    """
    ordered = shares.sort_values("importance")
    with canvas(5.6, 1.2 + 0.32 * len(ordered)) as (figure, axes):
        plot = axes[0, 0]
        places = np.arange(len(ordered))
        plot.barh(places, ordered["importance"], color=COLOURS[0], height=0.6)
        plot.set_yticks(places, ordered["name"])
        plot.set_xlabel("importance (functional ANOVA; all sum to 1)")
    return figure


@contextlib.contextmanager
def progress_bar(search: Search, trials: int) -> Iterator[Callable[[Sequence[Trial]], None]]:
    """A bar over a search's trials with the best so far, and the function that moves it and writes the tables."""
    with tqdm.tqdm(total=trials, unit="trial", dynamic_ncols=True, desc="search") as bar:

        def told(made: Sequence[Trial]) -> None:
            write_trials(search, made)
            done = [trial for trial in made if trial.counts and trial.state != "running"]
            if any(trial.state == "complete" for trial in done):
                winner = best(done)
                bar.set_postfix_str(
                    f"best {winner.value:.3f} (trial {winner.number})", refresh=False
                )
            bar.update(len(done) - bar.n)
            bar.refresh()

        yield told


def nested_progress(
    trials: int,
) -> Callable[[Fold, Search], contextlib.AbstractContextManager[Callable[..., None]]]:
    """What shows each search of a nested one, see `stfer.runs.nested.run`."""

    def begin(
        fold: Fold, search: Search
    ) -> contextlib.AbstractContextManager[Callable[[Sequence[Trial]], None]]:
        print(f"\nouter fold {fold.held_out}", flush=True)
        return progress_bar(search, trials)

    return begin


def result_text(trials: Sequence[Trial]) -> str:
    """How many trials ended how, and the best one's values."""
    counts = {s: sum(t.state == s for t in trials) for s in (*_MARKS, "lost", "running")}
    ended = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    lines = [f"\n{len(trials)} trials: {ended}"]
    if counts["complete"]:
        winner = best(trials)
        lines.append(
            f"  best: trial {winner.number}, mean accuracy of the inner folds {winner.value:.3f} (chosen as the "
            "highest of all trials, so it says too much; test on people outside the search)"
        )
        lines += [f"    {name}  {value}" for name, value in winner.values.items()]
    failed = {trial.reason: trial.number for trial in trials if trial.reason}
    lines += [f"  failed: trial {number}: {reason}" for reason, number in list(failed.items())[:3]]
    return "\n".join(lines)


def nested_table(result: Mapping[str, Any], vote: str = "summed") -> Table:
    """What a nested search's `nested.json` says: the whole procedure beside the fixed settings."""
    gain = result["gain"][vote]
    rows = [
        ("searched inside each outer fold", gain["sequences"], gain["subjects"], gain["accuracy"]),
        ("fixed settings", gain["sequences"], gain["subjects"], gain["reference"]),
    ]
    interval = gain["interval"]
    spread = f", 95 % interval {interval[0]:+.3f} to {interval[1]:+.3f}" if interval else ""
    p = format_value(gain["p"], "p")
    return Table(
        f"nested_{vote}",
        f"Nested search on {len(result['folds'])} of {result['folds_total']} outer folds, vote by {vote} probability",
        (
            Column("Settings"),
            Column("Sequences", "count"),
            Column("Subjects", "count"),
            Column("Accuracy", "share"),
        ),
        tuple(rows),
        (
            f"Difference {gain['difference']:+.3f}{spread} (bootstrap over subjects); permutation test over subjects "
            f"p = {p}.",
        ),
    )
