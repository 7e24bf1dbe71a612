"""What a video file's outermost structure tells, without decoding: joined parts, and bytes that are lacking.

Reads the box headers of ISO base media (MP4, MOV; ISO/IEC 14496-12), the chunks of RIFF (AVI), the segments
of EBML (Matroska, WebM; RFC 8794), the tags of FLV, the objects of ASF (WMV), the pages of Ogg (RFC 3533) and
the packets of MXF (SMPTE 377). Of other containers it says nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_BOXES = frozenset(
    {b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"moof", b"styp", b"sidx"}
)
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
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
        if start[:4] == b"RIFF":
            return Structure(((0, end),), _last_end(_chunks(file, end)) > end)
        if start[:4] == _EBML:
            return Structure(((0, end),), _last_end(_segments(file, end)) > end)
        if start[:4] == b"FLV\x01":
            return _joined(_tags(file), end)
        if start == _ASF_HEADER:
            return _joined(_objects(file), end)
        if start[:4] == b"OggS":
            return Structure(((0, end),), _last_end(_pages(file)) > end)
        if start[:4] == _MXF:
            return Structure(((0, end),), _last_end(_packets(file)) > end)
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


def _boxes(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int, int]]:
    place = 0
    for _ in range(_MOST_ITEMS):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:16], "big")
        elif size == 0:
            size = end - place
        if size < 8 or not all(32 <= letter < 127 for letter in kind):
            return  # Something else stands behind the last box.
        yield kind, place, place + size
        place += size


def _chunks(file: BinaryIO, end: int) -> Iterator[int]:
    """The ends of a chain of RIFF chunks; an AVI beyond 1 GiB has several."""
    place = 0
    for _ in range(_MOST_ITEMS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            return
        size = int.from_bytes(head[4:8], "little")
        if size in (0, 0xFFFFFFFF):
            return  # A recording that was never closed, or is written to a pipe.
        place += 8 + size + size % 2
        yield place - size % 2


def _segments(file: BinaryIO, end: int) -> Iterator[int]:
    """The ends of EBML's outermost elements up to one of unknown size, as recorders write."""
    place = 0
    for _ in range(_MOST_ITEMS):
        file.seek(place)
        head = file.read(12)
        if head[:4] not in (_EBML, _SEGMENT) or len(head) < 12 or head[4] == 0:
            return
        length = 9 - head[4].bit_length()
        size = int.from_bytes(head[4 : 4 + length], "big") & ((1 << 7 * length) - 1)
        if size == (1 << 7 * length) - 1:
            return
        place += 4 + length + size
        yield place


def _joined(items: Iterator[tuple[bool, int, int]], end: int) -> Structure:
    """Of items in order: whether one begins a file, where it begins, and where it ends."""
    starts, last = [0], 0
    for is_first, begin, item_end in items:
        last = item_end
        if is_first and begin:
            starts.append(begin)
    return Structure(tuple(zip(starts, [*starts[1:], end], strict=True)), last > end)


def _tags(file: BinaryIO) -> Iterator[tuple[bool, int, int]]:
    """The header and tags of FLV files that follow each other (Adobe's specification 10.1, annex E)."""
    place = 0
    for _ in range(_MOST_ITEMS):
        file.seek(place)
        head = file.read(11)
        if head[:4] == b"FLV\x01" and len(head) >= 9:
            yield True, place, place + 9
            place += int.from_bytes(head[5:9], "big") + 4
        elif len(head) == 11 and head[0] & 0x1F in (8, 9, 18):
            following = place + 11 + int.from_bytes(head[1:4], "big")
            yield False, place, following
            place = following + 4  # A tag is followed by its length.
        else:
            return


def _objects(file: BinaryIO) -> Iterator[tuple[bool, int, int]]:
    """The outermost objects of ASF files that follow each other; one of unknown size ends them."""
    place = 0
    for _ in range(_MOST_ITEMS):
        file.seek(place)
        head = file.read(24)
        size = int.from_bytes(head[16:24], "little")
        if len(head) < 24 or not 24 <= size < 1 << 62:
            return
        yield head[:16] == _ASF_HEADER, place, place + size
        place += size


def _pages(file: BinaryIO) -> Iterator[int]:
    """The ends of the pages of Ogg."""
    place = 0
    for _ in range(_MOST_ITEMS):
        file.seek(place)
        head = file.read(27)
        if len(head) < 27 or head[:4] != b"OggS":
            return
        lengths = file.read(head[26])
        place += 27 + head[26] + sum(lengths)
        yield place


def _packets(file: BinaryIO) -> Iterator[int]:
    """The ends of the packets of MXF: a key of 16 bytes, a length as in BER, a value."""
    place = 0
    for _ in range(_MOST_ITEMS):
        file.seek(place)
        head = file.read(25)
        if len(head) < 17 or head[:4] != _MXF:
            return
        wide = head[16] & 0x7F if head[16] & 0x80 else 0
        if wide > 8:
            return
        size = int.from_bytes(head[17 : 17 + wide], "big") if wide else head[16]
        place += 17 + wide + size
        yield place


def _last_end(ends: Iterator[int]) -> int:
    return max(ends, default=0)
