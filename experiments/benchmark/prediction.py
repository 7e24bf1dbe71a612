"""Measures prediction end to end, as `experiments.predict` makes it: tables, page and annotated video included.

    python -m experiments.benchmark --what=prediction --archs=single_frame,late_fusion

The videos are made here: a synthetic face that changes expression and moves about. The model that ships is measured
at 640x360 and 1920x1080, the architectures of --archs at 640x360, at full width with random weights, which cost what
trained ones cost. A first prediction, which compiles, is not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SMALL, LARGE = (640, 360), (1920, 1080)  # width, height
RATE = 25
SHIPPED = "ships with stfer"
GOALS = {(SHIPPED, SMALL): 60.0, (SHIPPED, LARGE): 25.0}
GOAL = 25.0  # of all others


def measure(archs: Sequence[str], frames: int = 400, repeats: int = 3) -> list[dict[str, Any]]:
    """Frames a second of each model and size, and the cost of each part alone.

    Returns:
        A dict a model and size: `model`, `size` [width, height], `frames_per_second` (median), `slowest`,
        `fastest`, `core_ms` (processor milliseconds a frame over all cores, which a busy machine changes less), and
        milliseconds a frame of `decode`, `faces`, `network` and `draw` when nothing else runs.
    """
    import statistics
    import tempfile

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (model_name, size) in enumerate(
            [(SHIPPED, SMALL), (SHIPPED, LARGE), *((arch, SMALL) for arch in archs)]
        ):
            video = folder / f"face{size[1]}.mp4"
            if not video.exists():
                write_video(video, frames, size)
            model = shipped() if model_name == SHIPPED else untrained(model_name)
            runs = [
                _frames_per_second(model, video, folder / f"{number}-{repeat}")
                for repeat in range(repeats + 1)
            ][1:]
            rates, core_ms = zip(*runs, strict=True)
            rows.append(
                {
                    "model": model_name,
                    "size": size,
                    "frames_per_second": statistics.median(rates),
                    "slowest": min(rates),
                    "fastest": max(rates),
                    "core_ms": statistics.median(core_ms),
                    **_parts(model, video, folder, min(frames, 160 if size == SMALL else 40)),
                }
            )
    return rows


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print what `measure` returns."""
    print(
        f"\n{'':<18}{'size':>10}{'frames/s':>10}{'(range)':>14}{'core ms':>9}   ms a frame alone: decode  faces"
        "  network  draw"
    )
    for row in rows:
        spread = f"{row['slowest']:.1f}-{row['fastest']:.1f}"
        parts = "".join(f"{row[p]:>8.1f}" for p in ("decode", "faces", "network", "draw"))
        size = "x".join(map(str, row["size"]))
        goal = GOALS.get((row["model"], row["size"]), GOAL)
        mark = "" if row["frames_per_second"] >= goal else f"  below the goal of {goal:g}"
        print(
            f"{row['model']:<18}{size:>10}{row['frames_per_second']:>10.1f}{spread:>14}{row['core_ms']:>9.1f}{'':>16}"
            f"{parts}{mark}"
        )


def shipped():
    """The model that ships."""
    from stfer.inference import load_model
    from stfer.pretrained import shipped_model

    return load_model(shipped_model())


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


def write_video(path: Path, frames: int, size: tuple[int, int] = SMALL) -> None:
    """Write the test video: a synthetic face, half a frame high or more, that smiles and relaxes while it moves."""
    import itertools

    import cv2
    import numpy as np

    from stfer.data.synthetic.dataset import render_sequence

    across, down = size
    heads = list(itertools.islice(render_sequence(0, 1, "happiness"), 16))
    scale = max(1.0, down / 2 / heads[0].shape[0])
    heads = [cv2.resize(head, None, fx=scale, fy=scale) for head in heads]
    height, width = heads[0].shape[:2]
    noise = np.random.default_rng(0).integers(60, 190, (*SMALL[::-1], 3), np.uint8)
    back = cv2.resize(cv2.GaussianBlur(noise, (0, 0), 25), size)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, size)
    for number in range(frames):
        place = number % (2 * len(heads))
        head = heads[min(place, 2 * len(heads) - 1 - place)]
        left = round((across - width) * (0.5 + 0.4 * np.sin(number / 40)))
        top = round((down - height) * (0.5 + 0.4 * np.cos(number / 55)))
        frame = back.copy()
        frame[top : top + height, left : left + width] = head
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def _frames_per_second(model, video: Path, out: Path) -> tuple[float, float]:
    """One whole prediction into a folder: frames a second, processor ms a frame."""
    import time

    from stfer.inference.output import Prediction, predict_into
    from stfer.inference.sources import open_source
    from stfer.inference.windows import window

    began, spent = time.perf_counter(), time.process_time()
    prediction = Prediction(model, open_source(str(video)), window(model.rule))
    outcome = predict_into(prediction, out, progress=False)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    followed = max((track["frames"] for track in outcome.tracks), default=0)
    if followed < 0.95 * outcome.frames:
        raise RuntimeError(f"the face was lost in the test video: {followed} frames of it")
    return outcome.frames / seconds, spent / outcome.frames * 1000


def _parts(model, video: Path, folder: Path, frames: int = 160) -> dict[str, float]:
    """Milliseconds a frame of each part alone, one after another."""
    import itertools
    import time

    from stfer.data.faces import FaceFollower
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
        return [model.look(f.pixels, x.face) for f, seen in found for _, x in seen if x]

    looks = timed("faces", see)

    def classify():
        span = -min(model.rule.offsets)
        items = []
        for start in range(0, len(looks), CHUNK):
            items += model.network.encode(looks[start : start + CHUNK])
        ends = range(span, len(items) + 1)
        clips = [[items[end + offset] for offset in model.rule.offsets] for end in ends]
        for start in range(0, len(clips), CHUNK):
            model.network.classify(clips[start : start + CHUNK])

    timed("network", classify)
    results = list(predict_stream(model, read, window(model.rule)))

    def draw():
        with VideoWriter(folder / "parts.mp4") as writer:
            for result in results:
                writer.write(annotate(result, model.classes), result.frame.seconds)

    timed("draw", draw)
    return spent
