"""Picture files of every kind as uint8 pixels (OpenCV; HEIC and JPEG XL by Pillow's plug-ins where installed).

Frames are RGB [height, width, 3] or grey [height, width]; a grey file stays grey, which saves time in
detection. Alpha is left out, CMYK becomes RGB, the orientation that a camera noted is applied. Samples of
more than eight bits are scaled by their white level: the file's own where it names one, else the smallest
usual one that holds all samples of the whole sequence, so that a sequence keeps one scale.
"""

import importlib.util
import io
import os
import re
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np

from stfer.data.sequence import UnreadableFrameError, readable

SUFFIXES = frozenset((
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".bmp", ".dib", ".tif", ".tiff", ".pgm", ".ppm",
    ".pbm", ".pnm", ".pam", ".pfm", ".webp", ".jp2", ".sr", ".ras", ".hdr", ".gif", ".avif",
))  # fmt: skip
# Pictures that a plug-in of Pillow reads, by suffix; `pip install "stfer[pictures]"` brings both.
PLUGINS = {
    ".heic": "pillow_heif",
    ".heif": "pillow_heif",
    ".hif": "pillow_heif",
    ".jxl": "pillow_jxl",
}
# Pictures that are not read; a folder that holds some is not taken for whole without them.
OTHER_SUFFIXES = frozenset((
    ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".raw", ".psd", ".svg", ".tga", ".exr",
    ".jxr", ".ico", ".dcm", ".eps", ".qoi",
))  # fmt: skip
EXTRA = 'pip install "stfer[pictures]"'
WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JXL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL ")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_MAX_BYTES = 512 << 20
_BRIGHTEST_FLOAT = 4.0  # Beyond it a float picture is no longer of white 1 with highlights.

if "OPENCV_LOG_LEVEL" not in os.environ:
    # What is wrong with a file is said in the error's sentence; OpenCV's own lines would only repeat it.
    getattr(cv2.utils, "logging", cv2).setLogLevel(0)  # Silent; older OpenCV has it in cv2.


class Picture(NamedTuple):
    """Samples as the file holds them, RGB or grey, and its own white level where it names one."""

    samples: np.ndarray
    white: float | None


def suffixes() -> frozenset[str]:
    """Suffixes of the pictures that are read here, in lower case."""
    found = {s for s, plugin in PLUGINS.items() if importlib.util.find_spec(plugin)}
    return SUFFIXES | found


def is_picture(name: str) -> bool:
    """Whether a file name is one of a picture that is read here."""
    return os.path.splitext(name)[1].lower() in suffixes()


def is_unread(name: str) -> bool:
    """Whether a file name is one of a picture that is not read here."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in OTHER_SUFFIXES or (suffix in PLUGINS and suffix not in suffixes())


def read_image(path: str, white: float | None = None) -> np.ndarray:
    """Read one picture, whole or not at all.

    Args:
        path: the picture's file.
        white: the sample that is white in pictures of more than eight bits that name none; None takes the
            smallest usual one that holds this picture's.

    Raises:
        UnreadableFrameError: missing, no permission, empty, cut short, or no image.
    """
    picture = load(path)
    if picture.white is None and is_deep(picture.samples):
        white = white or _level(_brightest(picture.samples), picture.samples.dtype)
    return to_eight_bits(picture.samples, picture.white or white)


def load(path: str) -> Picture:
    """Read one picture's samples as they are; raises as `read_image`."""
    name = readable(os.path.basename(path))
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError as error:
        raise UnreadableFrameError(f"unreadable file: {name}, {error.strerror}") from None
    if not data:
        raise UnreadableFrameError(f"unreadable file: {name} is empty")
    return decode(data, name)


def decode(data: bytes, name: str = "the picture") -> Picture:
    """Decode a picture file's bytes; raises as `read_image`."""
    if problem := _damage(data):
        raise UnreadableFrameError(f"unreadable file: {name} is {problem}")
    if plugin := _plugin(data):
        return Picture(_by_pillow(data, name, plugin), None)
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
        )
    except (cv2.error, MemoryError):
        image = None
    if image is None or image.size == 0:
        raise UnreadableFrameError(f"unreadable file: {name} is no image that OpenCV reads")
    if data[4:8] == b"ftyp":
        image = _upright(image, data)
    if image.ndim == 3:
        image = cv2.cvtColor(image[..., :3], cv2.COLOR_BGR2RGB)
    return Picture(image, _stated_white(data))


def is_deep(samples: np.ndarray) -> bool:
    """Whether samples have more than eight bits, so that they need a white level."""
    return samples.dtype != np.uint8


def white_level(paths: Iterable[str]) -> float:
    """The white level of a sequence's pictures of more than eight bits: all of them are looked at.

    Returns:
        The smallest usual level that holds every sample; pictures that cannot be read are passed over.
    """
    level = 0.0
    for path in paths:
        try:
            samples, white = load(path)
        except UnreadableFrameError:
            continue
        if white is None and is_deep(samples):
            level = max(level, _level(_brightest(samples), samples.dtype))
        if level >= WHITE_LEVELS[-1]:
            break
    return level or WHITE_LEVELS[-1]


class PictureReader:
    """Reads the pictures of one sequence, in one scale.

    Args:
        paths: all pictures of the sequence; they are looked at once where one has more than eight bits.
    """

    def __init__(self, paths: Iterable[str]):
        self._paths = paths
        self._white: float | None = None
        self.notes: list[str] = []

    def read(self, path: str) -> np.ndarray:
        """One picture, uint8 RGB or grey; raises as `read_image`."""
        samples, white = load(path)
        if white is None and is_deep(samples):
            if self._white is None:
                self._white = white_level(self._paths)
                if self._white not in (1, WHITE_LEVELS[-1]):
                    kind = "float" if samples.dtype.kind == "f" else "16-bit"
                    self.notes.append(f"{kind} pictures: {self._white:g} is taken for white")
            white = self._white
        return to_eight_bits(samples, white)


def to_eight_bits(samples: np.ndarray, white: float | None) -> np.ndarray:
    """Samples as uint8: `white` becomes 255; without one, uint8 stays as it is.

    Raises:
        UnreadableFrameError: samples of a type that no picture has.
    """
    if samples.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise UnreadableFrameError(f"unreadable file: pixels of type {samples.dtype}")
    if white is None or (samples.dtype == np.uint8 and white == 255):
        if is_deep(samples):
            raise ValueError("pictures of more than eight bits need a white level")
        return samples
    if samples.dtype == np.uint16:
        return cv2.convertScaleAbs(samples, alpha=255 / white)
    values = np.nan_to_num(samples.astype(np.float32), posinf=white, neginf=0)
    return np.round(np.clip(values / white, 0, 1) * 255).astype(np.uint8)


def _brightest(samples: np.ndarray) -> float:
    values = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples
    return float(values.max(initial=0))


def _level(brightest: float, dtype: np.dtype) -> float:
    """The smallest usual white level that holds a sample."""
    if dtype.kind == "f" and brightest <= _BRIGHTEST_FLOAT:
        return 1.0
    return next((float(level) for level in WHITE_LEVELS if brightest <= level), 65535.0)


def _stated_white(data: bytes) -> float | None:
    """The white level that a file names: the maximum value of Netpbm's formats."""
    if data[:2] in (b"P2", b"P3", b"P5", b"P6"):
        comment = rb"(?:\s|#[^\n]*\n)+"
        found = re.match(rb"P\d" + 2 * (comment + rb"\d+") + comment + rb"(\d{1,5})\s", data)
        return float(found[1]) if found and 0 < int(found[1]) <= 65535 else None
    if data[:2] == b"P7":
        found = re.search(rb"\nMAXVAL (\d{1,5})\s", data[:1024])
        return float(found[1]) if found and 0 < int(found[1]) <= 65535 else None
    return None


def _damage(data: bytes) -> str:
    """What is wrong with a PNG or JPEG file whose missing part OpenCV would fill without a word.

    What follows the end of the picture, such as the video of a phone's motion photo, is nothing wrong.
    """
    if data.startswith(_PNG):
        return _png_damage(data)
    if data.startswith(_JPEG):
        return _jpeg_damage(data)
    return ""


def _png_damage(data: bytes) -> str:
    place = len(_PNG)
    while place + 12 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 12 + length
        if end > len(data):
            break
        check = int.from_bytes(data[end - 4 : end], "big")
        # A letter in upper case begins the name of a chunk that the picture needs.
        if kind[:1].isupper() and zlib.crc32(data[place + 4 : end - 4]) != check:
            return "damaged: a checksum differs"
        if kind == b"IEND":
            return ""
        place = end
    return "cut short"


# A marker within a JPEG's scans: 0xFF, then neither a stuffed zero, a restart, nor padding.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def _jpeg_damage(data: bytes) -> str:
    """Follows the segments from the start (ITU-T T.81, annex B), so a thumbnail's end is not taken."""
    place, in_scan = 2, False
    while found := _MARKER.search(data, place) if in_scan else _MARKER.match(data, place):
        marker = data[found.start() + 1]
        if marker == _END_OF_IMAGE:
            return "" if in_scan else "damaged: it has no pixels"
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        if marker < 0xC0 or length < 2:
            return "damaged" if found.end() + 2 <= len(data) else "cut short"
        place = found.end() + length
        in_scan |= marker == _START_OF_SCAN
        if not in_scan:
            # Fill bytes may stand before a marker.
            while data[place : place + 2] == b"\xff\xff":
                place += 1
    if in_scan or place >= len(data):
        return "cut short"
    return "damaged"


def _plugin(data: bytes) -> str:
    """The plug-in that a HEIC or JPEG XL picture needs, whatever its file is named; empty for others."""
    if data.startswith(_JXL):
        return "pillow_jxl"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS and b"avif" not in data[8:64]:
        return "pillow_heif"
    return ""


def _by_pillow(data: bytes, name: str, plugin: str) -> np.ndarray:
    kind = "HEIC" if plugin == "pillow_heif" else "JPEG XL"
    if not importlib.util.find_spec(plugin):
        raise UnreadableFrameError(
            f"pictures that are not read: {name} is {kind}, which needs {EXTRA}"
        )
    from PIL import Image, ImageOps

    if plugin == "pillow_heif":
        import pillow_heif

        pillow_heif.register_heif_opener()
    else:
        import pillow_jxl  # noqa: F401  (registers itself)
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith(
                "I;16"
            ):  # Pillow would cut these off at 255, not scale them.
                return np.array(upright).astype(np.uint16)
            grey = upright.mode in ("L", "LA", "1")
            return np.array(
                upright if upright.mode == "F" else upright.convert("L" if grey else "RGB")
            )
    # Plug-ins raise whatever their codecs do, in words about their own code.
    except Exception:
        raise UnreadableFrameError(
            f"unreadable file: {name} is a damaged or cut {kind} picture"
        ) from None


def _upright(image: np.ndarray, data: bytes) -> np.ndarray:
    """An AVIF picture turned and mirrored as its properties say, which OpenCV leaves (HEIF, 6.5.10, 6.5.12)."""
    head = data[: 1 << 16]
    if turn := re.search(rb"\x00\x00\x00\x09irot(.)", head, re.DOTALL):
        image = np.rot90(image, turn[1][0] & 3)
    if mirror := re.search(rb"\x00\x00\x00\x09imir(.)", head, re.DOTALL):
        image = image[:, ::-1] if mirror[1][0] & 1 else image[::-1]
    return np.ascontiguousarray(image)
