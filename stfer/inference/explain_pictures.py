"""Explanations as pictures: a sheet a clip, and sheets of right and wrong sequences of people new to a model."""

import itertools
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from stfer.data.faces import FaceFollower, crop_face
from stfer.data.lettering import legible
from stfer.data.shards import Shards
from stfer.inference.evaluation import predict_shards, select
from stfer.inference.explain import Explanation, explain
from stfer.inference.model import TrainedModel
from stfer.inference.sources import Frame, Source
from stfer.inference.stream import predict_stream
from stfer.inference.windows import Window
from stfer.storage.files import staged_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_FRAMES = 5  # of a clip on a sheet


@dataclass(frozen=True)
class Example:
    """A clip, what it is said to show, and why.

    Attributes:
        title: Of its pictures.
        clip: uint8 [time, size, size, 3].
        explanation: Of the class that the model gives.
    """

    title: str
    clip: np.ndarray
    explanation: Explanation


def overlay(picture: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A map over a picture in grey, from nothing over yellow to red.

    Args:
        picture: uint8 [height, width, 3].
        values: [height, width]; what is below 0 counts as 0, 1 and more as the strongest.

    Returns:
        uint8 [height, width, 3].
    """
    strength = np.clip(values, 0, 1).astype(np.float32)
    # AUTUMN runs from red to yellow in BGR, and the strongest is to be red.
    heat = cv2.applyColorMap((255 * (1 - strength)).astype(np.uint8), cv2.COLORMAP_AUTUMN)[
        ..., ::-1
    ]
    grey = picture.mean(-1, keepdims=True)
    share = 0.75 * np.sqrt(strength)[..., None]
    return (grey * (1 - share) + heat * share).astype(np.uint8)


def clip_sheet(example: Example) -> "Figure":
    """One clip: its frames, Grad-CAM and occlusion over them, and the loss without each frame."""
    import matplotlib.figure

    clip, said = example.clip, example.explanation
    shown = np.unique(np.round(np.linspace(0, len(clip) - 1, MOST_FRAMES)).astype(int))
    named = _pictures(example, shown)
    heights = [1.7] * len(named) + ([1.2] if len(clip) > 1 else [])
    size = (1.7 * len(shown) + 1.6, sum(heights) + 0.8)
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(len(heights), len(shown), height_ratios=heights)
    for row, (name, pictures) in enumerate(named.items()):
        for column, picture in enumerate(pictures):
            axis = _show(figure.add_subplot(grid[row, column]), picture)
            if not row:
                axis.set_title(f"frame {shown[column] + 1}", fontsize=9)
            if not column:
                axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    if len(clip) > 1:
        axis = figure.add_subplot(grid[len(named), :])
        axis.bar(np.arange(1, len(clip) + 1), said.over_time, color="#0072B2")
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_xticks(np.arange(1, len(clip) + 1))
        axis.set_ylabel("loss without", fontsize=9)
        axis.set_xlabel("frame of the clip", fontsize=9)
    figure.suptitle(_plain(f"{example.title}: {said.label} {said.probability:.2f}"), fontsize=10)
    return legible(figure)


def _pictures(example: Example, shown: Sequence[int] | np.ndarray) -> dict[str, list[np.ndarray]]:
    """Some frames of a clip, and both maps over them."""
    clip, said = example.clip, example.explanation
    scale = max(float(said.occlusion.max()), 1e-12)
    return {
        "frame": [clip[n] for n in shown],
        "Grad-CAM": [overlay(clip[n], said.grad_cam[n]) for n in shown],
        f"occlusion,\nup to {scale:.2f}": [overlay(clip[n], said.occlusion / scale) for n in shown],
    }


def _show(axis: Any, picture: np.ndarray) -> Any:
    axis.imshow(picture)
    axis.set_xticks([], [])
    axis.set_yticks([], [])
    return axis


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # A dollar sign in a name is no formula.


def contact_sheet(examples: Sequence[Example]) -> "Figure":
    """Last frames of several clips, a row each: the frame, Grad-CAM and occlusion over it."""
    import matplotlib.figure

    size = (7.5, 0.4 + 1.75 * len(examples))
    figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(examples), 3, squeeze=False)
    for example, row in zip(examples, axes, strict=True):
        said = example.explanation
        for (name, pictures), axis in zip(_pictures(example, [-1]).items(), row, strict=True):
            _show(axis, pictures[0]).set_title(name.replace("\n", " "), fontsize=8)
        text = _plain(f"{example.title}\nsaid: {said.label} {said.probability:.2f}")
        row[0].set_ylabel(text, rotation=0, ha="right", va="center", fontsize=9)
    return legible(figure)


def of_source(
    model: TrainedModel, source: Iterable[Frame], window: Window, most: int, most_frames: int
) -> list[Example]:
    """Clips of the largest face of a video or of pictures, spread evenly over it.

    Args:
        model: A trained model.
        source: The frames.
        window: How clips slide over them.
        most: Clips, at most.
        most_frames: Frames that are read, at most; their faces are kept in memory.

    Raises:
        ValueError: No clip can be made of it.
    """
    follower = FaceFollower(model.crop, largest=1, patience=None)
    crops: dict[int, np.ndarray] = {}
    found: list[tuple[Frame, tuple[int, ...]]] = []
    frames = itertools.islice(source, most_frames)
    for result in predict_stream(model, frames, window, follower=follower):
        frame = result.frame
        for face in result.faces:
            if face.face is not None and frame.pixels is not None:
                crops[frame.number] = crop_face(frame.pixels, face.face, model.crop)
            if face.clip_frames:
                found.append((frame, face.clip_frames))
    if not found:
        raise ValueError(
            "no clip can be made of the input: no face was found, or in too few frames"
        )
    chosen = np.unique(np.round(np.linspace(0, len(found) - 1, most)).astype(int))
    examples = []
    for frame, places in (found[place] for place in chosen):
        clip = np.stack([crops[place] for place in places])
        title = f"frame {frame.number}, {frame.seconds:.2f} s"
        examples.append(Example(title, clip, explain(model, clip)))
    return examples


def of_shards(
    model: TrainedModel, shards: Shards, each: int
) -> tuple[list[Example], list[Example]]:
    """Right and wrong sequences of people who were not in training, up to `each` of both, spread over the classes.

    Returns:
        The right ones and the wrong ones; of each sequence its last clip.

    Raises:
        ValueError: As `evaluation.select`.
    """
    selection = select(model, shards)
    predictions = predict_shards(model, shards, selection.rows, selection.classes)
    parts: dict[bool, list[tuple[str, int]]] = {True: [], False: []}
    for row, prediction in zip(selection.rows, predictions, strict=True):
        is_right = prediction.predicted["summed"] == prediction.label
        parts[is_right].append((prediction.label, int(row)))
    right, wrong = (
        [_of_sequence(model, shards, row) for row in _in_turn(parts[is_right], each)]
        for is_right in (True, False)
    )
    return right, wrong


def _in_turn(labelled: Sequence[tuple[str, int]], most: int) -> list[int]:
    """Rows of each class in turn, up to so many."""
    by_class: dict[str, list[int]] = {}
    for label, row in labelled:
        by_class.setdefault(label, []).append(row)
    chosen: list[int] = []
    while len(chosen) < most and any(by_class.values()):
        chosen += [rows.pop(0) for rows in by_class.values() if rows]
    return chosen[:most]


def _of_sequence(model: TrainedModel, shards: Shards, row: int) -> Example:
    frames = shards.frames(row)
    places, _ = model.judge(frames, shards.ids[row])
    clip = np.ascontiguousarray(frames[places[-1]])
    label = shards.classes[shards.labels[row]]
    return Example(f"{shards.ids[row]}\nlabelled: {label}", clip, explain(model, clip))


def default_folder(where: str | Path, shown: Source | Shards) -> Path:
    """`explanations/MODEL-on-INPUT`.

    Args:
        where: The model's folder.
        shown: The input, which is named by its file; or a set, whose name is data and is quoted.
    """
    name = urllib.parse.quote(shown.name, safe="+ ") if isinstance(shown, Shards) else shown.name
    return Path("explanations") / f"{Path(where).resolve().name}-on-{name}"


def write_sheets(folder: str | Path, figures: Sequence[tuple[str, "Figure"]]) -> list[Path]:
    """Write figures as PNG files into a new folder, whole or not at all.

    Raises:
        FileExistsError: The folder is there already.
    """
    with staged_folder(folder) as staging:
        for name, figure in figures:
            figure.savefig(staging / name, dpi=120)
    return [Path(folder) / name for name, _ in figures]
