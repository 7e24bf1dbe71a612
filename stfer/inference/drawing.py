"""Draws what a model says into a video's frames: a box a face, its label, a bar a class.

Text is never smaller than about ten pixels; a small video is enlarged until six bars fit it.
"""

import collections
import concurrent.futures
import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.video.reformatter
import cv2
import numpy as np

from stfer.data.faces import Face
from stfer.data.lettering import plain
from stfer.data.video_frames import fitted
from stfer.inference.stream import FrameResult

# Okabe & Ito's palette, which colour-blind people tell apart, in RGB; a colour a track.
COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
)
SMALLEST_HEIGHT = 240
# The first one that PyAV's FFmpeg has: every current browser plays H.264, and all but old ones VP9. Without frames
# that are coded out of order, each one's duration in the file is the time until the next.
ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "21", "bf": "0"},
    "libopenh264": {},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "crf": "33", "b": "0"},
}
_UNITS = 1000  # of a video's clock a second
_BT601 = 6  # AVCOL_SPC_SMPTE170M
_FONT = cv2.FONT_HERSHEY_SIMPLEX
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom, in pixels
_WHITE, _DARK = (255, 255, 255), (24, 24, 24)


def annotate(result: FrameResult, classes: Sequence[str], scale: int = 1) -> np.ndarray:
    """Draw one frame's faces.

    Args:
        result: Of a frame with pixels.
        classes: Class names.
        scale: Whole-number enlargement, see `scale_for`.

    Returns:
        uint8 [height * scale, width * scale, 3], RGB.
    """
    pixels = result.frame.pixels
    assert pixels is not None
    if scale > 1:
        canvas = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    else:
        canvas = pixels.copy()
    unit = max(1.0, canvas.shape[0] / 480)
    classes = [plain(name) for name in classes]  # OpenCV's fonts know ASCII alone.
    seen = [(found, found.face) for found in result.faces if found.face is not None]
    boxes = [_corners(face, scale) for _, face in seen]
    panels: list[Rectangle] = []
    for number, ((found, _), box) in enumerate(zip(seen, boxes, strict=True)):
        colour = COLOURS[(found.track - 1) % len(COLOURS)]
        corner, far = box[:2], box[2:]
        cv2.rectangle(canvas, corner, far, colour, max(2, round(2 * unit)), cv2.LINE_AA)
        if found.probabilities is None:
            text = f"{found.track}: {found.status}"
        else:
            best = int(np.argmax(found.probabilities))
            text = f"{found.track}: {classes[best]} {found.probabilities[best]:.0%}"
            others = [*boxes[:number], *boxes[number + 1 :], *panels]
            place = _bars(canvas, box, others, classes, found.probabilities, colour, unit)
            panels.append(place)
        _label(canvas, text, (corner[0], corner[1] - round(4 * unit)), colour, unit)
    if not seen:
        _label(canvas, result.status, (round(6 * unit), round(22 * unit)), COLOURS[4], unit)
    return canvas


def scale_for(height: int) -> int:
    """How many times a video is enlarged so that its annotation is legible."""
    return max(1, -(-SMALLEST_HEIGHT // height))


def _label(canvas: np.ndarray, text: str, place: tuple[int, int], colour, unit: float) -> None:
    size = 0.5 * unit
    (width, height), under = cv2.getTextSize(text, _FONT, size, 1)
    x = int(np.clip(place[0], 0, max(canvas.shape[1] - width - 4, 0)))
    y = int(np.clip(place[1], height + 4, canvas.shape[0] - under - 2))
    cv2.rectangle(canvas, (x, y - height - 4), (x + width + 4, y + under), colour, -1)
    cv2.putText(canvas, text, (x + 2, y - 1), _FONT, size, _DARK, max(1, round(unit)), cv2.LINE_AA)


def panel_place(
    size: tuple[int, int],
    box: Rectangle,
    others: Sequence[Rectangle],
    canvas: tuple[int, int],
    unit: float,
) -> Rectangle:
    """Where a face's panel goes: right of its box, left, below or above, whichever covers least; in doubt the first.

    Args:
        size: Width and height of the panel.
        box: The face's.
        others: The other faces' boxes, and the panels that are drawn already.
        canvas: Width and height of the picture, which the panel stays in.
        unit: Pixels of a unit of length.
    """
    (width, height), gap = size, round(4 * unit)
    above = box[1] - round(24 * unit) - height  # The label stands between the two.
    places = [
        (box[2] + gap, box[1]), (box[0] - gap - width, box[1]), (box[0], box[3] + gap), (box[0], above)
    ]  # fmt: skip
    panels: list[Rectangle] = []
    for left, top in places:
        x = int(np.clip(left, 0, max(canvas[0] - width, 0)))
        y = int(np.clip(top, 0, max(canvas[1] - height, 0)))
        panels.append((x, y, x + width, y + height))
    return min(
        panels, key=lambda p: 2 * sum(_shared(p, other) for other in others) + _shared(p, box)
    )


def _shared(one: Rectangle, other: Rectangle) -> int:
    """Pixels that two rectangles have in common."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def _corners(face: Face, scale: int) -> Rectangle:
    x, y, width, height = (value * scale for value in face[:4])
    return round(x), round(y), round(x + width), round(y + height)


def _bars(
    canvas: np.ndarray,
    box: Rectangle,
    others: Sequence[Rectangle],
    classes: Sequence[str],
    values: np.ndarray,
    colour: tuple[int, int, int],
    unit: float,
) -> Rectangle:
    """A panel beside the box, and where it is; see `panel_place`."""
    row, size = round(16 * unit), 0.4 * unit
    name_width = max(cv2.getTextSize(name, _FONT, size, 1)[0][0] for name in classes)
    bar = round(50 * unit)
    width, height = name_width + bar + round(12 * unit), row * len(classes) + round(6 * unit)
    place = panel_place((width, height), box, others, canvas.shape[1::-1], unit)
    x, y = place[:2]
    panel = canvas[y : y + height, x : x + width]
    panel[:] = panel // 3  # Dark enough for white text on any picture.
    best = int(np.argmax(values))
    for index, (name, value) in enumerate(zip(classes, values, strict=True)):
        base = y + round(3 * unit) + (index + 1) * row - round(4 * unit)
        fill = colour if index == best else (150, 150, 150)
        start = x + name_width + round(8 * unit)
        top = base - round(9 * unit)
        cv2.rectangle(canvas, (start, top), (start + bar, base), (90, 90, 90), 1)
        cv2.rectangle(canvas, (start, top), (start + round(bar * float(value)), base), fill, -1)
        text = fill if index == best else _WHITE
        cv2.putText(canvas, name, (x + round(4 * unit), base), _FONT, size, text, 1, cv2.LINE_AA)
    return place


class VideoWriter:
    """Writes RGB frames to an MP4 file that browsers play, each at its own time; the first frame decides the size.

    Args:
        path: Ends in `.mp4`; it is made with the first frame.
        encoder: A key of `ENCODERS`; by default the first one that there is.
    """

    def __init__(self, path: str | Path, encoder: str | None = None):
        self._path = os.path.abspath(path)
        self._encoder = encoder or next(name for name in ENCODERS if name in av.codecs_available)
        self._container: av.container.OutputContainer | None = None
        self._stream: Any = None
        self._size = (0, 0)
        self._next = 0
        self._step = 0

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._container is not None:
            with self._named_errors():
                self._mux(self._container, None)
                self._container.close()

    def write(self, frame: np.ndarray, seconds: float) -> None:
        """Append a frame; one of another size is fitted into the first one's.

        Args:
            frame: uint8 [height, width, 3], RGB.
            seconds: When it is shown; no earlier than the last one.

        Raises:
            OSError: The file cannot be written.
        """
        with self._named_errors():
            container = self._container
            if container is None:
                container = self._open(*frame.shape[1::-1])
            if frame.shape[1::-1] != self._size:
                frame = _even(frame, self._size)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            # Players need times that ascend; a thousandth of a second is no difference to see.
            picture.pts = max(round(seconds * _UNITS), self._next)
            picture.time_base = Fraction(1, _UNITS)
            if self._next:
                step = picture.pts - (self._next - 1)
                self._step = min(step, self._step or step)
            self._next = picture.pts + 1
            self._mux(container, picture)

    def _mux(self, container: av.container.OutputContainer, picture: av.VideoFrame | None) -> None:
        """Encode a frame, or with None what the encoder has kept back."""
        for packet in self._stream.encode(picture):
            # Nothing follows the last frame; it is shown as long as the others.
            packet.duration = self._step or _UNITS // 25
            container.mux(packet)

    def _open(self, width: int, height: int) -> av.container.OutputContainer:
        # Colour is kept for each two by two pixels, so only even sizes can be written.
        self._size = (width - width % 2, height - height % 2)
        # With its index first, a file can be shown before all of it has been read.
        place = {"movflags": "+faststart"}
        container = av.open("file:" + self._path, "w", format="mp4", container_options=place)
        self._container = container
        self._stream = container.add_stream(self._encoder, rate=25, options=ENCODERS[self._encoder])
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, _UNITS)
        # What the conversion from RGB makes, which a player would otherwise have to guess.
        self._stream.codec_context.colorspace = _BT601
        self._stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG
        return container

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise OSError(
                error.errno or errno.EIO, error.strerror or str(error), self._path
            ) from None


def _even(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame cut to an even size, or one of another size fitted into it."""
    width, height = size
    is_odd = frame.shape[0] - height in (0, 1) and frame.shape[1] - width in (0, 1)
    return frame[:height, :width] if is_odd else fitted(frame, size)


@contextlib.contextmanager
def annotated_video(
    path: str | Path, classes: Sequence[str], behind: int = 32
) -> Iterator[Callable[[FrameResult], None]]:
    """Annotate results into a video, in a thread of its own.

    Args:
        path: Ends in `.mp4`; it is made with the first frame.
        classes: Class names.
        behind: Results that may wait; taking another one then waits for the first of them.

    Yields:
        A function that takes the next result. One without pixels is left out.
    """

    def work(result: FrameResult) -> None:
        if result.frame.pixels is not None:
            pixels = annotate(result, classes, scale_for(result.frame.pixels.shape[0]))
            video.write(pixels, result.frame.seconds)

    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with VideoWriter(path) as video, concurrent.futures.ThreadPoolExecutor(1) as pool:

        def take(result: FrameResult) -> None:
            waiting.append(pool.submit(work, result))
            if len(waiting) > behind:
                waiting.popleft().result()

        yield take
        while waiting:
            waiting.popleft().result()
