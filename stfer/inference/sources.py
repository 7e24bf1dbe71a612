"""Where frames come from: a video file, a folder of images, a list of images, a camera, a network stream.

A source yields frames one by one with the seconds of each, so memory does not grow with its length. Seconds
are a video's own time stamps, a camera's by the clock, those that pictures are named by, or else counted. A
frame that cannot be read is yielded as None with the reason, never left out.
"""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from stfer.data.pictures import EXTRA, PLUGINS, PictureReader, is_picture, is_unread
from stfer.data.readers import tree
from stfer.data.sequence import UnreadableFrameError, why_unnamable
from stfer.data.video import DEFAULT_RATE, Video, is_stream
from stfer.data.video_frames import turned
from stfer.nearest import did_you_mean_path

CAMERA = "camera:"


class Frame(NamedTuple):
    """One frame: uint8 [height, width, 3] RGB, or None and why."""

    number: int
    seconds: float
    pixels: np.ndarray | None
    problem: str = ""


@dataclass(frozen=True)
class Source:
    """Frames to be read.

    Attributes:
        name: For titles and file names.
        kind: `video`, `images`, `camera` or `stream`.
        rate: Frames a second; of a video or stream as its container says.
        length: How many frames there are (of a video: how many its container promises), or None.
        paths: The image files, or the video's, or the stream's address, or none.
        device: The camera's number.
        is_timed: Whether seconds are measured or given, not just counted at a usual rate.
        counted: Seconds are counted at `rate`, whatever the video's time stamps say.
        seconds: Of each image, where their names are times.
        rotate: Degrees clockwise that frames are turned by.
        notes: What is peculiar about the source; complete when it has been read.
    """

    name: str
    kind: str
    rate: float
    length: int | None
    paths: tuple[str, ...] = ()
    device: int = 0
    is_timed: bool = True
    counted: bool = False
    seconds: tuple[float, ...] = ()
    rotate: int = 0
    notes: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[Frame]:
        self.notes.clear()
        if self.kind == "images":
            return self._images()
        return self._camera() if self.kind == "camera" else self._video()

    def _images(self) -> Iterator[Frame]:
        reader = PictureReader(self.paths)
        for number, path in enumerate(self.paths):
            pixels, problem = None, ""
            try:
                pixels = turned(_three_channels(reader.read(path)), self.rotate)
            except UnreadableFrameError as error:
                problem = str(error)
            seconds = self.seconds[number] if self.seconds else number / self.rate
            yield Frame(number, seconds, pixels, problem)
        self.notes.extend(reader.notes)

    def _video(self) -> Iterator[Frame]:
        try:
            video = Video(self.paths[0], self.rotate)
        except UnreadableFrameError as error:
            raise ValueError(str(error)) from None
        with video:
            for number, stamp, frame in video.undrawn():
                seconds = number / self.rate if self.counted else stamp
                try:
                    yield Frame(number, seconds, video.draw(number, frame))
                except UnreadableFrameError as error:
                    yield Frame(number, seconds, None, str(error))
            self.notes.extend(video.notes)
            if video.lost:
                self.notes.append(f"the video gives {video.lost}: it is cut short or damaged")

    def _camera(self) -> Iterator[Frame]:
        capture = cv2.VideoCapture(self.device)
        try:
            if not capture.isOpened():
                raise OSError(f"camera {self.device} cannot be opened: is it there, and free?")
            number, began = 0, None
            while True:
                there, pixels = capture.read()
                if not there:
                    return
                now = time.monotonic()
                began = now if began is None else began
                pixels = cv2.cvtColor(_three_channels(pixels), cv2.COLOR_BGR2RGB)
                yield Frame(number, now - began, turned(pixels, self.rotate))
                number += 1
        finally:
            capture.release()


def open_source(where: str, rate: float | None = None, rotate: int = 0) -> Source:
    """Find out what an `--input` is.

    Args:
        where: A video file, an image, a folder of images, a text file with one image path a line, several
            image paths separated by commas, `camera:0`, or a stream's address such as `rtsp://...`.
        rate: Frames a second to count seconds by; None takes time stamps, or 25 a second where there are
            none.
        rotate: Degrees clockwise to turn the frames by, a multiple of 90.

    Raises:
        FileNotFoundError: It is not there, or a folder holds no image.
        ValueError: It is nothing that can be read, or only a part of it can.
    """
    if where.startswith(CAMERA):
        number = where.removeprefix(CAMERA)
        if not number.isdecimal():
            raise ValueError(f"{where!r} names no camera; the first one is {CAMERA}0")
        return Source(
            f"camera-{number}", "camera", rate or DEFAULT_RATE, None, (), int(number), rotate=rotate
        )
    if is_stream(where):
        return _of_stream(where, rotate)
    where = os.path.expanduser(where)
    path = Path(where)
    if path.is_dir():
        found, unread = tree.images(path)
        if unread:
            raise ValueError(f"{path} holds {unread}")
        if not found:
            raise FileNotFoundError(f"{path} holds no image (.png, .jpg, .bmp, .tif, .webp ...)")
        return _of_images(path.resolve().name, tuple(found), rate, rotate)
    if is_unread(where) and path.is_file():
        needs = f"needs {EXTRA}" if path.suffix.lower() in PLUGINS else "is to be converted"
        raise ValueError(f"{path} is a picture that is not read: it {needs}")
    if _is_still(where) and ("," not in where or path.is_file()):
        return _of_images(path.stem, (where,), rate, rotate)
    if path.is_file():
        make = _of_list if path.suffix.lower() == ".txt" else _of_video
        return make(path, rate, rotate)
    if "," in where:
        parts = (os.path.expanduser(part.strip()) for part in where.split(","))
        return _of_images("images", tuple(part for part in parts if part), rate, rotate)
    raise FileNotFoundError(
        f"{where} is not there: name a video, an image, a folder or camera:0{did_you_mean_path(where)}"
    )


def _is_still(name: str) -> bool:
    return is_picture(name) and not name.lower().endswith(".gif")  # A GIF can be a video.


def _of_images(name: str, paths: tuple[str, ...], rate: float | None, rotate: int) -> Source:
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        why = why_unnamable(missing[0])
        raise FileNotFoundError(
            f"{missing[0]} " + (f"cannot be read: {why}" if why else "is not there")
        )
    seconds = () if rate else tuple(tree.stamps(paths))
    if seconds and seconds[-1] > 0:
        rate = (len(seconds) - 1) / seconds[-1]
    return Source(
        name,
        "images",
        rate or DEFAULT_RATE,
        len(paths),
        paths,
        is_timed=rate is not None,
        seconds=seconds,
        rotate=rotate,
    )


def _of_list(path: Path, rate: float | None, rotate: int) -> Source:
    try:
        lines = re.split(r"\r\n|\r|\n", tree.decode_text(path.read_bytes()))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no list of images: not UTF-8 text") from None
    paths = tuple(_listed(path.parent, line.strip()) for line in lines if line.strip())
    if not paths:
        raise ValueError(f"{path} lists no image")
    if any("\0" in name for name in paths):
        raise ValueError(f"{path} is no list of images: it holds zero bytes")
    return _of_images(path.stem, paths, rate, rotate)


def _listed(folder: Path, line: str) -> str:
    found = folder / os.path.expanduser(line)
    if "\\" in line and "\0" not in line and not os.path.lexists(found):
        found = folder / line.replace("\\", "/")
    return str(found)


def _of_video(path: Path, rate: float | None, rotate: int) -> Source:
    try:
        with Video(str(path), threads=1) as video:
            own, count = video.rate, video.promised
    except UnreadableFrameError as error:
        raise ValueError(str(error)) from None
    paths = (str(path),)
    return Source(
        path.stem, "video", rate or own, count, paths, counted=rate is not None, rotate=rotate
    )


def _of_stream(address: str, rotate: int) -> Source:
    # Passwords have no place in titles and folder names.
    place = re.sub(r"^[a-z]+://([^/@]*@)?", "", address, flags=re.IGNORECASE).partition("?")[0]
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", place).strip("-.")[:80] or "stream"
    return Source(name, "stream", DEFAULT_RATE, None, (address,), rotate=rotate)


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
