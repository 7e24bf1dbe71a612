"""Points a trained model at a video, images or a camera.

    python -m experiments.predict --input=clip.mp4
    python -m experiments.predict --model=models/late_fusion --input=frames_folder --reference=first
    python -m experiments.predict --model=models/single_frame --input=camera:0 --max_frames=250

Writes frames.csv (every frame, with a face or without), clips.csv, predictions.json (both and the votes over
the whole), timeline.png and annotated.mp4. Faces are tracked apart; a track is a stretch of video, not a person.
"""

from __future__ import annotations

from absl import flags

from experiments import command

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    flags.DEFINE_string("model", None, "The model folder; default: the model that ships.")
    flags.DEFINE_list(
        "modules", [], "Python modules to import first, which register architectures."
    )
    flags.DEFINE_string(
        "input",
        None,
        "A video, an image, a folder or list of images (commas, or a .txt), camera:0, or rtsp://...",
    )
    flags.DEFINE_string("out", None, "Folder to make; default: predictions/INPUT.")
    flags.DEFINE_integer("stride", 1, "Frames from one clip's end to the next.", lower_bound=1)
    flags.DEFINE_string(
        "pair_distance",
        None,
        "Late fusion: between the two, in frames (14, as trained) or as 0.5s.",
    )
    flags.DEFINE_enum(
        "reference",
        None,
        ["back", "first", "auto"],
        "Pairs: compare with the frame so long ago, the face's first, or one that it shows as calm.",
    )
    flags.DEFINE_float(
        "rate", None, "Frames a second to count by; default: time stamps, or 25.", lower_bound=0.01
    )
    flags.DEFINE_enum(
        "rotate", "0", ["0", "90", "180", "270"], "Degrees clockwise to turn all frames by."
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

    if not FLAGS.input:
        raise command.UserError("--input is needed; --help lists the flags")
    from stfer.data.sources import default_cache_dir
    from stfer.inference import load_model, output
    from stfer.inference.sources import open_source
    from stfer.inference.windows import parse_distance, window
    from stfer.runs import environment, modules
    from stfer.runs.stop import stop_requests
    from stfer.storage.files import check_new

    source = open_source(FLAGS.input, FLAGS.rate, int(FLAGS.rotate))
    distance = parse_distance(FLAGS.pair_distance) if FLAGS.pair_distance else None
    out = Path(FLAGS.out or Path("predictions") / source.name)
    check_new(out)
    modules.import_modules(FLAGS.modules)
    environment.set_up_jax(FLAGS.cache_dir or default_cache_dir())
    model = load_model(FLAGS.model)
    rate = model.frame_rate if source.is_timed else None
    reference = FLAGS.reference or model.reference
    sliding = window(model.rule, FLAGS.stride, distance, reference, rate)
    prediction = output.Prediction(
        model, source, sliding, FLAGS.faces, FLAGS.chunk, FLAGS.max_frames, FLAGS.video
    )
    prediction.check()
    settings = prediction.settings() | {"out": out}
    for name in ("model", "input"):
        settings[name] = f"{getattr(FLAGS, name) or 'ships with stfer'} ({settings[name]})"
    command.print_settings("Prediction", settings)
    with stop_requests() as should_stop:
        outcome = output.predict_into(prediction, out, settings, should_stop)
    print(output.outcome_text(prediction, outcome))
    command.print_paths(outcome.paths)
    return should_stop.exit_code if should_stop() and source.kind != "camera" else 0


if __name__ == "__main__":
    command.run(main, define_flags, ("model", "input", "out", "reference", "max_frames"))
