"""Shows what a trained model looks at: Grad-CAM and occlusion over the frames of clips.

    python -m experiments.explain --model=models/late_fusion --input=clip.mp4
    python -m experiments.explain --model=models/late_fusion --data=synthetic

With --input it writes a sheet for each of some clips of the largest face; otherwise sheets of right and wrong
sequences of the set's people whom the model was not trained on.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_data()
    shared.define_model()
    flags.DEFINE_string(
        "input",
        None,
        "Instead of a set: a video, an image, a folder or list of images, camera:0, or rtsp://...",
    )
    flags.DEFINE_integer("clips", 3, "Clips of an input.", lower_bound=1)
    flags.DEFINE_integer("each", 6, "Right and wrong sequences of a set, of each.", lower_bound=1)
    flags.DEFINE_integer("max_frames", 1000, "Frames of an input, at most.", lower_bound=1)
    flags.DEFINE_string("out", None, "Folder to make; default: explanations/MODEL-on-INPUT.")


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    from pathlib import Path

    from stfer.inference import explain_pictures, load_model
    from stfer.inference.sources import open_source
    from stfer.inference.windows import window
    from stfer.runs import environment
    from stfer.storage.files import check_new

    source = open_source(FLAGS.input) if FLAGS.input else None
    shared.import_modules()
    environment.set_up_jax(shared.data().cache)
    where = shared.model_folder()
    model = load_model(where)
    model.check_frames_alone()
    shards = None if source else shared.data().cut_for(model.crop).load()
    shown = source or shards
    out = Path(FLAGS.out or explain_pictures.default_folder(where, shown))
    check_new(out)
    command.print_settings(
        "Explanation",
        {"model": f"{where} ({model.architecture})", "input": shown.name, "out": out},
    )
    if source:
        rate = model.frame_rate if source.is_timed else None
        sliding = window(model.rule, reference=model.reference, rate=rate)
        examples = explain_pictures.of_source(model, source, sliding, FLAGS.clips, FLAGS.max_frames)
        figures = [
            (f"clip_{number}.png", explain_pictures.clip_sheet(example))
            for number, example in enumerate(examples, start=1)
        ]
    else:
        parts = explain_pictures.of_shards(model, shards, FLAGS.each)
        figures = [
            (f"{word}.png", explain_pictures.contact_sheet(examples))
            for word, examples in zip(("right", "wrong"), parts, strict=True)
            if examples
        ]
    command.print_paths(explain_pictures.write_sheets(out, figures))


if __name__ == "__main__":
    command.run(main, define_flags)
