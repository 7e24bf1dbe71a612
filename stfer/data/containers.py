"""What a video file's outermost structure tells, without decoding: joined parts, and bytes that are lacking.

Reads the box headers of ISO base media (MP4, MOV; ISO/IEC 14496-12), the chunks of RIFF (AVI), the segments
of EBML (Matroska, WebM; RFC 8794), the tags of FLV, the objects of ASF (WMV), the pages of Ogg (RFC 3533) and
the packets of MXF (SMPTE 377). Of other containers it says nothing.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BOXES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"moof", b"styp", b"sidx"}
)
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_FLV = b"FLV\x01"
_MXF = b"\x06\x0e\x2b\x34"
_MOST_ITEMS = 1 << 20


@dataclass(frozen=True)
class Structure:
    """The outermost structure of a file.

    Attributes:
        parts: start and end in bytes of each joined file, where FFmpeg reads the first alone (MP4, FLV, ASF); one
            pair, of the whole file, for others.
        is_cut: whether the file ends before its own headers say.
        has_fragments: an MP4 that was written as it came, so that nothing in it counts all frames.
    """

    parts: tuple[tuple[int, int], ...]
    is_cut: bool
    has_fragments: bool = False


def structure(path: str) -> Structure:
    """Look at a file's structure.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        start = file.read(16)
        if start[4:8] in _BOXES:
            return _of_boxes(file, end)
        if start[:4] in _CHAINS:
            ends = (item_end for _, _, item_end in _items(file, *_CHAINS[start[:4]]))
            return Structure(((0, end),), max(ends, default=0) > end)
        if start[:4] == _FLV:
            return _joined(_items(file, 11, _tag), _FLV, end)
        if start == _ASF_HEADER:
            return _joined(_items(file, 24, _object), _ASF_HEADER, end)
    return Structure(((0, end),), False)


def _of_boxes(file: BinaryIO, end: int) -> Structure:
    """Boxes up to the file's end; a second `ftyp` after a `moov` begins another file."""
    starts = [0]
    has_index = is_cut = has_fragments = False
    for kind, begin, box_end in _boxes(file, end):
        is_cut |= box_end > end
        has_fragments |= kind == b"moof"
        if kind == b"ftyp" and has_index:
            starts.append(begin)
            has_index = False
        has_index |= kind == b"moov"
    if not has_index and len(starts) > 1:
        starts.pop()  # Without an index of its own it is no file.
    parts = tuple(zip(starts, [*starts[1:], end], strict=True))
    return Structure(parts, is_cut, has_fragments)


# Of the first bytes of an item and where it begins, how long it is and how far behind its end the next one begins;
# None where no item of this kind is whole enough to say so.
_Measure = Callable[[bytes, int], tuple[int, int] | None]


def _items(file: BinaryIO, width: int, measure: _Measure) -> Iterator[tuple[bytes, int, int]]:
    """Items that follow each other from the file's start: up to `width` bytes of each, its begin and its end."""
    place, file_end = 0, file.seek(0, os.SEEK_END)
    for _ in range(_MOST_ITEMS):
        if place >= file_end:
            return  # A damaged length may lie beyond any place that can be sought.
        file.seek(place)
        head = file.read(width)
        measured = measure(head, place)
        if measured is None:
            return
        length, gap = measured
        yield head, place, place + length
        place += length + gap


def _boxes(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The outermost boxes of MP4: kind, begin, end."""

    def measure(head: bytes, place: int) -> tuple[int, int] | None:
        if len(head) < 8:
            return None
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:
            size = end - place
        if size < 8 or not all(32 <= letter < 127 for letter in kind):
            return None  # Something else stands behind the last box.
        return size, 0

    for head, begin, box_end in _items(file, 16, measure):
        yield head[4:8], begin, box_end


def _chunk(head: bytes, place: int) -> tuple[int, int] | None:
    """A RIFF chunk; an AVI beyond 1 GiB has several."""
    if len(head) < 8 or head[:4] != b"RIFF":
        return None
    size = int.from_bytes(head[4:8], "little")
    if size in (0, 0xFFFFFFFF):
        return None  # A recording that was never closed, or is written to a pipe.
    return 8 + size, size % 2


def _element(head: bytes, place: int) -> tuple[int, int] | None:
    """One of EBML's outermost elements; none of unknown size, as recorders write."""
    if head[:4] not in (_EBML, _SEGMENT) or len(head) < 12 or head[4] == 0:
        return None
    length = 9 - head[4].bit_length()
    size = int.from_bytes(head[4 : 4 + length], "big") & ((1 << 7 * length) - 1)
    if size == (1 << 7 * length) - 1:
        return None
    return 4 + length + size, 0


def _joined(items: Iterator[tuple[bytes, int, int]], first: bytes, end: int) -> Structure:
    """Of `_items`, those that start as `first` begin a file."""
    starts, last = [0], 0
    for head, begin, item_end in items:
        last = item_end
        if head.startswith(first) and begin:
            starts.append(begin)
    return Structure(tuple(zip(starts, [*starts[1:], end], strict=True)), last > end)


def _tag(head: bytes, place: int) -> tuple[int, int] | None:
    """The header or a tag of FLV, which the tag's length follows (Adobe's specification 10.1, annex E)."""
    if head[:4] == _FLV and len(head) >= 9:
        return 9, int.from_bytes(head[5:9], "big") + 4 - 9
    if len(head) == 11 and head[0] & 0x1F in (8, 9, 18):
        return 11 + int.from_bytes(head[1:4], "big"), 4
    return None


def _object(head: bytes, place: int) -> tuple[int, int] | None:
    """An outermost object of ASF; one of unknown size is none."""
    size = int.from_bytes(head[16:24], "little")
    if len(head) < 24 or not 24 <= size < 1 << 62:
        return None
    return size, 0


def _page(head: bytes, place: int) -> tuple[int, int] | None:
    """A page of Ogg: 27 bytes, lengths of segments, segments."""
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    return 27 + head[26] + sum(head[27 : 27 + head[26]]), 0


def _packet(head: bytes, place: int) -> tuple[int, int] | None:
    """A packet of MXF: a key of 16 bytes, a length as in BER, a value."""
    if len(head) < 17 or head[:4] != _MXF:
        return None
    wide = head[16] & 0x7F if head[16] & 0x80 else 0
    if wide > 8:
        return None
    size = int.from_bytes(head[17 : 17 + wide], "big") if wide else head[16]
    return 17 + wide + size, 0


# From a file's first bytes to its items: how much of each must be read, and what measures it.
_CHAINS: dict[bytes, tuple[int, _Measure]] = {
    b"RIFF": (8, _chunk),
    _EBML: (12, _element),
    b"OggS": (27 + 255, _page),
    _MXF: (25, _packet),
}
