"""The figures of one finished run.

Training curves (paper Fig. 17, 20, 22, 24, 26, 29) and confusion matrices (Fig. 18, 19, 21, 23, 25, 27, 28, 30).

Legible in print and by colour-blind readers: colours of Okabe & Ito 2008 ("Color Universal Design") with a line style
or marker of their own, one-hue confusion matrices with the numbers written in. Unlike the paper, which shows the curve
of one subject, the curves show the mean over all folds and the spread.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stfer.data.lettering import legible
from stfer.evaluation.voting import VOTES
from stfer.reporting.runs import Run, display_name, read_run

# Okabe & Ito's palette, without its yellow, which is too faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FORMATS = ("png", "svg")
VOTE_NAMES = {"summed": "summed probability", "maximum": "maximum probability"}
_STYLE: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "svg.hashsalt": "stfer",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def draw_run(run_folder: str | Path, out: Path | None = None) -> list[Path]:
    """Draw the figures of one finished run.

    Args:
        run_folder: holds config.json, result.json, predictions.csv and history.csv.
        out: where the files go; the run's own folder `figures` if None.

    Returns:
        The files written: `confusion_summed`, `confusion_maximum` and `training`, each as PNG and SVG.

    Raises:
        FileNotFoundError, ValueError: as `stfer.reporting.runs.read_run`.
    """
    run = read_run(run_folder)
    folder = out or run.folder / "figures"
    written = []
    for vote in VOTES:
        written += save(confusion_figure(run, vote), folder / f"confusion_{vote}")
    if not run.history.empty:
        written += save(training_figure(run), folder / "training")
    return written


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and SVG beside each other, and return the paths.

    The same figure gives the same bytes: no date is written and the SVG's ids are fixed.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{ending}") for ending in FORMATS]
    with mpl.rc_context(_STYLE):
        legible(figure)
        for path in paths:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


@contextmanager
def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> Iterator[tuple[Figure, NDArray]]:
    """A figure outside of pyplot's global state, with the axes as an array [rows, columns].

    Args:
        width: inches.
        height: inches.
        rows: of axes.
        columns: of axes.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False)


def put_title(figure: Figure, text: str, size: float = 9) -> None:
    """A figure's title, in as many lines as its width asks for; `size` is in points."""
    letters = figure.get_figwidth() * 72 / (0.55 * size)  # A letter is about so wide on average.
    figure.suptitle(textwrap.fill(text, int(letters)), fontsize=size)


def caption(run: Run) -> str:
    """Architecture, data, protocol and how many folds, for a figure's title."""
    return (
        f"{display_name(run.architecture)}, {run.data}, {run.protocol.upper()}, {run.folds} folds"
    )


def confusion_figure(run: Run, vote: str) -> Figure:
    """The confusion matrix of one vote: counts and row percentages, rows are the true class."""
    matrix = np.asarray(run.result["votes"][vote]["confusion_matrix"])
    size = 1.9 + 0.62 * len(matrix)
    with canvas(size + 0.3, size) as (figure, axes):
        draw_confusion(axes[0, 0], matrix, run.classes)
        accuracy = run.result["votes"][vote]["accuracy"]
        axes[0, 0].set_title(
            f"{caption(run)}\nvote by {VOTE_NAMES[vote]}, accuracy {accuracy:.3f} of {matrix.sum()} sequences",
            loc="left",
            fontsize=8,
        )
    return figure


def draw_confusion(axes: Axes, matrix: NDArray[np.int64], classes: tuple[str, ...]) -> None:
    """Draw a confusion matrix.

    Args:
        axes: where to draw.
        matrix: int [classes, classes], counts; rows are the true class.
        classes: their names.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(totals, 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        # A class without a sequence has no percentage.
        percent = f"{share[row, column]:.0%}" if totals[row, 0] else "\N{EN DASH}"
        colour = "white" if share[row, column] > 0.55 else "black"
        text = f"{matrix[row, column]}\n{percent}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def training_figure(run: Run) -> Figure:
    """Loss and accuracy by epoch, training and held out: the mean over folds and the 10th to 90th percentile."""
    with canvas(7.2, 3.0, columns=2) as (figure, axes):
        draw_curves(axes[0, 0], run.history, "loss")
        draw_curves(axes[0, 1], run.history, "accuracy")
        axes[0, 1].set_ylim(-0.03, 1.03)
        axes[0, 0].legend()
        put_title(figure, caption(run) + "; mean and 10th to 90th percentile over folds", 8)
    return figure


def draw_curves(axes: Axes, history: pd.DataFrame, quantity: str) -> None:
    """Draw one quantity's curves.

    Args:
        axes: where to draw.
        history: `Run.history`.
        quantity: "loss" or "accuracy".
    """
    styles = (("train", "training", "--", COLOURS[0]), ("heldout", "held out", "-", COLOURS[1]))
    for prefix, label, line, colour in styles:
        table = history.pivot(index="epoch", columns="subject", values=f"{prefix}_{quantity}")
        epochs, values = table.index.to_numpy(), table.to_numpy(dtype=float)
        known = ~np.isnan(values).all(axis=1)
        epochs, values = epochs[known], values[known]
        if not len(epochs):
            continue
        low, high = np.nanpercentile(values, [10, 90], axis=1)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
        # One epoch is a point, which a line would not show.
        axes.plot(
            epochs,
            np.nanmean(values, axis=1),
            line,
            color=colour,
            label=label,
            marker="o" if len(epochs) == 1 else None,
        )
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    axes.locator_params(axis="x", integer=True)
