"""What decoded frames become: seconds from their time stamps, and pixels upright, square and of one size."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from fractions import Fraction

import av
import cv2
import numpy as np
from av.filter import Graph

_JITTER = 1.5  # frames that a clock may run back without being another part's
_JUMP = 10.0  # seconds that the clock of a transport stream may jump within one part, as in FFmpeg


@dataclass
class Clock:
    """Seconds since the first frame, from time stamps that may lack or begin anew; never runs back."""

    step: float
    has_jumps: bool = False
    last: float | None = None
    base: float = 0.0
    restarts: int = 0

    def __call__(self, stamp: float | None) -> float:
        """The seconds of the next frame, whose own time stamp may be missing."""
        if stamp is None:
            self.last = 0.0 if self.last is None else self.last + self.step
            return self.last
        if self.last is None:
            self.base = stamp
        seconds = stamp - self.base
        if self.last is not None:
            ahead = seconds - self.last
            if ahead < -_JITTER * self.step or (self.has_jumps and ahead > _JUMP):
                self.base = stamp - (self.last + self.step)
                seconds = self.last + self.step
                self.restarts += 1
            elif ahead > 0:
                self.step = ahead
        self.last = max(seconds, self.last or 0.0)
        return self.last


@dataclass
class Geometry:
    """Turns decoded frames upright and square, and fits those of another size into the first one's."""

    rotate: int
    size: tuple[int, int] | None = None
    notes: list[str] = field(default_factory=list)
    _graph: tuple[Hashable, Graph] | None = None

    def __call__(self, frame: av.VideoFrame, aspect: float, number: int) -> np.ndarray:
        """The frame's pixels, uint8 [height, width, 3], RGB, square; `number` names it in errors."""
        width, height = frame.width, frame.height
        # Editors note what rounding to even sizes did; a hundredth is no shape to correct.
        if not 1 / 16 <= aspect <= 16 or abs(aspect - 1) < 0.01:
            aspect = 1.0
        shown = (round(width * max(aspect, 1)), round(height * max(1 / aspect, 1)))
        if shown != (width, height) and number == 0:
            self.notes.append(
                f"pixels are not square: {width}x{height} is shown as {shown[0]}x{shown[1]}"
            )
        pixels = self._converted(frame, *shown)
        pixels = turned(_as_displayed(pixels, frame), self.rotate)
        size = pixels.shape[1::-1]
        if self.size is None:
            self.size = size
        elif size != self.size:
            note = f"the size changes to {size[0]}x{size[1]} at frame {number}; fitted into "
            note += f"{self.size[0]}x{self.size[1]}"
            if not any(known.startswith("the size changes") for known in self.notes):
                self.notes.append(note)
            pixels = fitted(pixels, self.size)
        return pixels

    def _converted(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """RGB at a size, by FFmpeg's own filters: its scaler alone places chroma samples otherwise."""
        kind = (frame.width, frame.height, frame.format.name, frame.color_range, frame.colorspace)
        key = (*kind, width, height)
        if self._graph is None or self._graph[0] != key:
            self._graph = (key, _conversion(frame, width, height))
        graph = self._graph[1]
        graph.push(frame)
        return graph.pull().to_ndarray()


def _conversion(frame: av.VideoFrame, width: int, height: int) -> Graph:
    """The filters that `ffmpeg -vf scale=WIDTH:HEIGHT:flags=bicubic -pix_fmt rgb24` uses."""
    graph = Graph()
    last = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format.name,
        time_base=frame.time_base or Fraction(1, 1000),
    )
    for name, settings in (
        ("scale", f"{width}:{height}:flags=bicubic"),
        ("format", "pix_fmts=rgb24"),
        ("buffersink", None),
    ):
        following = graph.add(name, settings)
        last.link_to(following)
        last = following
    graph.configure()
    return graph


def turned(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """Pixels turned clockwise by a multiple of 90 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, -degrees // 90)) if degrees else pixels


def fitted(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels scaled into (width, height) without squeezing, black where there is none."""
    width, height = size
    factor = min(width / pixels.shape[1], height / pixels.shape[0])
    inner = (max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.resize(pixels, inner, interpolation=method)
    canvas = np.zeros((height, width, *pixels.shape[2:]), np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas


def _as_displayed(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Turned and mirrored as the frame's display matrix says, for quarters of a turn."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5]
    if a == 0 and d == 0 and b and c:
        pixels = pixels.transpose(1, 0, 2)
        pixels = pixels[:, ::-1] if c < 0 else pixels
        pixels = pixels[::-1] if b < 0 else pixels
    elif b == 0 and c == 0:
        pixels = pixels[:, ::-1] if a < 0 else pixels
        pixels = pixels[::-1] if d < 0 else pixels
    return np.ascontiguousarray(pixels)
