"""Where frames come from: a video file, a folder of images, a list of images, a camera.

A source yields `(time in seconds, frame)` one by one, so memory does not grow with its length. A frame that
cannot be read is yielded as None with the reason, never left out.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from stfer.data.frames import UnreadableFrameError, open_video, read_image, to_rgb
from stfer.data.readers.tree import IMAGE_SUFFIXES, images

DEFAULT_RATE = 25.0
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
        kind: `video`, `images` or `camera`.
        rate: Frames a second.
        length: How many frames there are (of a video: how many its container promises), or None.
        paths: The image files, or the video's, or none.
        device: The camera's number.
    """

    name: str
    kind: str
    rate: float
    length: int | None
    paths: tuple[str, ...] = ()
    device: int = 0

    def __iter__(self) -> Iterator[Frame]:
        if self.kind == "images":
            return self._images()
        return self._stream()

    def _images(self) -> Iterator[Frame]:
        for number, path in enumerate(self.paths):
            try:
                pixels, problem = _three_channels(read_image(path)), ""
            except UnreadableFrameError as error:
                pixels, problem = None, str(error)
            yield Frame(number, number / self.rate, pixels, problem)

    def _stream(self) -> Iterator[Frame]:
        capture = self._open()
        try:
            number = 0
            while True:
                there, pixels = capture.read()
                if not there:
                    return
                yield Frame(number, number / self.rate, _three_channels(to_rgb(pixels)))
                number += 1
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        if self.kind == "camera":
            capture = cv2.VideoCapture(self.device)
            if not capture.isOpened():
                raise OSError(f"camera {self.device} cannot be opened: is it there, and free?")
            return capture
        try:
            return open_video(self.paths[0])
        except UnreadableFrameError as error:
            raise ValueError(str(error)) from None


def open_source(where: str, rate: float | None = None) -> Source:
    """Find out what an `--input` is.

    Args:
        where: A video file, an image, a folder of images, a text file with one image path a line, several
            image paths separated by commas, or `camera:0`.
        rate: Frames a second; None takes a video's own, and 25 for images.

    Raises:
        FileNotFoundError: It is not there, or a folder holds no image.
        ValueError: It is nothing that can be read.
    """
    if where.startswith(CAMERA):
        number = where.removeprefix(CAMERA)
        if not number.isdecimal():
            raise ValueError(f"{where!r} names no camera; the first one is {CAMERA}0")
        return Source(f"camera-{number}", "camera", rate or DEFAULT_RATE, None, (), int(number))
    path = Path(where)
    if path.is_dir():
        found = tuple(images(path))
        if not found:
            raise FileNotFoundError(f"{path} holds no image (.png, .jpg, .bmp, .tif, .webp ...)")
        return _of_images(path.resolve().name, found, rate)
    if path.suffix.lower() in IMAGE_SUFFIXES and ("," not in where or path.is_file()):
        return _of_images(path.stem, (where,), rate)
    if path.is_file():
        return _of_list(path, rate) if path.suffix.lower() == ".txt" else _of_video(path, rate)
    if "," in where:
        return _of_images("images", tuple(p.strip() for p in where.split(",") if p.strip()), rate)
    raise FileNotFoundError(f"{where} is not there: name a video, an image, a folder or camera:0")


def _of_images(name: str, paths: tuple[str, ...], rate: float | None) -> Source:
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(f"{missing[0]} is not there")
    return Source(name, "images", rate or DEFAULT_RATE, len(paths), paths)


def _of_list(path: Path, rate: float | None) -> Source:
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    paths = tuple(str(path.parent / line) for line in lines if line)
    if not paths:
        raise ValueError(f"{path} lists no image")
    return _of_images(path.stem, paths, rate)


def _of_video(path: Path, rate: float | None) -> Source:
    source = Source(path.stem, "video", DEFAULT_RATE, None, (str(path),))
    capture = source._open()
    own, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    known = own if 0 < own < 1000 else DEFAULT_RATE
    return Source(path.stem, "video", rate or known, count if count > 0 else None, (str(path),))


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
