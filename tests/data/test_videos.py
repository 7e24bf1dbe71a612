"""Videos as cameras, browsers and editors write them, made here: times, counts, cuts, turns, pixel shapes."""

from fractions import Fraction

import av
import numpy as np
import pytest

from stfer.data.containers import structure
from stfer.data.frames import FrameReader, VideoReader
from stfer.data.sequence import FrameSource, Sequence, UnreadableFrameError
from stfer.data.video import Video
from stfer.data.video_frames import fitted
from stfer.data.video_index import index_video
from videos import SIZE, flat, levels, write_video


def frames(count):
    return [flat(level) for level in levels(count)]


def decoded(path, **options):
    """Every frame's mean grey and seconds, and the video after it was read."""
    with Video(str(path), **options) as video:
        found = [(float(f.pixels.mean()), f.seconds) for f in video]
    return found, video


def matches(found, wanted):
    assert len(found) == len(wanted)
    np.testing.assert_allclose([mean for mean, _ in found], wanted, atol=6)


SLOWING = [number / 25 if number < 10 else 0.4 + (number - 10) / 5 for number in range(20)]


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx"), ("a.mkv", "libx264")]
)
def test_seconds_are_the_frames_own(tmp_path, name, codec):
    """Half of it at 25 a second, half at 5; number / average rate would say 1.1 s for frame 10."""
    found, video = decoded(write_video(tmp_path / name, frames(20), codec=codec, times=SLOWING))
    matches(found, levels(20))
    np.testing.assert_allclose([seconds for _, seconds in found], SLOWING, atol=0.002)
    assert video.lost == ""
    np.testing.assert_allclose(index_video(str(tmp_path / name)).times, SLOWING, atol=0.002)


def test_a_stream_without_time_stamps_is_counted(tmp_path):
    found, video = decoded(write_video(tmp_path / "a.h264", frames(10)))
    matches(found, levels(10))
    np.testing.assert_allclose([s for _, s in found], np.arange(10) / 25)
    assert video.notes == ["no time stamps: frames are counted at 25 a second"]


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        ("ts", "libx264"), ("mp4", "libx264"), ("webm", "libvpx"), ("flv", "flv"), ("wmv", "wmv2"),
        ("ogv", "libvpx"), ("mkv", "libx264"), ("mpg", "mpeg2video"),
    ],
)  # fmt: skip
def test_joined_files_are_read_to_the_end_of_the_last(tmp_path, suffix, codec):
    part = write_video(tmp_path / f"a.{suffix}", frames(12), codec=codec)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(2 * part.read_bytes())
    found, video = decoded(joined)
    matches(found, 2 * levels(12))
    np.testing.assert_allclose([s for _, s in found], np.arange(24) / 25, atol=0.002)
    assert video.notes == ["the clock starts anew at frame 12, as in joined files"]
    assert index_video(str(joined)).frames == 24


def test_an_avi_that_was_joined_is_read_to_its_end(tmp_path):
    """FFmpeg itself goes on with the next part there, and with its clock."""
    part = write_video(tmp_path / "a.avi", frames(12), codec="mpeg4")
    (tmp_path / "joined.avi").write_bytes(2 * part.read_bytes())
    found, video = decoded(tmp_path / "joined.avi")
    matches(found, 2 * levels(12))
    np.testing.assert_allclose([s for _, s in found], np.arange(24) / 25, atol=0.002)
    assert video.lost == ""


def without_duration(path):
    """A live recording, as a browser writes: unknown sizes, no duration, no index."""
    write_video(path, frames(20), codec="libvpx", container={"live": "1"})
    with av.open(str(path)) as made:
        assert made.duration is None
        assert made.streams.video[0].frames == 0
    return path


def test_a_recording_that_does_not_say_how_long_it_is(tmp_path):
    found, video = decoded(without_duration(tmp_path / "live.webm"))
    matches(found, levels(20))
    assert (video.promised, video.lost) == (None, "")
    assert index_video(str(tmp_path / "live.webm")).frames == 20


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    return path


NOISY = {"qp": "10"}


def noise(count):
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(count)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.avi", "mpeg4", {}),
        ("a.mkv", "libx264", {}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.flv", "flv", {}),
        ("a.wmv", "wmv2", {}),
        ("a.ogv", "libvpx", {}),
        ("a.mxf", "mpeg2video", {}),
    ],
)
def test_a_file_that_is_cut_says_how_much_is_left(tmp_path, name, codec, container, threads):
    options = {"g": "5"} | (NOISY if codec == "libx264" else {})
    path = write_video(
        tmp_path / name, noise(30), codec=codec, container=container, options=options
    )
    whole, video = decoded(path)
    assert (len(whole), video.lost) == (30, "")
    found, video = decoded(cut(path, 0.6), threads=threads)
    assert 5 < len(found) < 28
    # What is left are the frames that were there; the last may be half of one.
    np.testing.assert_allclose(found[:-2], whole[: len(found) - 2], atol=0.01)
    said = f"{len(found)} of 30 frames"
    if "frag" in container.get("movflags", "") or name in ("a.wmv", "a.ogv"):
        said = f"{len(found)} frames, and the file is cut"  # Nothing in it counts all frames.
    assert video.lost == said
    assert index_video(str(path)).lost(len(found)) == said


def test_an_mp4_without_its_index_is_cut_short(tmp_path):
    path = cut(write_video(tmp_path / "a.mp4", noise(10), options=NOISY), 0.5)
    with pytest.raises(UnreadableFrameError, match=r"a\.mp4 is cut short"):
        Video(str(path))


def test_wrong_promises_of_a_whole_file(tmp_path):
    """An AVI whose header says 99 or 3 of its 12 frames: the count of its header chunks is overwritten."""
    path = write_video(tmp_path / "a.avi", frames(12), codec="mjpeg")
    data = path.read_bytes()
    for wrong in (3, 99):
        made, where = bytearray(data), data.index(b"avih") + 8 + 16
        made[where : where + 4] = wrong.to_bytes(4, "little")
        where = data.index(b"strh") + 8 + 32
        made[where : where + 4] = wrong.to_bytes(4, "little")
        path.write_bytes(made)
        found, video = decoded(path)
        matches(found, levels(12))
        assert video.lost == ""


def test_an_edit_list_that_hides_frames_is_no_cut(tmp_path):
    """The first frames are needed for decoding and not shown: the media time of the edit is moved."""
    path = write_video(tmp_path / "a.mp4", frames(20), options={"bf": "0"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 4 + 4 + 4
    duration, media = (int.from_bytes(data[entry + i : entry + i + 4], "big") for i in (0, 4))
    with av.open(str(path)) as made:
        ticks = round(8 / 25 / made.streams.video[0].time_base)
    data[entry : entry + 4] = round(duration * 12 / 20).to_bytes(4, "big")
    data[entry + 4 : entry + 8] = (media + ticks).to_bytes(4, "big")
    path.write_bytes(data)
    found, video = decoded(path)
    matches(found, levels(20)[8:])
    assert video.lost == ""
    assert found[0][1] == 0


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_as_the_container_says(tmp_path, degrees):
    corner = flat(30)
    corner[:24, :32] = 220  # light in the upper left
    path = write_video(tmp_path / "a.mp4", [corner] * 3, rotation=degrees)
    with Video(str(path)) as video:
        pixels = next(iter(video)).pixels
    # The matrix turns the picture counter-clockwise when it is shown.
    wanted = np.rot90(corner, degrees // 90)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels.astype(int) - wanted).mean() < 6


def test_turned_by_hand(tmp_path):
    corner = flat(30)
    corner[:24, :32] = 220
    path = write_video(tmp_path / "a.mp4", [corner] * 3)
    with Video(str(path), rotate=90) as video:
        pixels = next(iter(video)).pixels
    assert np.abs(pixels.astype(int) - np.rot90(corner, -1)).mean() < 6
    with pytest.raises(ValueError, match="multiple of 90"):
        Video(str(path), rotate=45)


@pytest.mark.parametrize(
    ("aspect", "shape"), [(Fraction(64, 45), (48, 91, 3)), (Fraction(1, 2), (96, 64, 3))]
)
def test_pixels_that_are_not_square_become_so(tmp_path, aspect, shape):
    path = write_video(tmp_path / "a.mp4", frames(3), aspect=aspect)
    with Video(str(path)) as video:
        assert [f.pixels.shape for f in video] == [shape] * 3
    assert video.notes == [f"pixels are not square: 64x48 is shown as {shape[1]}x{shape[0]}"]


def test_nearly_square_pixels_are_left(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames(2), aspect=Fraction(359, 358))
    with Video(str(path)) as video:
        assert [f.pixels.shape for f in video] == [(48, 64, 3)] * 2
    assert video.notes == []


def test_a_size_that_changes_is_fitted_without_squeezing(tmp_path):
    first = write_video(tmp_path / "a.ts", [flat(100)] * 5)
    second = write_video(tmp_path / "b.ts", [flat(200, (64, 96))] * 5)
    joined = tmp_path / "ab.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with Video(str(joined)) as video:
        pixels = [frame.pixels for frame in video]
    assert {p.shape for p in pixels} == {(48, 64, 3)}
    # 64x96 into 64x48: half as large, in the middle.
    assert np.abs(pixels[-1][:, 18:46].astype(int) - 200).max() < 8
    assert pixels[-1][:, :15].max() < 8
    assert any(
        note.startswith("the size changes to 64x96 at frame 5; fitted") for note in video.notes
    )


def test_fitting_keeps_shapes():
    canvas = fitted(np.full((10, 40, 3), 255, np.uint8), (20, 20))
    assert canvas[:, :, 0].sum(0).tolist() == [255 * 5] * 20
    assert canvas[:7].max() == 0


def test_odd_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "2026-11-24T12:30:00.mp4",
        "-i.mp4",
        "%03d.mp4",
        "b\udcff.mp4",
        "http:x.mp4",
        "笑.mp4",
    ):
        write_video(tmp_path / "plain.mp4", frames(3)).rename(tmp_path / name)
        found, _ = decoded(name)
        matches(found, levels(3))


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 800), np.int16), format="s16", layout="mono"
        )
        frame.rate = 8000
        out.mux(stream.encode(frame))
    with pytest.raises(UnreadableFrameError, match=r"a\.wav has no video in it"):
        Video(str(tmp_path / "a.wav"))


class Counting(VideoReader):
    """Counts the frames that are decoded."""

    decodes = 0

    def _open(self, path):
        video = super()._open(path)
        decode = video._decode

        def counted():
            for frame in decode():
                Counting.decodes += 1
                yield frame

        video._decode = counted
        return video


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"g": "25", "bf": "2"}),
        ("a.mkv", "libx264", {"g": "25", "bf": "2"}),
        pytest.param(
            "a.webm",
            "libvpx",
            {"g": "25", "auto-alt-ref": "1", "lag-in-frames": "16"},
            marks=pytest.mark.slow,
        ),
        ("a.avi", "mpeg4", {"g": "25", "bf": "2", "b": "2000000"}),
        pytest.param("a.ts", "libx264", {"g": "25", "bf": "2"}, marks=pytest.mark.slow),
        pytest.param("a.h264", "libx264", {"g": "25"}, marks=pytest.mark.slow),
    ],
)
def test_frames_by_number_far_and_near(tmp_path, name, codec, options):
    """Whatever the container, number n is the n-th frame that decodes, also after a leap."""
    path = str(write_video(tmp_path / name, frames(400), codec=codec, options=options))
    wanted = levels(400)
    reader = VideoReader()
    for number in (0, 1, 399, 200, 201, 390, 3, 250, 120, 119):
        pixels, seconds = reader.read(path, number)
        # Greys are 20 apart: it is nearer to its own than to any other.
        assert abs(float(pixels.mean()) - wanted[number]) < 10, number
        assert seconds == pytest.approx(number / 25, abs=0.002)
    with pytest.raises(EOFError, match="ends before frame 400"):
        reader.read(path, 400)
    reader.close()


def test_the_end_costs_no_more_than_the_start(tmp_path):
    path = str(write_video(tmp_path / "a.mp4", frames(600), options={"g": "25"}))
    costs = []
    for start in (0, 580):
        Counting.decodes = 0
        reader = Counting()
        for number in range(start, start + 20):
            reader.read(path, number)
        reader.close()
        costs.append(Counting.decodes)
    # From the last frame that decoding can start from, at most 25 back, and a decoder's own delay.
    assert costs[1] <= costs[0] + 25 + 8


def test_a_reader_of_a_sequence(tmp_path):
    path = str(write_video(tmp_path / "a.mp4", frames(30)))
    sequence = Sequence("s", "p", "anger", tuple(FrameSource(path, n) for n in (5, 6, 2, 29)))
    with FrameReader(sequence) as reader:
        for index, number in enumerate((5, 6, 2, 29)):
            pixels, seconds = reader.read_timed(index)
            assert pixels.shape == (SIZE[1], SIZE[0], 3)
            assert abs(float(pixels.mean()) - levels(30)[number]) < 6
            assert seconds == pytest.approx(number / 25)


def filtered(path, size):
    """Every frame by FFmpeg's filter graph asked with the stated flags, a path of its own to the pixels."""
    with av.open(path) as plain:
        stream = plain.streams.video[0]
        graph = av.filter.Graph()
        last = graph.add_buffer(template=stream, time_base=stream.time_base)
        scale = f"w={size[0]}:h={size[1]}:flags=bicubic"
        for name, settings in (("scale", scale), ("format", "rgb24"), ("buffersink", None)):
            following = graph.add(name, settings)
            last.link_to(following)
            last = following
        graph.configure()
        for frame in plain.decode(stream):
            graph.push(frame)
            yield graph.pull().to_ndarray()


@pytest.mark.parametrize("aspect", [None, Fraction(64, 45), Fraction(1, 2)])
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mjpeg")])
def test_pixels_are_ffmpegs(tmp_path, name, codec, aspect):
    """Equal to the last bit, at the stored size and at that of square pixels."""
    path = str(write_video(tmp_path / name, noise(5), codec=codec, aspect=aspect))
    with Video(path) as video:
        ours = [frame.pixels for frame in video]
    size = ours[0].shape[1::-1]
    assert (size == SIZE) == (aspect is None)
    for pixels, wanted in zip(ours, filtered(path, size), strict=True):
        np.testing.assert_array_equal(pixels, wanted)


def test_same_sized_pixels_are_also_the_plain_converters(tmp_path):
    path = str(write_video(tmp_path / "a.mp4", noise(5), options=NOISY))
    with av.open(path) as plain, Video(path) as video:
        for ours, frame in zip(video, plain.decode(video=0), strict=True):
            np.testing.assert_array_equal(ours.pixels, frame.to_ndarray(format="rgb24"))


def test_a_length_beyond_any_place_in_a_file_is_a_cut(tmp_path):
    largest = (1 << 56) - 2  # All ones say that the length is unknown.
    element = bytes.fromhex("18538067") + b"\x01" + largest.to_bytes(7, "big")
    path = tmp_path / "damaged.mkv"
    path.write_bytes(bytes.fromhex("1a45dfa3") + b"\x80" + element + bytes(100))
    assert structure(str(path)).is_cut
