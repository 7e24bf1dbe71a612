"""A finished run as event files for TensorBoard: scalars a fold, accuracies and confusion matrices over all of them.

RUN/tensorboard/held_out=SUBJECT/    loss and accuracy by epoch, in training and held out
RUN/tensorboard/all/                 both votes' accuracy, unweighted average recall, F1 and confusion matrix
"""

import shutil
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from stfer.errors import UserError
from stfer.evaluation.voting import VOTES
from stfer.reporting.figures import confusion_figure
from stfer.reporting.runs import Run, read_run

FOLDER = "tensorboard"
_SCALARS = ("accuracy", "unweighted_average_recall", "macro_f1")


def check_installed() -> None:
    """Raise UserError unless tensorboardX can be imported."""
    _writer_class()


def write_events(run_folder: str | Path) -> Path:
    """Write a finished run's event files; those of an earlier call go.

    Returns:
        The folder for `tensorboard --logdir`.

    Raises:
        UserError: tensorboardX is not installed.
        FileNotFoundError, ValueError: As `stfer.reporting.runs.read_run`.
    """
    make, run = _writer_class(), read_run(run_folder)
    folder = run.folder / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    for subject, rows in run.history.groupby("subject"):
        name = f"held_out={urllib.parse.quote(str(subject), safe=' ')}"
        with make(str(folder / name)) as writer:
            for row in rows.to_dict("records"):
                for part in ("train", "heldout"):
                    for quantity in ("loss", "accuracy"):
                        value = float(row[f"{part}_{quantity}"])
                        if np.isfinite(value):
                            writer.add_scalar(f"{quantity}/{part}", value, int(row["epoch"]))
    with make(str(folder / "all")) as writer:
        _write_votes(writer, run)
    return folder


def _write_votes(writer: Any, run: Run) -> None:
    for vote in VOTES:
        for name in _SCALARS:
            value = run.result["votes"][vote].get(name)
            if value is not None:
                writer.add_scalar(f"{name}/{vote}", float(value), 0)
        writer.add_image(
            f"confusion/{vote}", _pixels(confusion_figure(run, vote)), 0, dataformats="HWC"
        )


def _pixels(figure: Any) -> np.ndarray:
    """A figure as uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _writer_class() -> Any:
    try:
        import tensorboardX
    except ImportError:
        raise UserError(
            "--tensorboard needs tensorboardX: pip install 'stfer[tensorboard]'"
        ) from None
    return tensorboardX.SummaryWriter
