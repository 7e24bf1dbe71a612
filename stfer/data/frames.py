"""Reading the pixels of a sequence's frames, from image files or from a video (OpenCV).

Frames are uint8, RGB [height, width, 3] or grey [height, width]; a grey file stays grey, which saves
time in detection. Sixteen bits are scaled to eight, alpha is left out, CMYK becomes RGB, the
orientation that a camera noted is applied.
"""

import os
from typing import Self

import cv2
import numpy as np

from stfer.data.sequence import FrameSource, Sequence, readable

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_JPEG = b"\xff\xd8\xff"
_MAX_BYTES = 512 << 20


class UnreadableFrameError(Exception):
    """A frame that cannot be read; its text is a reason for the table of dropped sequences."""


class FrameReader:
    """Reads a sequence's frames by index; cheapest in order. Use as a context manager."""

    def __init__(self, sequence: Sequence):
        self._sources = sequence.frames
        self._video: cv2.VideoCapture | None = None
        self._video_path = ""
        self._next = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        if self._video is not None:
            self._video.release()

    def read(self, index: int) -> np.ndarray:
        """One frame.

        Raises:
            UnreadableFrameError: it cannot be read, with the reason.
            EOFError: a video ends before it.
        """
        source = self._sources[index]
        if source.number is None:
            return read_image(source.path)
        return self._read_video(source)

    def _read_video(self, source: FrameSource) -> np.ndarray:
        if self._video is None or source.path != self._video_path or source.number < self._next:
            self._video = open_video(source.path)
            self._video_path, self._next = source.path, 0
        # Seeking by frame number is inexact in many containers; grabbing is not.
        while self._next < source.number:
            if not self._video.grab():
                raise EOFError(f"the video ends before frame {source.number}")
            self._next += 1
        found, frame = self._video.read()
        if not found:
            raise EOFError(f"the video ends before frame {source.number}")
        self._next += 1
        return to_rgb(frame)


def read_image(path: str) -> np.ndarray:
    """Read one image file, whole or not at all.

    Raises:
        UnreadableFrameError: missing, no permission, empty, cut short, or no image.
    """
    name = readable(os.path.basename(path))
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError as error:
        raise UnreadableFrameError(f"unreadable file: {name}, {error.strerror}") from None
    if not data:
        raise UnreadableFrameError(f"unreadable file: {name} is empty")
    if _is_cut(data):
        raise UnreadableFrameError(f"unreadable file: {name} is cut short")
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
        )
    except (cv2.error, MemoryError):
        image = None
    if image is None or image.size == 0:
        raise UnreadableFrameError(f"unreadable file: {name} is no image that OpenCV reads")
    return to_rgb(image)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """OpenCV's BGR (or grey) image as uint8 RGB (or grey)."""
    if image.dtype == np.uint16:
        image = cv2.convertScaleAbs(image, alpha=255 / 65535)
    elif image.dtype in (np.float32, np.float64):
        image = np.round(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        raise UnreadableFrameError(f"unreadable file: pixels of type {image.dtype}")
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def open_video(path: str) -> cv2.VideoCapture:
    """Open a video file.

    Raises:
        UnreadableFrameError: it cannot be opened.
    """
    name = readable(os.path.basename(path))
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise UnreadableFrameError(f"unreadable file: {name}, {error.strerror}") from None
    video = None if empty else cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    if video is None or not video.isOpened():
        raise UnreadableFrameError(f"unreadable file: {name} is no video that OpenCV reads")
    return video


def count_frames(path: str) -> int:
    """The number of frames that a video's container promises; no frame is decoded.

    Raises:
        UnreadableFrameError: it is no video, or promises no frame.
    """
    video = open_video(path)
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    if count <= 0:
        raise UnreadableFrameError(
            f"unreadable file: {readable(os.path.basename(path))} does not say how many frames it has"
        )
    return count


def _is_cut(data: bytes) -> bool:
    """Whether a PNG or JPEG file lacks its end; OpenCV would fill the missing rows without a word."""
    if data.startswith(_PNG):
        return _PNG_END not in data[-4096:]
    if data.startswith(_JPEG):
        # The end marker of an embedded thumbnail precedes the main image's start of scan.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    return False
