"""Reading the pixels of a sequence's frames by index, from picture files or from a video."""

from collections.abc import Iterator
from typing import Self

import av
import numpy as np

from stfer.data.pictures import PictureReader, read_image
from stfer.data.sequence import Sequence, UnreadableFrameError
from stfer.data.video import SeekError, Video
from stfer.data.video_frames import turned
from stfer.data.video_index import Index, count_frames, index_video

__all__ = [
    "FrameReader",
    "UnreadableFrameError",
    "VideoReader",
    "count_frames",
    "read_image",
]
_FAR = 48  # frames ahead from which seeking is worth a look at the packets


class VideoReader:
    """Reads the frames of videos by number; cheapest in order, and never decodes a long way in vain."""

    def __init__(self, rotate: int = 0):
        self._rotate = rotate
        self._path = ""
        self._video: Video | None = None
        self._frames: Iterator[tuple[int, float, av.VideoFrame]] = iter(())
        self._next = 0
        self._in_order: set[str] = set()

    def close(self) -> None:
        """Close the video that is open, if any."""
        if self._video is not None:
            self._video.close()
        self._video, self._path = None, ""

    @property
    def notes(self) -> list[str]:
        """What is peculiar about the video that is open, as far as it has been read."""
        return [] if self._video is None else self._video.notes

    def read(self, path: str, number: int) -> tuple[np.ndarray, float]:
        """One frame's pixels, uint8 [height, width, 3] RGB, and its seconds since the first.

        Raises:
            UnreadableFrameError: it is no video, or the frame is damaged.
            EOFError: the video ends before it.
        """
        try:
            return self._read(path, number)
        except SeekError:
            self._in_order.add(path)
            self.close()
            return self._read(path, number)

    def _read(self, path: str, number: int) -> tuple[np.ndarray, float]:
        video = self._video
        if video is None or path != self._path:
            video = self._open(path)
        index = self._worth_seeking(path, number)
        if index is not None:
            video.seek(index, number)
            self._frames = video.undrawn()
        elif number < self._next:
            video = self._open(path)
        for found, seconds, frame in self._frames:
            self._next = found + 1
            if found == number:
                return video.draw(number, frame), seconds
        raise EOFError(f"the video ends before frame {number}")

    def _open(self, path: str) -> Video:
        self.close()
        self._video = Video(path, self._rotate)
        self._path, self._next = path, 0
        self._frames = self._video.undrawn()
        return self._video

    def _worth_seeking(self, path: str, number: int) -> Index | None:
        """The video's index where a start nearer to the frame than the next one is known."""
        ahead = number - self._next
        if 0 <= ahead < _FAR or path in self._in_order:
            return None
        index = index_video(path)
        if number >= index.frames or not len(index.keys):
            return None
        key = index.key_before(number)
        return index if ahead < 0 or key > self._next + _FAR // 4 else None


class FrameReader:
    """Reads a sequence's frames by index. Use as a context manager.

    Args:
        sequence: whose frames.
        rotate: degrees clockwise to turn them by, a multiple of 90.
        videos: reads the videos; given where several sequences share one.
    """

    def __init__(self, sequence: Sequence, rotate: int = 0, videos: VideoReader | None = None):
        self._sources = sequence.frames
        self._rotate = rotate
        self._own = videos is None
        self._videos = videos or VideoReader(rotate)
        self._pictures = PictureReader(s.path for s in sequence.frames if s.number is None)

    @property
    def notes(self) -> list[str]:
        """What is peculiar about the frames, as far as they have been read."""
        return [*self._videos.notes, *self._pictures.notes]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._own:
            self._videos.close()

    def read(self, index: int) -> np.ndarray:
        """One frame, uint8 RGB [height, width, 3] or grey [height, width].

        Raises:
            UnreadableFrameError: it cannot be read, with the reason.
            EOFError: a video ends before it.
        """
        return self.read_timed(index)[0]

    def read_timed(self, index: int) -> tuple[np.ndarray, float | None]:
        """One frame, and a video's seconds since its first; raises as `read`."""
        source = self._sources[index]
        if source.number is not None:
            return self._videos.read(source.path, source.number)
        return turned(self._pictures.read(source.path), self._rotate), None
