"""Flags of what is predicted, and how clips slide over it."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from stfer.inference import TrainedModel
    from stfer.inference.output import Prediction
    from stfer.inference.sources import Source

FLAGS = flags.FLAGS


def define_inputs() -> None:
    """Define the flags."""
    flags.DEFINE_multi_string(
        "input",
        [],
        "A video, an image, a folder or list of images (commas, or a .txt), camera:0, or rtsp://...; several: a folder "
        "of videos, a pattern in quotes, or the flag again.",
    )
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
    flags.DEFINE_integer("chunk", None, "Frames worked on at once (16; camera: 4).", lower_bound=1)
    flags.DEFINE_bool("live", False, "Show the newest frame on a page instead, and write nothing.")
    flags.DEFINE_string("host", "127.0.0.1", "Live: the address; others see what is not this one.")
    flags.DEFINE_integer("port", 8765, "Live: the port, 0 for any.", 0, 65535)


def opened(where: str) -> "Source":
    """An input as the flags say."""
    from stfer.inference.sources import open_source

    return open_source(where, FLAGS.rate, int(FLAGS.rotate))


def prediction(model: "TrainedModel", source: "Source", video: bool) -> "Prediction":
    """What is to be predicted, as the flags say."""
    from stfer.inference.output import Prediction
    from stfer.inference.windows import parse_distance, window

    distance = parse_distance(FLAGS.pair_distance) if FLAGS.pair_distance else None
    rate = model.frame_rate if source.is_timed else None
    reference = FLAGS.reference or model.reference
    sliding = window(model.rule, FLAGS.stride, distance, reference, rate)
    return Prediction(model, source, sliding, FLAGS.faces, FLAGS.chunk, FLAGS.max_frames, video)
