"""`stfer.predict`: a video, pictures or an array to a pandas table, one row a frame and face."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stfer.data.faces import FaceFollower
from stfer.inference.model import TrainedModel, checked_frames, load_model
from stfer.inference.record import FRAME_COLUMNS, frame_rows
from stfer.inference.sources import Frame, open_source
from stfer.inference.stream import CHUNK, predict_stream
from stfer.inference.windows import window

if TYPE_CHECKING:
    import pandas as pd

_UNKNOWN_RATE = 25.0  # frames a second of an array whose times are not given


def predict(
    frames_or_path: np.ndarray | Sequence[np.ndarray] | str | os.PathLike[str],
    model: TrainedModel | str | os.PathLike[str] | None = None,
    *,
    seconds: Sequence[float] | None = None,
    faces: int = 8,
    stride: int = 1,
    reference: str | None = None,
) -> "pd.DataFrame":
    """Find, follow and classify the faces of a video.

    Args:
        frames_or_path: One input as `stfer.inference.sources.open_source` takes it (a video, an image, a folder or list
            of images, a camera or stream; no pattern and no folder of videos), or uint8 frames
            [frames, height, width, 3] RGB, or [frames, height, width] grey.
        model: A trained model or its folder; None for the one that ships.
        seconds: When each frame of an array was, ascending; None counts 25 frames a second.
        faces: Faces followed at once, the largest.
        stride: Frames from one clip's end to the next.
        reference: What a model of pairs compares with: `back`, `first` or `auto`; None for the model's own.

    Returns:
        The columns of frames.csv: `frame`, `seconds`, `track`, `status`, the box `x`, `y`, `width`, `height` in
        pixels, `label`, and a column a class with its probability. A frame without a face is a row too; a face
        without a clip has no label and NaN probabilities. A track is a stretch of video, not a person.

    Raises:
        FileNotFoundError: Nothing is at the path.
        ValueError: It cannot be read, or the arguments do not go together.

    Example:
        >>> table = predict(np.zeros((3, 64, 64, 3), np.uint8))
        >>> table.status.tolist()
        ['no face', 'no face', 'no face']
    """
    if not isinstance(model, TrainedModel):
        model = load_model(*([] if model is None else [model]))
    frames, is_timed = _frames(frames_or_path, seconds)
    rate = model.frame_rate if is_timed else None
    sliding = window(model.rule, stride, None, reference or model.reference, rate)
    follower = FaceFollower(model.crop, largest=faces)
    results = predict_stream(model, frames, sliding, CHUNK, follower)
    rows = [row for result in results for row in frame_rows(result, model.classes)]
    return table_of(rows, model.classes)


def table_of(rows: Sequence[dict[str, Any]], classes: Sequence[str]) -> "pd.DataFrame":
    """Rows of `record.frame_rows` as a table with a type a column."""
    import pandas as pd

    said = [row.get("probabilities") or {} for row in rows]
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in FRAME_COLUMNS}
    columns |= {name: [each.get(name, np.nan) for each in said] for name in classes}
    kinds = {"frame": "int64", "track": "Int64", "status": "string", "label": "string"}
    return pd.DataFrame(columns).astype(
        {name: kinds.get(name, "float64") for name in (*FRAME_COLUMNS, *classes)}
    )


def _frames(given: Any, seconds: Sequence[float] | None) -> tuple[Any, bool]:
    """The frames, and whether their times are known."""
    if isinstance(given, str | os.PathLike):
        if seconds is not None:
            raise ValueError("seconds go with an array of frames; a video has its own times")
        source = open_source(os.fspath(given))
        return source, source.is_timed
    frames = checked_frames(given)
    if seconds is not None and (len(seconds) != len(frames) or np.any(np.diff(seconds) < 0)):
        raise ValueError(f"seconds must ascend, one for each of the {len(frames)} frames")
    return _numbered(frames, seconds), seconds is not None


def _numbered(frames: Sequence[np.ndarray], seconds: Sequence[float] | None) -> Iterator[Frame]:
    for number, pixels in enumerate(frames):
        when = number / _UNKNOWN_RATE if seconds is None else float(seconds[number])
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        yield Frame(number, when, pixels)
