"""Image and video files of every kind, made by other libraries, and files that are none."""

import numpy as np
import pytest
from PIL import Image

from stfer.data.frames import FrameReader, UnreadableFrameError, count_frames, read_image
from stfer.data.sequence import FrameSource, Sequence

RED = np.zeros((20, 30, 3), np.uint8)
RED[:, :15, 0] = 200


def save(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options) if mode else Image.fromarray(array).save(
        path, **options
    )
    return str(path)


def test_colours_are_rgb(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", RED)), RED)
    jpeg = read_image(save(tmp_path / "a.jpg", RED, quality=95)).astype(int)
    assert np.abs(jpeg - RED)[:, (0, 1, 28, 29)].max() < 12


def test_grey_stays_grey(tmp_path):
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", RED[..., 0])), RED[..., 0])


def test_sixteen_bits_are_scaled(tmp_path):
    deep = np.array([[0, 257, 25700, 65535]], np.uint16)
    path = tmp_path / "a.png"
    Image.fromarray(deep).save(path)
    np.testing.assert_array_equal(read_image(str(path)), [[0, 1, 100, 255]])


def test_alpha_is_left_out_and_palettes_are_resolved(tmp_path):
    alpha = np.concatenate([RED, np.full((20, 30, 1), 128, np.uint8)], axis=2)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", alpha)), RED)
    Image.fromarray(RED).quantize(4).save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(str(tmp_path / "p.png")), RED)


def test_cmyk_becomes_rgb(tmp_path):
    Image.fromarray(RED).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    found = read_image(str(tmp_path / "a.jpg")).astype(int)
    assert found.shape == RED.shape
    assert np.abs(found - RED)[:, (0, 1, 28, 29)].max() < 16


def test_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Turn clockwise to see it upright.
    image = Image.fromarray(RED)
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert read_image(str(tmp_path / "a.jpg")).shape == (30, 20, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_files_cut_anywhere_are_unreadable(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    path = tmp_path / f"a.{suffix}"
    save(path, noise)
    data = path.read_bytes()
    for length in (0, 1, 10, len(data) // 2, len(data) - 20, len(data) - 3):
        path.write_bytes(data[:length])
        with pytest.raises(UnreadableFrameError, match=rf"unreadable file: a\.{suffix} is "):
            read_image(str(path))
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(UnreadableFrameError):
        read_image(str(path))


def test_a_cut_jpeg_with_a_whole_thumbnail(tmp_path):
    """The thumbnail's end marker must not pass for the image's."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    save(tmp_path / "thumb.jpg", noise[:8, :8])
    exif = b"Exif\0\0" + (tmp_path / "thumb.jpg").read_bytes()
    path = tmp_path / "a.jpg"
    Image.fromarray(noise).save(path, exif=exif)
    assert read_image(str(path)).shape == noise.shape
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableFrameError, match="cut short"):
        read_image(str(path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello, I am text\n", "is no image that OpenCV reads"),
        (b"\x89PNG\r\n\x1a\nIEND\xaeB`\x82", "is cut short"),
        (b"\0" * 500, "is no image that OpenCV reads"),
    ],
)
def test_files_that_are_no_image(tmp_path, content, sentence):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableFrameError, match=sentence):
        read_image(str(path))


def test_missing_locked_and_odd_files(public_folder, as_nobody):
    with pytest.raises(UnreadableFrameError, match=r"a\.png, No such file"):
        read_image(str(public_folder / "a.png"))
    with pytest.raises(UnreadableFrameError, match="Is a directory"):
        read_image(str(public_folder))
    (public_folder / "loop.png").symlink_to("loop.png")
    with pytest.raises(UnreadableFrameError, match="Too many levels of symbolic links"):
        read_image(str(public_folder / "loop.png"))
    locked = public_folder / "locked.png"
    save(locked, RED)
    locked.chmod(0)
    with as_nobody(), pytest.raises(UnreadableFrameError, match=r"locked\.png, Permission denied"):
        read_image(str(locked))


@pytest.fixture
def video(tmp_path):
    import cv2

    path = str(tmp_path / "v.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, (32, 24))
    for number in range(10):
        frame = np.zeros((24, 32, 3), np.uint8)
        frame[..., 2] = 20 * number  # OpenCV's red
        writer.write(frame)
    writer.release()
    return path


def reader(path, numbers, **fields):
    sources = tuple(FrameSource(path, number) for number in numbers)
    return FrameReader(Sequence("s", "p", "anger", sources, **fields))


def test_video_frames_by_number_also_backwards(video):
    assert count_frames(video) == 10
    with reader(video, range(10)) as frames:
        for index in (0, 1, 5, 9, 2, 3):
            frame = frames.read(index).astype(int)
            assert frame.shape == (24, 32, 3)
            assert np.abs(frame[..., 0] - 20 * index).max() < 8
            assert frame[..., 1:].max() < 8


def test_a_video_ends(video):
    with reader(video, [9, 10]) as frames:
        frames.read(0)
        with pytest.raises(EOFError, match="ends before frame 10"):
            frames.read(1)


def test_files_that_are_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    for content, words in ((b"", "is empty"), (b"text", "is no video that FFmpeg reads")):
        path.write_bytes(content)
        with pytest.raises(UnreadableFrameError, match=rf"a\.mp4 {words}"):
            count_frames(str(path))
