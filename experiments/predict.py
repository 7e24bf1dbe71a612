"""Points a trained model at a video, images or a camera.

    python -m experiments.predict --model=models/late_fusion --input=clip.mp4
    python -m experiments.predict --model=models/late_fusion --input=frames_folder --reference=first
    python -m experiments.predict --model=models/single_frame --input=camera:0 --max_frames=250

Writes frames.csv (every frame, with a face or without), clips.csv, predictions.json (both and the votes over
the whole), timeline.png and annotated.mp4. Faces are tracked apart; a track is a stretch of video, not a person.
"""

from __future__ import annotations

from absl import flags

from experiments import command

FLAGS = flags.FLAGS
LIVE_CHUNK = 4


def define_flags() -> None:
    """Define this command's flags."""
    flags.DEFINE_string("model", None, "The model folder.")
    flags.DEFINE_list(
        "modules", [], "Python modules to import first, which register architectures."
    )
    flags.DEFINE_string(
        "input",
        None,
        "A video, an image, a folder or list of images (commas, or a .txt), or camera:0.",
    )
    flags.DEFINE_string("out", None, "Folder to make; default: predictions/INPUT.")
    flags.DEFINE_integer("stride", 1, "Frames from one clip's end to the next.", lower_bound=1)
    flags.DEFINE_integer(
        "pair_distance", None, "Late fusion: frames between the two; default: as trained (14)."
    )
    flags.DEFINE_enum(
        "reference",
        "back",
        ["back", "first"],
        "Late fusion: compare with the frame so long ago, or with the face's first frame.",
    )
    flags.DEFINE_float(
        "rate", None, "Frames a second of images or a camera (25).", lower_bound=0.01
    )
    flags.DEFINE_integer("max_frames", None, "Stop after this many frames.", lower_bound=1)
    flags.DEFINE_integer("faces", 8, "Faces followed at once, the largest.", lower_bound=1)
    flags.DEFINE_bool("video", True, "Write the annotated video.")
    flags.DEFINE_integer("chunk", None, "Frames worked on at once (16; camera: 4).", lower_bound=1)
    flags.DEFINE_string("cache_dir", None, "Folder for compiled programs.")


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    from pathlib import Path

    for name in ("model", "input"):
        if not getattr(FLAGS, name):
            raise command.UserError(f"--{name} is needed; --help lists the flags")
    from stfer.data.sources import default_cache_dir
    from stfer.inference import load_model
    from stfer.inference.sources import open_source
    from stfer.inference.windows import window
    from stfer.runs import environment, modules
    from stfer.storage.files import check_new

    source = open_source(FLAGS.input, FLAGS.rate)
    out = Path(FLAGS.out or Path("predictions") / source.name)
    check_new(out)
    modules.import_modules(FLAGS.modules)
    environment.set_up_jax(FLAGS.cache_dir or default_cache_dir())
    model = load_model(FLAGS.model)
    sliding = window(model.rule, FLAGS.stride, FLAGS.pair_distance, FLAGS.reference)
    if source.kind == "images" and source.length < sliding.shortest:
        raise command.UserError(_too_short(model, sliding, source.length))
    settings = _settings(model, source, sliding, out)
    command.print_settings("Prediction", settings)
    return _predict(model, source, sliding, out, settings)


def _settings(model, source, sliding, out) -> dict[str, object]:
    length = source.length or "unknown number of"
    clip = f"frames {', '.join(map(str, sliding.offsets))} from now"
    if sliding.from_first:
        clip = "the face's first frame and the one of now"
    return {
        "model": f"{FLAGS.model} ({model.architecture}: {', '.join(model.classes)})",
        "input": f"{FLAGS.input} ({source.kind}, {length} frames, {source.rate:g} a second)",
        "clip": clip,
        "stride": sliding.stride,
        "faces": f"{model.crop.detector}, margin {model.crop.margin}, {model.crop.size} px",
        "out": out,
    }


def _predict(model, source, sliding, out, settings) -> int:
    from stfer.storage.files import staged_folder

    # Worked on beside its place: what lies under `out` is always a whole result.
    with staged_folder(out) as part:
        names, exit_code, *found = _predict_into(part, model, source, sliding, settings)
    _report(model, sliding, source, *found)
    command.print_paths(out / name for name in names)
    return exit_code


def _predict_into(part, model, source, sliding, settings) -> tuple:
    """Write all results into `part`; returns its files' names, the exit code, and what `_report` says."""
    from stfer.data.faces import FaceFollower
    from stfer.inference import record
    from stfer.inference.stream import CHUNK, Summaries, predict_stream
    from stfer.inference.timeline import Timeline
    from stfer.runs.stop import stop_requests

    summaries, timeline = Summaries(len(model.classes)), Timeline(model.classes)
    chunk = FLAGS.chunk or (LIVE_CHUNK if source.kind == "camera" else CHUNK)
    follower = FaceFollower(model.crop, largest=FLAGS.faces)
    with stop_requests() as should_stop:
        frames = _limited(source, should_stop)
        results = predict_stream(model, frames, sliding, chunk, follower)
        count, unreadable, seconds = _consume(results, part, model, source, summaries, timeline)
    found = record.summary(summaries, model.classes)
    about = {
        "format": 1,
        "settings": {k: str(v) for k, v in settings.items()},
        "frames_read": count,
    }
    paths = [record.write_json(part, model.classes, about, found)]
    title = f"{model.architecture} on {source.name}"
    paths += [part / record.FRAMES, part / record.CLIPS]
    paths.append(timeline.draw(part / "timeline.png", source.rate, title))
    paths += [part / "annotated.mp4"] if (part / "annotated.mp4").exists() else []
    exit_code = should_stop.exit_code if should_stop() and source.kind != "camera" else 0
    return [path.name for path in paths], exit_code, found, count, unreadable, seconds


def _limited(source, should_stop):
    """The source's frames up to --max_frames, or until the command is asked to stop."""
    for number, frame in enumerate(source):
        if should_stop() or (FLAGS.max_frames and number >= FLAGS.max_frames):
            return
        yield frame


def _consume(results, out, model, source, summaries, timeline) -> tuple[int, int, float]:
    """Write every result as it comes; returns frames, unreadable frames and seconds."""
    import contextlib
    import time

    import tqdm

    from stfer.inference.drawing import VideoWriter
    from stfer.inference.record import Tables

    count = unreadable = 0
    began = time.monotonic()
    total = min(filter(None, (source.length, FLAGS.max_frames)), default=None)
    with contextlib.ExitStack() as stack:
        tables = stack.enter_context(Tables(out, model.classes))
        draw = lambda result: None  # noqa: E731
        if FLAGS.video:
            video = stack.enter_context(VideoWriter(out / "annotated.mp4", source.rate))
            draw = stack.enter_context(drawing_thread(video, model.classes))
        bar = stack.enter_context(tqdm.tqdm(total=total, unit=" frames", dynamic_ncols=True))
        for result in results:
            tables.add(result)
            summaries.add(result)
            timeline.add(result)
            draw(result)
            count += 1
            unreadable += result.frame.pixels is None
            bar.update()
    return count, unreadable, time.monotonic() - began


def drawing_thread(video, classes):
    """A function that draws a result and writes it to a video in a thread of its own, never far behind."""
    import collections
    import concurrent.futures
    import contextlib

    from stfer.inference.drawing import annotate, scale_for

    def work(result) -> None:
        if result.frame.pixels is not None:
            scale = scale_for(result.frame.pixels.shape[0])
            video.write(annotate(result, classes, scale))

    @contextlib.contextmanager
    def running():
        waiting = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(1, "drawing") as pool:

            def draw(result) -> None:
                waiting.append(pool.submit(work, result))
                if len(waiting) > 32:
                    waiting.popleft().result()

            yield draw
            while waiting:
                waiting.popleft().result()

    return running()


def _report(model, sliding, source, found, count, unreadable, seconds) -> None:
    """Print the whole's result, or why there is none."""
    rate = count / seconds if seconds else 0.0
    print(f"\n{count} frames in {seconds:.1f} s: {rate:.1f} frames a second, compilation included")
    if source.length and source.kind == "video" and count < source.length and not FLAGS.max_frames:
        print(f"note: the container promises {source.length} frames, {count} could be decoded")
    if unreadable:
        print(f"note: {unreadable} frames could not be read; frames.csv says why")
    for track in found:
        span = f"face {track['track']} (frames {track['first_frame']} to {track['last_frame']})"
        if not track["clips"]:
            print(f"{span}: no clip; {_too_short(model, sliding, track['frames'])}")
            continue
        votes = "; ".join(
            f"{name} vote {v['label']} {v['shares'][v['label']]:.2f}"
            for name, v in track["votes"].items()
        )
        print(f"{span}: {track['clips']} clips: {votes}; last clip {track['last_clip']['label']}")
    if not found:
        print(f"no face was found in any of the {count} frames, so nothing was classified")


def _too_short(model, sliding, frames: int) -> str:
    unit = "frame" if frames == 1 else "frames"
    still = " A single_frame model can classify a still." if frames == 1 else ""
    first = ""
    if model.rule.frames == 2 and not sliding.from_first and frames > 1:
        first = " --reference=first, or a smaller --pair_distance, needs fewer."
    return (
        f"{model.architecture} compares frames over time and needs a face followed through "
        f"{sliding.shortest} frames, but there {'is' if frames == 1 else 'are'} {frames} {unit}.{still}{first}"
    )


if __name__ == "__main__":
    command.run(main, define_flags)
