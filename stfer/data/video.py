"""Videos, decoded by PyAV (FFmpeg's libraries): every frame with the seconds of its own time stamp.

Pixels are those that `ffmpeg -pix_fmt rgb24` writes: turned and mirrored as the container says. Where
pixels are not square, the shorter side is enlarged until they are. Frames are numbered as they are decoded,
and what decodes counts: what a container promises is only compared with it.
"""

import itertools
import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import av
import av.error
import cv2
import numpy as np

from stfer.data.containers import Structure, structure
from stfer.data.sequence import UnreadableFrameError, readable
from stfer.data.video_frames import Clock, Geometry

if TYPE_CHECKING:
    from stfer.data.video_index import Index

DEFAULT_RATE = 25.0
STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "tcp", "srt", "rtp")
MAX_PIXELS = 1 << 26  # of one frame; a few damaged bytes must not ask for all memory
_ATTACHED_PICTURE = 0x400
_TIMEOUT = (10.0, 10.0)  # seconds to open a network stream, and to wait for its next packet
_MOST_ERRORS = 10_000
_NOTHING = (av.error.EOFError, StopIteration)


class VideoFrame(NamedTuple):
    """One frame: its number from 0, seconds since the first frame, uint8 [height, width, 3] RGB."""

    number: int
    seconds: float
    pixels: np.ndarray


class Video:
    """A video file or network stream, decoded in order. Use as a context manager; iterate once.

    Attributes:
        rate: frames a second as the container says, 25 where it does not.
        promised: how many frames the container promises, or None.
        notes: what is peculiar about it, complete once it has been read.

    Args:
        path: a file's path, or an address such as `rtsp://...`.
        rotate: degrees clockwise to turn the frames by, a multiple of 90, in addition to the container's.
        threads: of the decoder; None takes as many as OpenCV uses.

    Raises:
        UnreadableFrameError: it is no video, or cannot be opened; the text says why.
    """

    def __init__(self, path: str, rotate: int = 0, threads: int | None = None):
        if rotate % 90:
            raise ValueError(f"rotate must be a multiple of 90 degrees, not {rotate}")
        self._path, self._threads = path, threads or max(1, cv2.getNumThreads())
        self._name = path if is_stream(path) else readable(os.path.basename(path))
        self.structure = _structure(path, self._name)
        self._parts = list(self.structure.parts)
        self._geometry = Geometry(rotate % 360)
        self.notes = self._geometry.notes
        self._hidden = self._errors = self.decoded = 0
        self._container, self._stream = self._open(0)
        self.rate = _rate(self._stream)
        self.promised = self._promise() if len(self._parts) == 1 else None
        self._clock = Clock(1 / self.rate, "mpegts" in self._container.format.name)
        self._frames = self._decode_parts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[VideoFrame]:
        for number, seconds, frame in self.undrawn():
            yield VideoFrame(number, seconds, self.draw(number, frame))

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
        self._container.close()

    def undrawn(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """Number, seconds and decoded frame, without its colours computed: `draw` makes pixels of it."""
        return self._frames

    def draw(self, number: int, frame: av.VideoFrame) -> np.ndarray:
        """The pixels of a decoded frame, uint8 [height, width, 3], RGB."""
        aspect = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        try:
            return self._geometry(frame, float(aspect or 1), number)
        except (av.error.FFmpegError, ValueError, MemoryError) as error:
            raise UnreadableFrameError(
                f"unreadable file: frame {number} of {self._name}: {error}"
            ) from None

    def seek(self, index: "Index", number: int) -> None:
        """Go on from the last frame at or before `number` that decoding can start from.

        Frames that are not where the index says then raise SeekError.
        """
        key = index.key_before(number)
        self._container.seek(int(index.stamps[key]), stream=self._stream, backward=True)
        self._frames = self._decode_from(index, number)

    def packets(self) -> Iterator[av.Packet]:
        """All packets up to the end or to damage, undecoded."""
        for part in range(len(self._parts)):
            self._go_to(part)
            try:
                yield from self._container.demux(self._stream)
            except (av.error.FFmpegError, OSError):
                continue

    @property
    def keeps_order(self) -> bool:
        """Whether packets have the time stamps of their own frames; AVI stamps them as they are stored."""
        return not (
            "avi" in self._container.format.name and self._stream.codec_context.has_b_frames
        )

    @property
    def time_base(self) -> float:
        """Seconds a unit of the packets' time stamps."""
        return float(self._stream.time_base)

    @property
    def lost(self) -> str:
        """What the file promised and did not give, as `29 of 50 frames`; empty where it is whole.

        To be asked once the video has been read from its start to its end.
        """
        if not (self.structure.is_cut or self._errors):
            return ""
        return shortfall(self.decoded, (self.promised or 0) - self._hidden, self.structure.is_cut)

    def _open(self, part: int) -> tuple[Any, Any]:
        start, end = self._parts[part]
        try:
            container = av.open(
                _address(self._path, start, end, len(self._parts)),
                timeout=_TIMEOUT if is_stream(self._path) else None,
                options={} if is_stream(self._path) else {"protocol_whitelist": "file,subfile"},
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise UnreadableFrameError(self._sentence(error)) from None
        videos = [s for s in container.streams.video if not _is_cover(s)]
        if not videos or videos[0].codec_context is None:
            container.close()
            what = "has no video in it" if not videos else "needs a decoder that is not here"
            raise UnreadableFrameError(f"unreadable file: {self._name} {what}")
        stream = videos[0]
        stream.thread_type = "AUTO" if self._threads > 1 else "NONE"
        stream.codec_context.thread_count = self._threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        return container, stream

    def _sentence(self, error: Exception) -> str:
        if is_stream(self._path):
            return f"the stream {self._path} cannot be opened: {_words(error)}"
        if self.structure.is_cut:
            return f"unreadable file: {self._name} is cut short: {_words(error)}"
        return f"unreadable file: {self._name} is no video that FFmpeg reads ({_words(error)})"

    def _promise(self) -> int | None:
        stream = self._stream
        if stream.frames:
            return int(stream.frames)
        # Ogg's duration is that of what is there.
        is_ogg = "ogg" in self._container.format.name
        if self.structure.has_fragments or (self.structure.is_cut and is_ogg):
            return None
        seconds = 0.0
        if stream.duration:
            seconds = float(stream.duration * stream.time_base)
        elif self._container.duration:
            seconds = self._container.duration / av.time_base
        return round(seconds * self.rate) or None if 0 < seconds < 1e7 else None

    def _decode_parts(self) -> Generator[tuple[int, float, av.VideoFrame], None, None]:
        for part in range(len(self._parts)):
            self._go_to(part)
            for frame in self._decode_part(part):
                number, self.decoded = self.decoded, self.decoded + 1
                seconds = self._clock(frame.time)
                self._note_clock(number, frame)
                yield number, seconds, frame

    def _decode_part(self, part: int) -> Iterator[av.VideoFrame]:
        done, hidden = 0, self._hidden
        try:
            for frame in self._decode():
                done += 1
                yield frame
            return
        except _DamagedError:
            self._container.close()
        # A decoder of several threads loses whole frames around a damaged one, each time others.
        self._threads, self._hidden = 1, hidden
        self._container, self._stream = self._open(part)
        yield from itertools.islice(self._decode(), done, None)

    def _go_to(self, part: int) -> None:
        if part:
            self._container.close()
            self._container, self._stream = self._open(part)

    def _decode_from(
        self, index: "Index", number: int
    ) -> Generator[tuple[int, float, av.VideoFrame], None, None]:
        """Frames from wherever seeking led, which must be a key frame at or before `number`."""
        following = -1
        for frame in self._decode_or_give_up():
            if following < 0:
                if not frame.key_frame or frame.pts is None:
                    continue  # What is shown before it cannot be decoded from here.
                following = int(np.searchsorted(index.stamps, frame.pts))
                if following > number:
                    raise SeekError
            is_known = following < index.frames and frame.pts == index.stamps[following]
            if not is_known or frame.is_corrupt:
                raise SeekError
            yield following, float(index.times[following]), frame
            following += 1
        if following <= number:
            raise SeekError

    def _decode_or_give_up(self) -> Iterator[av.VideoFrame]:
        try:
            yield from self._decode()
        except _DamagedError:
            raise SeekError from None

    def _decode(self) -> Iterator[av.VideoFrame]:
        """All that decodes of one part; damaged packets are counted and left out."""
        packets = self._container.demux(self._stream)
        while self._errors < _MOST_ERRORS:
            try:
                packet = next(packets)
            except _NOTHING:
                return
            except (av.error.FFmpegError, OSError):
                self._errors += 1
                packets = iter(
                    [None]
                )  # Nothing more can be read; the decoder may still hold frames.
                continue
            self._hidden += packet is not None and packet.is_discard
            try:
                yield from self._stream.decode(packet)
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError, ValueError):
                if self._threads > 1 and not is_stream(self._path):
                    raise _DamagedError from None
                self._errors += 1

    def _note_clock(self, number: int, frame: av.VideoFrame) -> None:
        if number == 0 and frame.time is None:
            self.notes.append(f"no time stamps: frames are counted at {self.rate:g} a second")
        restarts = self._clock.restarts
        if restarts == 1 and not any("clock" in note for note in self.notes):
            self.notes.append(f"the clock starts anew at frame {number}, as in joined files")


class _DamagedError(Exception):
    """A packet that does not decode."""


class SeekError(Exception):
    """A video whose frames are not where its packets say: it has to be read from its start."""


def shortfall(decoded: int, expected: int, is_cut: bool) -> str:
    """How many frames there are of how many that were promised (0: unknown); empty where all are there.

    Frames that an edit list hides, or a wrong promise in a file that is whole, are no shortfall.
    """
    if decoded < expected:
        return f"{decoded} of {expected} frames"
    return f"{decoded} frames, and the file is cut" if is_cut and expected <= 0 else ""


def is_stream(path: str) -> bool:
    """Whether a path is the address of a network stream, such as `rtsp://...`."""
    return path.partition("://")[0].lower() in STREAM_SCHEMES and "://" in path


def _structure(path: str, name: str) -> Structure:
    if is_stream(path):
        return Structure(((0, 0),), False)
    try:
        found = structure(path)
    except OSError as error:
        raise UnreadableFrameError(f"unreadable file: {name}, {error.strerror}") from None
    if found.parts[-1][1] == 0:
        raise UnreadableFrameError(f"unreadable file: {name} is empty")
    return found


def _address(path: str, start: int, end: int, parts: int) -> str:
    if is_stream(path):
        return path
    # With `file:` before it, a name such as 12:30.mp4 is not taken for an address.
    address = "file:" + os.path.abspath(path)
    return f"subfile,,start,{start},end,{end},,:{address}" if parts > 1 else address


def _is_cover(stream: Any) -> bool:
    return bool(int(stream.disposition) & _ATTACHED_PICTURE)


def _rate(stream: Any) -> float:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < float(rate) < 1000:
            return float(rate)
    return DEFAULT_RATE


def _words(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
