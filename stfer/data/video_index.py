"""What a video's packets tell without decoding: how many frames, when, and where decoding can start."""

import functools
import os
from dataclasses import dataclass

import av
import numpy as np

from stfer.data.sequence import UnreadableFrameError, readable
from stfer.data.video import Video, shortfall


@dataclass(frozen=True)
class Index:
    """A video's frames, by their packets.

    Attributes:
        frames: how many packets there are that make a frame that is shown.
        rate: frames a second: of the usual distance between frames, else the container's.
        times: float64 [frames], seconds since the first frame, ascending; empty where they do not say.
        stamps: int64 [frames], the same in the stream's units; empty with them.
        keys: int64, the frames that decoding can start from, ascending; empty with them.
        expected: how many frames the container promises to show, 0 where it does not say.
        is_cut: the file ends before its own headers say.
    """

    frames: int
    rate: float
    times: np.ndarray
    stamps: np.ndarray
    keys: np.ndarray
    expected: int
    is_cut: bool

    def key_before(self, number: int) -> int:
        """The last frame at or before one that decoding can start from."""
        return int(self.keys[np.searchsorted(self.keys, number, "right") - 1])

    def lost(self, decoded: int) -> str:
        """As `Video.lost`, after `decoded` frames; empty for a file that is not cut."""
        return shortfall(decoded, self.expected, True) if self.is_cut else ""


def count_frames(path: str) -> int:
    """The number of frames in a video's packets; nothing is decoded.

    Raises:
        UnreadableFrameError: it is no video, or has no frame.
    """
    return index_video(path).frames


def index_video(path: str) -> Index:
    """Read a video file's packets, once for each content of the file; nothing is decoded.

    Raises:
        UnreadableFrameError: it is no video, or has no frame.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        name = readable(os.path.basename(path))
        raise UnreadableFrameError(f"unreadable file: {name}, {error.strerror}") from None
    return _index(os.path.abspath(path), status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _index(path: str, changed: int, size: int) -> Index:
    stamps: list[int | None] = []
    keys: list[bool] = []
    hidden = 0
    with Video(path, threads=1) as video:
        for packet in video.packets():
            hidden += packet.is_discard
            if packet.size and not packet.is_discard and _is_shown(packet):
                stamps.append(packet.pts)
                keys.append(packet.is_keyframe)
        if not stamps:
            name = readable(os.path.basename(path))
            raise UnreadableFrameError(f"unreadable file: {name} has no frame")
        base, rate = video.time_base, video.rate
        expected = max(0, (video.promised or 0) - hidden)
        is_ordered = len(video.structure.parts) == 1 and video.keeps_order
        is_cut = video.structure.is_cut
    known = np.array([stamp for stamp in stamps if stamp is not None], np.int64)
    order = np.argsort(known, kind="stable")
    steps = np.diff(known[order])
    # Joined files repeat time stamps; a recording that begins within a picture group shows less than it holds.
    is_exact = is_ordered and len(known) == len(stamps) and keys[0] and order[0] == 0
    if not is_exact or (steps <= 0).any():
        none = np.zeros(0, np.int64)
        return Index(len(stamps), rate, np.zeros(0), none, none, expected, is_cut)
    if len(steps):
        rate = float(1 / (np.median(steps) * base))
    times = (known[order] - known[order[0]]) * base
    starts = np.flatnonzero(np.array(keys)[order])
    return Index(len(stamps), rate, times, known[order], starts, expected, is_cut)


def _is_shown(packet: av.Packet) -> bool:
    """Whether a packet makes a frame that is shown; some of VP8's and VP9's only help to decode others.

    References:
        RFC 6386, section 9.1; VP9 Bitstream and Decoding Process Specification, section 6.2.
    """
    codec = packet.stream.codec_context.name
    if codec not in ("vp8", "libvpx", "vp9", "libvpx-vp9"):
        return True
    data = bytes(packet)
    if codec in ("vp8", "libvpx"):
        return bool(data[0] & 0x10)
    if data[-1] & 0xE0 == 0xC0 or data[0] & 0x30 == 0x30:
        return True  # Several frames in one packet, of which the last is shown; or another profile.
    return bool(data[0] & 0x08 or data[0] & 0x02)
