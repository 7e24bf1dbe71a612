"""Measures prediction end to end: decoding, faces, classification, tables, drawing and encoding at 640x360.

    python -m experiments.benchmark --what=prediction --archs=single_frame,late_fusion

The video is made here: a synthetic face that changes expression and moves about. The networks have the full
width and random weights, which cost what trained ones cost. The first frames, which compile, are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, RATE = 640, 360, 25
WARM_UP = 64
GOAL = 25.0


def measure(archs: Sequence[str], frames: int = 400, repeats: int = 3) -> list[dict[str, Any]]:
    """Frames a second of each architecture, and the cost of each part alone.

    Returns:
        A dict an architecture: `architecture`, `frames_per_second` (median), `slowest`, `fastest`, `core_ms`
        (processor milliseconds a frame over all cores, which a busy machine changes less), and milliseconds
        a frame of `decode`, `faces`, `network` and `draw` when nothing else runs.
    """
    import statistics
    import tempfile

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "face.mp4"
        write_video(video, WARM_UP + frames)
        for name in archs:
            model = untrained(name)
            runs = [_frames_per_second(model, video, Path(folder)) for _ in range(repeats)]
            rates, core_ms = zip(*runs, strict=True)
            rows.append(
                {
                    "architecture": name,
                    "frames_per_second": statistics.median(rates),
                    "slowest": min(rates),
                    "fastest": max(rates),
                    "core_ms": statistics.median(core_ms),
                    **_parts(model, video, Path(folder)),
                }
            )
    return rows


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print what `measure` returns."""
    print(
        f"\n{'':<14}{'frames/s':>9}{'(range)':>14}{'core ms':>9}   ms a frame alone: decode  faces  network  draw"
    )
    for row in rows:
        spread = f"{row['slowest']:.1f}-{row['fastest']:.1f}"
        parts = "".join(f"{row[p]:>8.1f}" for p in ("decode", "faces", "network", "draw"))
        mark = "" if row["frames_per_second"] >= GOAL else f"  below the goal of {GOAL:g}"
        print(
            f"{row['architecture']:<14}{row['frames_per_second']:>9.1f}{spread:>14}{row['core_ms']:>9.1f}{'':>19}{parts}{mark}"
        )


def untrained(architecture: str):
    """A model of full width with random weights."""
    import jax
    import numpy as np

    from stfer.data.faces import CropSettings
    from stfer.data.sequence import EMOTIONS_6
    from stfer.inference import TrainedModel, describe
    from stfer.models import create_model, registration

    module = create_model(architecture)
    crop = CropSettings()
    clip = jax.ShapeDtypeStruct((1, module.frames, crop.size, crop.size, 3), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), clip)
    random = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: random.uniform(0.0, 0.02, leaf.shape).astype(np.float32), shapes
    )
    rule = registration(architecture).rules(module.frames)["frames"]
    return TrainedModel(describe(architecture, EMOTIONS_6, rule, crop.to_dict()), module, variables)


def write_video(path: Path, frames: int) -> None:
    """Write the test video: a synthetic face that smiles and relaxes while it moves."""
    import itertools

    import cv2
    import numpy as np

    from stfer.data.synthetic.dataset import render_sequence

    heads = list(itertools.islice(render_sequence(0, 1, "happiness"), 16))
    height, width = heads[0].shape[:2]
    back = cv2.GaussianBlur(
        np.random.default_rng(0).integers(60, 190, (HEIGHT, WIDTH, 3), np.uint8), (0, 0), 25
    )
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, (WIDTH, HEIGHT))
    for number in range(frames):
        place = number % (2 * len(heads))
        head = heads[min(place, 2 * len(heads) - 1 - place)]
        left = round((WIDTH - width) * (0.5 + 0.4 * np.sin(number / 40)))
        top = round((HEIGHT - height) * (0.5 + 0.4 * np.cos(number / 55)))
        frame = back.copy()
        frame[top : top + height, left : left + width] = head
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def _frames_per_second(model, video: Path, folder: Path) -> tuple[float, float]:
    """One run of everything that `experiments.predict` does: frames a second, processor ms a frame."""
    import contextlib
    import time

    from stfer.inference.drawing import annotated_video
    from stfer.inference.record import Tables
    from stfer.inference.sources import open_source
    from stfer.inference.stream import Summaries, predict_stream
    from stfer.inference.timeline import Timeline
    from stfer.inference.windows import window

    summaries, timeline = Summaries(len(model.classes)), Timeline(model.classes)
    began, spent, counted = 0.0, 0.0, 0
    with contextlib.ExitStack() as stack:
        tables = stack.enter_context(Tables(folder, model.classes))
        draw = stack.enter_context(annotated_video(folder / "out.mp4", RATE, model.classes))
        for result in predict_stream(model, open_source(str(video)), window(model.rule)):
            for take in (tables.add, summaries.add, timeline.add, draw):
                take(result)
            if result.frame.number == WARM_UP - 1:
                began, spent = time.perf_counter(), time.process_time()
            counted += result.frame.number >= WARM_UP
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    (track,) = [t for t in summaries.tracks.values() if t.frames > counted / 2]
    if track.frames < 0.95 * (counted + WARM_UP):
        raise RuntimeError(f"the face was lost in the test video: {track.frames} frames of it")
    return counted / seconds, spent / counted * 1000


def _parts(model, video: Path, folder: Path, frames: int = 160) -> dict[str, float]:
    """Milliseconds a frame of each part alone, one after another."""
    import itertools
    import time

    from stfer.data.faces import FaceFollower, crop_face
    from stfer.inference.drawing import VideoWriter, annotate
    from stfer.inference.sources import open_source
    from stfer.inference.stream import CHUNK, predict_stream
    from stfer.inference.windows import window

    spent = {}

    def timed(name, work):
        began = time.perf_counter()
        done = work()
        spent[name] = (time.perf_counter() - began) / frames * 1000
        return done

    read = timed("decode", lambda: list(itertools.islice(open_source(str(video)), frames)))
    follower = FaceFollower(model.crop)

    def see():
        found = [(frame, follower(frame.pixels)) for frame in read]
        return [crop_face(f.pixels, x.face, model.crop) for f, seen in found for _, x in seen if x]

    crops = timed("faces", see)

    def classify():
        span = -min(model.rule.offsets)
        items = []
        for start in range(0, len(crops), CHUNK):
            items += model.network.encode(crops[start : start + CHUNK])
        ends = range(span, len(items) + 1)
        clips = [[items[end + offset] for offset in model.rule.offsets] for end in ends]
        for start in range(0, len(clips), CHUNK):
            model.network.classify(clips[start : start + CHUNK])

    timed("network", classify)
    results = list(predict_stream(model, read, window(model.rule)))

    def draw():
        with VideoWriter(folder / "parts.mp4", RATE) as writer:
            for result in results:
                writer.write(annotate(result, model.classes))

    timed("draw", draw)
    return spent
