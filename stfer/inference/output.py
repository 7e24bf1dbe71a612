"""The whole of a prediction: a source's frames to a folder of tables, a timeline and an annotated video, and sentences.

frames.csv, clips.csv, predictions.json    see `stfer.inference.record`
timeline.png                               each track's probabilities over time
annotated.mp4                              the frames with what the model says
index.html                                 the video with the probabilities in step, see `stfer.inference.pages`
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from stfer.data.cropping import is_small_square, turn_that_helps
from stfer.data.faces import FaceFollower
from stfer.errors import UserError, is_for_user, sentence
from stfer.inference import record
from stfer.inference.drawing import annotated_video
from stfer.inference.model import TrainedModel
from stfer.inference.pages.watch import PAGE, watch_page
from stfer.inference.sources import Frame, Source
from stfer.inference.stream import CHUNK, LIVE_CHUNK, FrameResult, Summaries, predict_stream
from stfer.inference.timeline import Timeline
from stfer.inference.windows import Window
from stfer.storage.files import staged_folder, write_atomically

TIMELINE, VIDEO = "timeline.png", "annotated.mp4"


@dataclass(frozen=True)
class Prediction:
    """What is to be predicted, and how.

    Attributes:
        model: A trained model.
        source: Where the frames come from.
        window: How clips slide over them.
        faces: Faces followed at once, the largest.
        chunk: Frames worked on at once; None for what suits the source.
        max_frames: Stop after this many; None for all.
        video: Write the annotated video.
    """

    model: TrainedModel
    source: Source
    window: Window
    faces: int = 8
    chunk: int | None = None
    max_frames: int | None = None
    video: bool = True

    def check(self) -> None:
        """Raise ValueError where the model takes more than frames, or the source has too few of them for a clip."""
        self.model.check_seen_in_pictures()
        length = self.source.length
        if self.source.kind == "images" and length is not None and length < self.window.shortest:
            raise ValueError(self.too_short(length))

    def settings(self) -> dict[str, object]:
        """What is about to be done, by name."""
        source, model = self.source, self.model
        length = source.length or "unknown number of"
        return {
            "model": f"{model.architecture}: {', '.join(model.classes)}",
            "input": f"{source.kind}, {length} frames, {source.rate:g} a second",
            "clip": self.window,
            "stride": self.window.stride,
            "faces": f"{model.crop.detector}, margin {model.crop.margin}, {model.crop.size} px",
        }

    def too_short(self, frames: int) -> str:
        """Why there is no clip in so many frames, and what to do."""
        unit = "frame" if frames == 1 else "frames"
        still = " A single_frame model can classify a still." if frames == 1 else ""
        first = ""
        if self.model.rule.frames == 2 and not self.window.from_first and frames > 1:
            first = " --reference=first, or a smaller --pair_distance, needs fewer."
        return (
            f"{self.model.architecture} compares frames over time and needs a face followed through "
            f"{self.window.shortest} frames, but there {'is' if frames == 1 else 'are'} {frames} {unit}."
            f"{still}{first}"
        )


@dataclass(frozen=True)
class Outcome:
    """What a prediction came to.

    Attributes:
        paths: The files.
        tracks: As `record.summary` returns them.
        frames: Frames read.
        unreadable: How many of them could not be.
        seconds: Time that it took.
        notes: What is peculiar about the source, and what may help.
        timeline: The probabilities over time.
        interrupted: Whether it was stopped before the source's end.
    """

    paths: list[Path]
    tracks: list[dict[str, Any]]
    frames: int
    unreadable: int
    seconds: float
    notes: tuple[str, ...] = ()
    timeline: Timeline = field(default_factory=lambda: Timeline(()))
    interrupted: bool = False


def predict_into(
    prediction: Prediction,
    folder: str | Path,
    about: Mapping[str, object] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    progress: bool = True,
    up: str | None = None,
) -> Outcome:
    """Make a prediction's folder, whole or not at all.

    Args:
        prediction: What to predict.
        folder: Must not exist.
        about: Settings for the record.
        should_stop: Asked before each frame; the folder then holds what was predicted until there.
        progress: Show a progress bar.
        up: The page of all inputs, as an address from this folder's page, where there are several.

    Raises:
        FileExistsError: The folder is there already.
        ValueError: The source cannot be read.
        OSError: A file cannot be written.
    """
    model, source = prediction.model, prediction.source
    chunk = prediction.chunk or (LIVE_CHUNK if source.kind == "camera" else CHUNK)
    follower = FaceFollower(model.crop, largest=prediction.faces)
    frames = _Limited(source, prediction.max_frames, should_stop)
    summaries = Summaries(len(model.classes))
    timeline = Timeline(model.classes, prediction.window.stride)
    samples = Samples()
    began = time.monotonic()
    with staged_folder(folder) as part:
        with contextlib.ExitStack() as stack:
            tables = stack.enter_context(record.Tables(part, model.classes))
            takers: list[Callable[[FrameResult], object]] = [
                tables.add,
                summaries.add,
                timeline.add,
                samples.add,
            ]
            if prediction.video:
                video = annotated_video(part / VIDEO, model.classes)
                takers.append(stack.enter_context(video))
            results = predict_stream(model, frames, prediction.window, chunk, follower)
            total = min(filter(None, (source.length, prediction.max_frames)), default=None)
            count, unreadable = _consume(results, takers, total, progress)
            seconds = time.monotonic() - began
            tracks = record.summary(summaries, model.classes)
            settings = {name: str(value) for name, value in (about or {}).items()}
            tables.write_json({"format": 1, "settings": settings, "frames_read": count}, tracks)
        title = f"{model.architecture} on {source.name}"
        timeline.draw(part / TIMELINE, title)
        notes = (*source.notes, *_hints(prediction, tracks, samples, follower))
        files = (record.FRAMES, record.CLIPS, record.JSON, TIMELINE)
        shown = VIDEO if (part / VIDEO).exists() else None
        page = watch_page(
            title,
            timeline,
            tracks,
            step=1 / source.rate,
            video=shown,
            files=files,
            settings=settings,
            notes=notes,
            up=up,
        )
        write_atomically(part / PAGE, page)
        names = (PAGE, *files, *([VIDEO] if shown else []))
    paths = [Path(folder) / name for name in names]
    return Outcome(paths, tracks, count, unreadable, seconds, notes, timeline, frames.interrupted)


class Samples:
    """A few frames of a stream of any length, for a look at why no face was found."""

    def __init__(self) -> None:
        self.pixels: list[np.ndarray] = []
        self._next = 0

    def add(self, result: FrameResult) -> None:
        """Keep the frame if its number is a power of two: the last three of them stay."""
        if result.frame.number >= self._next and result.frame.pixels is not None:
            self._next = 2 * result.frame.number + 1
            self.pixels = [*self.pixels[-2:], result.frame.pixels]


def _hints(
    prediction: Prediction, tracks: list, samples: Samples, follower: FaceFollower
) -> Iterator[str]:
    """What may help: with frames on their side, faces as frames, and more faces than are followed."""
    settings = prediction.model.crop
    if follower.left_out:
        yield (
            f"up to {follower.left_out} more faces were seen in one frame than the "
            f"{prediction.faces} that are followed; --faces={prediction.faces + follower.left_out} follows more"
        )
    if tracks or settings.detector == "none" or not samples.pixels:
        return
    if turn := turn_that_helps(samples.pixels, settings):
        turn = (turn + prediction.source.rotate) % 360
        yield f"no face is upright, but turned there is one: try --rotate={turn}"
    elif is_small_square(samples.pixels[0].shape):
        yield (
            "small square frames may be faces already: they need a model whose set was made with "
            "--detector=none"
        )


class _Limited:
    """The frames of a source, so many at most, until a stop is asked for; `interrupted` says that one was."""

    def __init__(self, source: Iterable[Frame], most: int | None, should_stop: Callable[[], bool]):
        self._source, self._most, self._should_stop = source, most, should_stop
        self.interrupted = False

    def __iter__(self) -> Iterator[Frame]:
        try:
            for number, frame in enumerate(self._source):
                if self._most and number >= self._most:
                    return
                if self._should_stop():
                    self.interrupted = True
                    return
                yield frame
        except OSError as error:  # Told apart from a folder that cannot be written.
            if not is_for_user(error):
                raise
            raise UserError(sentence(error)) from error


def _consume(
    results: Iterable[FrameResult],
    takers: Iterable[Callable[[FrameResult], object]],
    total: int | None,
    progress: bool,
) -> tuple[int, int]:
    """Hand every result to all takers as it comes; returns frames and unreadable frames."""
    count = unreadable = 0
    with tqdm.tqdm(total=total, unit=" frames", dynamic_ncols=True, disable=not progress) as bar:
        for result in results:
            for take in takers:
                take(result)
            count += 1
            unreadable += result.frame.pixels is None
            bar.update()
    return count, unreadable


def outcome_text(prediction: Prediction, outcome: Outcome) -> str:
    """What came of the whole, or why nothing did."""
    count, seconds = outcome.frames, outcome.seconds
    rate = count / seconds if seconds else 0.0
    lines = [
        f"\n{count} frames in {seconds:.1f} s: {rate:.1f} frames a second, compilation included"
    ]
    lines += [f"note: {note}" for note in outcome.notes]
    if outcome.unreadable:
        lines.append(
            f"note: {outcome.unreadable} frames could not be read; {record.FRAMES} says why"
        )
    lines += [_track_text(prediction, track) for track in outcome.tracks]
    if not outcome.tracks:
        lines.append(f"no face was found in any of the {count} frames, so nothing was classified")
    return "\n".join(lines)


def _track_text(prediction: Prediction, track: Mapping[str, Any]) -> str:
    span = f"face {track['track']} (frames {track['first_frame']} to {track['last_frame']})"
    if not track["clips"]:
        return f"{span}: no clip; {prediction.too_short(track['frames'])}"
    votes = "; ".join(
        f"{name} vote {vote['label']} {vote['shares'][vote['label']]:.2f}"
        for name, vote in track["votes"].items()
    )
    return f"{span}: {track['clips']} clips: {votes}; last clip {track['last_clip']['label']}"
