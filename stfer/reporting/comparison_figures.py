"""The figures of a comparison.

Class distribution (paper Fig. 12), accuracy of all architectures with intervals, accuracy of each subject, and accuracy
against time spent. Style and colours as in `stfer.reporting.figures`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from stfer.evaluation.voting import VOTES
from stfer.reporting.comparisons import Comparison, counted
from stfer.reporting.figures import COLOURS, MARKERS, VOTE_NAMES, canvas, put_title, save
from stfer.reporting.paper import PAPER, PAPER_SETS
from stfer.reporting.paper_tables import papers_own
from stfer.reporting.runs import Run, display_name
from stfer.reporting.scores import outcomes, score

_MOST_NAMED_SUBJECTS = 60


def draw_comparison(comparison: Comparison, folder: Path, vote: str) -> list[Path]:
    """Draw what shows several architectures at once.

    Args:
        comparison: what to draw.
        folder: where the files go: `accuracy`, `subjects`, `time`, each as PNG and SVG.
        vote: whose accuracy stands in the figures that show one.
    """
    written = save(accuracy_figure(comparison), folder / "accuracy")
    written += save(subject_figure(comparison, vote), folder / "subjects")
    if any(score(runs, vote).seconds for runs in comparison.by_architecture.values()):
        written += save(time_figure(comparison, vote), folder / "time")
    return written


def distribution_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Sequences of each class in each data set (Fig. 12): the sequences that were tested."""
    # Comparisons of one set (other settings, another protocol) tested the same sequences: the fullest run of them.
    fullest: dict[tuple[str, str], tuple[str, Run]] = {}
    for comparison in comparisons:
        run = max(comparison.runs, key=lambda run: run.result["sequences"])
        _, known = fullest.get((run.data, run.checksum), (None, None))
        if known is None or run.result["sequences"] > known.result["sequences"]:
            fullest[run.data, run.checksum] = (comparison.label, run)
    classes = list(dict.fromkeys(name for _, run in fullest.values() for name in run.classes))
    names = [run.data for _, run in fullest.values()]
    with canvas(6.5, 2.8) as (figure, axes):
        plot = axes[0, 0]
        width = 0.8 / len(fullest)
        for number, (label, run) in enumerate(fullest.values()):
            name = label if names.count(run.data) > 1 else run.data
            part = "" if run.complete else f", {run.folds} folds"
            counts = run.of_vote("summed")["label"].value_counts()
            counts = counts.reindex(run.classes, fill_value=0)
            places = np.array([classes.index(c) for c in run.classes])
            places = places + (number - (len(fullest) - 1) / 2) * width
            bars = plot.bar(
                places,
                counts,
                width * 0.94,
                color=COLOURS[number % len(COLOURS)],
                hatch=("", "//", "..", "xx")[number % 4],
                edgecolor="white",
                label=f"{name} ({counts.sum()} sequences{part})",
            )
            plot.bar_label(bars, fontsize=7, padding=1)
        plot.set_xticks(range(len(classes)), classes)
        plot.set_ylabel("sequences")
        plot.margins(y=0.12)
        figure.legend(loc="outside upper left", ncols=2, fontsize=8)
    return figure


def accuracy_figure(comparison: Comparison) -> Figure:
    """Accuracy of every architecture by both votes, 95 % intervals, chance, and the paper's on the paper's data."""
    groups = comparison.by_architecture
    published = papers_own(comparison) if comparison.protocol == "loso" else None
    with canvas(6.5, 1.5 + 0.45 * len(groups)) as (figure, axes):
        plot = axes[0, 0]
        for row, (architecture, runs) in enumerate(groups.items()):
            for number, vote in enumerate(VOTES):
                ours = score(runs, vote)
                low, high = ours.interval or (ours.accuracy, ours.accuracy)
                plot.errorbar(
                    ours.accuracy,
                    row + (number - 0.5) * 0.26,
                    # A mean over seeds can lie outside its bootstrap's percentiles by a hair.
                    xerr=[[max(0, ours.accuracy - low)], [max(0, high - ours.accuracy)]],
                    fmt=MARKERS[number],
                    color=COLOURS[number],
                    capsize=2,
                    label=VOTE_NAMES[vote] if row == 0 else None,
                )
            if published and architecture in PAPER:
                place = PAPER_SETS.index(published)
                values = [accuracies[place] for accuracies in PAPER[architecture].votes.values()]
                plot.plot(
                    values,
                    [row] * len(values),
                    linestyle="",
                    marker="X",
                    color="black",
                    markerfacecolor="white",
                    label="the paper" if row == 0 else None,
                )
        plot.axvline(
            comparison.chance, color="0.45", linestyle=":", linewidth=1.2, label="commonest class"
        )
        plot.set_yticks(
            range(len(groups)), [_row_label(name, runs) for name, runs in groups.items()]
        )
        plot.set_ylim(len(groups) - 0.5, -0.5)  # the first on top
        plot.set_xlim(0, 1)
        plot.set_xlabel("accuracy, 95 % interval over subjects")
        figure.legend(loc="outside lower right", ncols=4, fontsize=8)
        put_title(figure, comparison.title)
    return figure


def subject_figure(comparison: Comparison, vote: str) -> Figure:
    """Accuracy of every subject (columns, hardest first) under every architecture (rows)."""
    groups = comparison.by_architecture
    series = [outcomes(runs, vote).groupby("subject")["right"].mean() for runs in groups.values()]
    subjects = sorted(set().union(*(s.index for s in series)))
    values = np.array([s.reindex(subjects).to_numpy(dtype=float) for s in series])
    order = np.argsort(np.nanmean(values, axis=0), kind="stable")
    with canvas(min(11, 2.6 + 0.22 * max(len(subjects), 14)), 1.6 + 0.32 * len(groups)) as (
        figure,
        axes,
    ):
        plot = axes[0, 0]
        # Grey is a subject that an architecture was not tested on.
        plot.set_facecolor("0.85")
        image = plot.imshow(values[:, order], cmap="cividis", vmin=0, vmax=1, aspect="auto")
        plot.set_yticks(
            range(len(groups)), [_row_label(name, runs) for name, runs in groups.items()]
        )
        if len(subjects) <= _MOST_NAMED_SUBJECTS:
            names = [subjects[i] for i in order]
            plot.set_xticks(range(len(subjects)), names, rotation=90, fontsize=7)
        else:
            plot.set_xticks([])
            plot.set_xlabel(f"{len(subjects)} subjects, hardest first")
        plot.spines[:].set_visible(False)
        plot.tick_params(length=0)
        figure.colorbar(image, ax=plot, label="accuracy", fraction=0.04, pad=0.02)
        put_title(figure, f"{comparison.title}; accuracy of each subject, {VOTE_NAMES[vote]}")
    return figure


def time_figure(comparison: Comparison, vote: str) -> Figure:
    """Accuracy against training seconds a fold, both as measured."""
    with canvas(6.0, 3.2) as (figure, axes):
        plot = axes[0, 0]
        for number, (architecture, runs) in enumerate(comparison.by_architecture.items()):
            ours = score(runs, vote)
            if not ours.seconds:
                continue
            low, high = ours.interval or (ours.accuracy, ours.accuracy)
            plot.errorbar(
                ours.seconds,
                ours.accuracy,
                yerr=[[max(0, ours.accuracy - low)], [max(0, high - ours.accuracy)]],
                fmt=MARKERS[number % len(MARKERS)],
                color=COLOURS[number % len(COLOURS)],
                capsize=2,
                label=_row_label(architecture, runs),
            )
        plot.set_xscale("log")
        plot.margins(x=0.12)
        # Plain numbers at 1, 2 and 5 of each decade: powers of ten are hard to read off.
        plot.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        plot.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        plot.xaxis.set_minor_locator(NullLocator())
        plot.set_ylim(0, 1)
        plot.set_xlabel("training seconds a fold (log scale)")
        plot.set_ylabel("accuracy, 95 % interval")
        figure.legend(loc="outside right center", fontsize=8)
        put_title(figure, f"{comparison.title}; {VOTE_NAMES[vote]}")
    return figure


def _row_label(architecture: str, runs: Sequence) -> str:
    """The architecture's name, and how many folds where they are not all."""
    partial = dict.fromkeys(run.folds for run in counted(runs) if not run.complete)
    return display_name(architecture) + (f"\n({', '.join(partial)} folds)" if partial else "")
