"""Named streams: what a set has for each frame beside its pixels, such as landmarks."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

FRAMES = "frames"
DTYPES = (
    "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64",
)  # fmt: skip
_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
_MAX_ROW_BYTES = 1 << 30


class Stream(NamedTuple):
    """What a stream has for each frame: an array of one type and shape (`()` is one number)."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of one frame's row."""
        return self.dtype.itemsize * math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.dtype} [{', '.join(['frames', *map(str, self.shape)])}]"

    def to_dict(self) -> dict[str, Any]:
        """As a header holds it."""
        return {"dtype": self.dtype.name, "shape": list(self.shape)}


def frames_stream(size: int) -> Stream:
    """The stream that every set has: RGB pixels of square frames."""
    return Stream(np.dtype(np.uint8), (size, size, 3))


def make_stream(name: str, dtype: DTypeLike, shape: Sequence[int]) -> Stream:
    """A further stream.

    Raises:
        ValueError: Its name, type or shape cannot be; says what can.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == FRAMES:
        raise ValueError(
            f"{str(name)[:80]!r} is no stream's name: use small letters, digits and _, but not {FRAMES!r}"
        )
    try:
        kind = np.dtype(dtype).newbyteorder("<")
    except (TypeError, ValueError, AttributeError):
        kind = np.dtype(object)
    if dtype is None or kind.name not in DTYPES:
        raise ValueError(
            f"the stream {name} has the type {dtype!r}; use one of {', '.join(DTYPES)}"
        )
    if not isinstance(shape, Sequence) or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(
            f"the stream {name} has the shape {shape!r}; lengths are whole and above 0"
        )
    stream = Stream(kind, tuple(shape))
    if len(shape) > 8 or stream.row_bytes > _MAX_ROW_BYTES:
        raise ValueError(f"the stream {name} has rows of shape {stream.shape}, which is too large")
    return stream


def declared_streams(declared: Mapping[str, Any]) -> dict[str, Stream]:
    """A header's streams (but for the frames).

    Raises:
        ValueError: One cannot be.
    """
    found = {}
    for name, fields in declared.items():
        if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape"}:
            raise ValueError(f"the stream {name[:80]!r} must have a dtype and a shape")
        found[name] = make_stream(name, **fields)
    return found


def check_frame_rate(rate: Any) -> float | None:
    """Frames a second as a float; None where they are not known.

    Raises:
        ValueError: It is no number of frames a second.
    """
    if rate is None:
        return None
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate <= 1e6:
        raise ValueError(
            f"the frame rate {str(rate)[:40]} must be frames a second, above 0, or null"
        )
    return float(rate)


def stream_file(name: str, shard: int) -> str:
    """The name of a stream's numbered file."""
    return f"{name}-{shard:05d}.npy"


def stream_of(file: str, names: Iterable[str]) -> str:
    """Whose file it is: that of the stream it is named after, else the frames'."""
    return next((n for n in names if re.fullmatch(rf"{n}-[0-9]+\.npy", file)), FRAMES)


def beside(file: str, name: str) -> str:
    """The file of another stream with the rows of a file of frames."""
    return name + file.removeprefix(FRAMES)
