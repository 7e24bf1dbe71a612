"""The probabilities of each track over time, in bounded memory, and their plot.

A track's curve has at most `BINS` points. When a longer video fills them, neighbours are merged and every
point stands for twice as many frames.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stfer.data.lettering import legible
from stfer.inference.stream import FrameResult

BINS = 1024
MOST_TRACKS = 6
MOST_CURVES = 64


class Curve:
    """Mean probabilities and times over equal stretches of frames: sums and counts a bin."""

    def __init__(self, first: int, classes: int):
        self.first = first
        self.frames_per_bin = 1
        self._sums = np.zeros((BINS, classes))
        self._counts = np.zeros(BINS)
        self._seconds = np.zeros(BINS)

    def add(self, frame: int, seconds: float, probabilities: np.ndarray) -> None:
        """Count one frame's probabilities."""
        while (place := (frame - self.first) // self.frames_per_bin) >= BINS:
            for array in (self._sums, self._counts, self._seconds):
                array[: BINS // 2] = array[0::2] + array[1::2]
                array[BINS // 2 :] = 0
            self.frames_per_bin *= 2
        self._sums[place] += probabilities
        self._counts[place] += 1
        self._seconds[place] += seconds

    @property
    def count(self) -> int:
        """Frames counted."""
        return int(self._counts.sum())

    def points(self, stride: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The means of each bin, in order of time.

        Args:
            stride: Frames from one clip's end to the next. Bins that it leaves empty are left out.

        Returns:
            Seconds, float64 [points], and probabilities, float64 [points, classes]; NaN where clips are lacking.
        """
        used = int(np.flatnonzero(self._counts).max(initial=-1)) + 1
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self._sums[:used] / self._counts[:used, None]
            seconds = self._seconds[:used] / self._counts[:used]
        skipped = -(-(stride - 1) // self.frames_per_bin)
        kept: list[int] = []
        for place in np.flatnonzero(self._counts).tolist():
            if kept and place - kept[-1] - 1 > skipped:
                kept.append(place - 1)  # An empty one stands for all of the gap.
            kept.append(place)
        return seconds[kept], means[kept]


class Timeline:
    """The curves of the longest tracks.

    Args:
        classes: Class names.
        stride: Frames from one clip's end to the next.

    Attributes:
        curves: A curve a track.
        end: Seconds of the last frame.
    """

    def __init__(self, classes: Sequence[str], stride: int = 1):
        self.classes, self.stride = tuple(classes), stride
        self.curves: dict[int, Curve] = {}
        self.end = 0.0

    def add(self, result: FrameResult) -> None:
        """Count one frame."""
        number = result.frame.number
        self.end = max(self.end, result.frame.seconds)
        for face in result.faces:
            if face.probabilities is None:
                continue
            if face.track not in self.curves:
                self._make_room({found.track for found in result.faces})
                self.curves[face.track] = Curve(number, len(self.classes))
            self.curves[face.track].add(number, result.frame.seconds, face.probabilities)

    def _make_room(self, present: set[int]) -> None:
        ended = [track for track in self.curves if track not in present]
        if len(self.curves) >= MOST_CURVES and ended:
            del self.curves[min(ended, key=lambda track: self.curves[track].count)]

    def draw(self, path: str | Path, title: str) -> Path:
        """Plot the longest tracks' curves over seconds into a PNG file."""
        import matplotlib as mpl
        import matplotlib.figure

        longest = sorted(self.curves, key=lambda track: -self.curves[track].count)[:MOST_TRACKS]
        rows = max(1, len(longest))
        with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
            figure = mpl.figure.Figure(figsize=(9, 0.8 + 2.2 * rows), layout="constrained")
            axes = figure.subplots(rows, 1, squeeze=False, sharex=True)[:, 0]
            for axis, track in zip(axes, sorted(longest), strict=False):
                self._draw_track(axis, track)
            if not longest:
                axes[0].text(0.5, 0.5, "no clip could be classified", ha="center")
            else:
                axes[0].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
            axes[-1].set_xlabel("seconds")
            left_out = len(self.curves) - len(longest)
            more = f" ({left_out} shorter tracks not shown)" if left_out else ""
            # A dollar sign in a name is no formula.
            figure.suptitle((title + more).replace("$", r"\$"))
            legible(figure).savefig(path, dpi=120)
        return Path(path)

    def _draw_track(self, axis, track: int) -> None:
        # Okabe & Ito 2008, with a line style each, so that print and colour-blind readers can tell.
        colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
        styles = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
        seconds, means = self.curves[track].points(self.stride)
        for index, name in enumerate(self.classes):
            colour, style = colours[index % 7], styles[index % 7]
            mark = "." if len(seconds) < 3 else None
            axis.plot(
                seconds,
                means[:, index],
                color=colour,
                linestyle=style,
                marker=mark,
                label=name,
            )
        axis.set_ylim(0, 1)
        axis.set_ylabel(f"probability, track {track}")
