"""Videos that tests write with PyAV: every frame of its own grey, so that it can be told apart."""

from fractions import Fraction

import av
import numpy as np

SIZE = (64, 48)


def flat(level, size=SIZE):
    """A frame of one grey, uint8 [height, width, 3]."""
    return np.full((size[1], size[0], 3), level, np.uint8)


def levels(count):
    """Greys far enough apart to survive a codec; they repeat after 11 frames."""
    return [20 + 20 * (number % 11) for number in range(count)]


def write_video(
    path, frames, *, codec="libx264", rate=25, times=None, aspect=None, container=None, options=None,
    rotation=None,
):  # fmt: skip
    """Write frames (uint8 [height, width, 3]) to a video file.

    Args:
        path: of the file.
        frames: all of one size.
        codec: an encoder of FFmpeg.
        rate: frames a second.
        times: seconds of each frame; by default at `rate` a second.
        aspect: width of a pixel by its height, as a Fraction.
        container: options of the container, such as `movflags`.
        options: options of the codec.
        rotation: degrees counter-clockwise to turn it by when it is shown.
    """
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = round(1000 * times[number]) if times else number
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
