"""Points a trained model at a video, images or a camera.

    python -m experiments.predict --input=clip.mp4
    python -m experiments.predict --model=models/late_fusion --input=frames_folder --reference=first
    python -m experiments.predict --model=models/single_frame --input=camera:0 --max_frames=250
    python -m experiments.predict --model=models/late_fusion --input='clips/*.mp4' --input=more_clips
    python -m experiments.predict --model=models/single_frame --input=camera:0 --live

Writes index.html, a page to watch the video with its probabilities, and frames.csv (every frame, with a face or
without), clips.csv, predictions.json (both and the votes over the whole), timeline.png and annotated.mp4. Several
inputs get a folder each, and a page and tables of all. Faces are tracked apart; a track is a stretch of video, not a
person. With --live nothing is written: the page of the newest frame is at an address of this machine.
"""

from __future__ import annotations

import functools
from pathlib import Path

from absl import flags

from experiments import command
from experiments import flags as shared
from experiments.flags import inputs

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_model()
    shared.define_modules()
    inputs.define_inputs()
    flags.DEFINE_string("out", None, "Folder to make; default: predictions/INPUT.")
    flags.DEFINE_bool("video", True, "Write the annotated video.")
    flags.DEFINE_string("cache_dir", None, "Folder for compiled programs.")


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    del argv
    if not FLAGS.input:
        raise command.UserError("--input is needed; --help lists the flags")
    from stfer.data.sources import default_cache_dir
    from stfer.inference import load_model
    from stfer.inference.inputs import common_name, find_inputs
    from stfer.inference.live_server import check_address
    from stfer.runs import environment
    from stfer.storage.files import check_new

    wheres = find_inputs(FLAGS.input)
    source = inputs.opened(wheres[0]) if len(wheres) == 1 else None
    out = Path(
        FLAGS.out or Path("predictions") / (source.name if source else common_name(FLAGS.input))
    )
    if not FLAGS.live:
        check_new(out)
    elif source is None:
        raise command.UserError(f"--live shows one input, and these are {len(wheres)}")
    else:
        check_address(FLAGS.host, FLAGS.port)
    shared.import_modules()
    environment.set_up_jax(FLAGS.cache_dir or default_cache_dir())
    model = load_model(FLAGS.model)
    where = FLAGS.model or "ships with stfer"
    about = {"model": f"{where} ({model.architecture}: {', '.join(model.classes)})"}
    if source is None:
        return predict_several(model, wheres, out, about)
    prediction = inputs.prediction(model, source, FLAGS.video)
    prediction.check()
    settings = prediction.settings() | about
    settings["input"] = f"{FLAGS.input[0]} ({settings['input']})"
    if FLAGS.live:
        return show_live(prediction, settings)
    command.print_settings("Prediction", settings | {"out": out})
    from stfer.inference import output
    from stfer.runs.stop import stop_requests

    with stop_requests() as should_stop:
        outcome = output.predict_into(prediction, out, settings | {"out": out}, should_stop)
    print(output.outcome_text(prediction, outcome))
    command.print_paths(outcome.paths)
    return should_stop.exit_code if should_stop() and source.kind != "camera" else 0


def predict_several(model, wheres: list[str], out: Path, about: dict[str, object]) -> int:
    """Predict several inputs; the exit code is 1 where one of them could not be."""
    from stfer.inference import several
    from stfer.inference.inputs import names_of
    from stfer.runs.stop import stop_requests

    def prepared(where: str):
        return inputs.prediction(model, inputs.opened(where), FLAGS.video)

    about |= {"inputs": len(wheres), "out": out}
    command.print_settings("Predictions", about)
    named = {name: functools.partial(prepared, w) for name, w in names_of(wheres).items()}
    with stop_requests() as should_stop:
        dones = several.predict_all(named, out, about, model.classes, should_stop)
    print(*dones, sep="\n")
    command.print_paths(several.written(out))
    if should_stop():
        return should_stop.exit_code
    return command.FAILED if any(done.problem for done in dones) else 0


def show_live(prediction, settings: dict[str, object]) -> int:
    """Serve the live page until the input ends or Ctrl-C."""
    from stfer.inference.live import serve_live
    from stfer.runs.stop import stop_requests

    command.print_settings("Live", settings)
    with stop_requests() as should_stop:
        told = functools.partial(print, "open", flush=True)
        print(serve_live(prediction, FLAGS.host, FLAGS.port, should_stop, told))
    return 0


if __name__ == "__main__":
    command.run(main, define_flags, ("model", "input", "out", "reference", "max_frames"))
