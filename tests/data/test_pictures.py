"""Pictures of every kind, written by Pillow or by hand: whole files with something behind them, depths, turns."""

import importlib.util
import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from stfer.data import pictures
from stfer.data.pictures import PictureReader, read_image, white_level
from stfer.data.sequence import UnreadableFrameError

RANDOM = np.random.default_rng(0)
NOISE = RANDOM.integers(0, 256, (24, 32, 3), np.uint8)
GREYS = RANDOM.integers(0, 256, (3, 4, 1), np.uint8)
BLOCKS = np.repeat(np.kron(GREYS, np.ones((8, 8, 1), np.uint8)), 3, axis=2)
VIDEO = b"\x00\x00\x00\x18ftypmp42" + RANDOM.bytes(9000) + b"\xff\xd9\xff\xda"


def encoded(array, kind, **options):
    data = io.BytesIO()
    Image.fromarray(array).save(data, kind, **options)
    return data.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("jpeg", {}), ("jpeg", {"progressive": True}), ("png", {}), ("jpeg", {"restart_marker_rows": 1})],
)  # fmt: skip
def test_something_behind_the_end_is_no_damage(tmp_path, kind, options):
    """A phone's motion photo: a whole picture, then a video."""
    path = tmp_path / "a"
    data = encoded(NOISE, kind, **options)
    path.write_bytes(data)
    whole = read_image(str(path))
    for behind in (VIDEO, b"\0" * 5000, data):
        path.write_bytes(data + behind)
        np.testing.assert_array_equal(read_image(str(path)), whole)
    # A cut picture stays cut, whatever follows.
    for length in (len(data) // 2, len(data) - 4):
        for behind in (b"", VIDEO, b"\0" * 5000):
            path.write_bytes(data[:length] + behind)
            with pytest.raises(UnreadableFrameError, match=r"is (cut short|damaged)"):
                read_image(str(path))


def test_a_changed_byte_of_a_png_is_found(tmp_path):
    data = bytearray(encoded(NOISE, "png"))
    data[data.index(b"IDAT") + 100] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UnreadableFrameError, match=r"a\.png is damaged: a checksum differs"):
        read_image(str(tmp_path / "a.png"))


def deep_png(path, values):
    Image.fromarray(np.asarray(values, np.uint16)).save(path)
    return str(path)


@pytest.mark.parametrize(("bits", "white"), [(8, 255), (10, 1023), (12, 4095), (14, 16383), (16, 65535)])  # fmt: skip
def test_sixteen_bit_files_of_fewer_bits(tmp_path, bits, white):
    """The brightest frame of the sequence decides, so that all frames have one scale."""
    paths = [
        deep_png(tmp_path / f"{n}.png", [[0, white // 2, level]])
        for n, level in enumerate((white // 3, white, white // 5))
    ]
    assert white_level(paths) == white
    reader = PictureReader(paths)
    found = [reader.read(path) for path in paths]
    assert [int(f[0, 2]) for f in found] == [
        round(255 * level / white) for level in (white // 3, white, white // 5)
    ]
    assert {int(f[0, 1]) for f in found} <= {127, 128}
    said = [] if bits == 16 else [f"16-bit pictures: {white} is taken for white"]
    assert reader.notes == said


@pytest.mark.parametrize(
    ("header", "dtype"), [("P5\n# by a camera\n3 1\n{}\n", ">u2"), ("P5 3 1 {}\n", "u1")]
)
def test_netpbm_says_its_own_white(tmp_path, header, dtype):
    white = 4095 if dtype == ">u2" else 63
    path = tmp_path / "a.pgm"
    path.write_bytes(header.format(white).encode() + np.array([0, white // 3, white], dtype).tobytes())  # fmt: skip
    assert read_image(str(path)).tolist() == [[0, 85, 255]]


def test_floats_are_of_white_one_or_as_bright_as_the_sequence(tmp_path):
    for name, values, wanted in (
        ("a.tiff", [[0, 0.5, 1.0]], [[0, 128, 255]]),
        ("b.tiff", [[0, 127.5, 255.0]], [[0, 128, 255]]),
        ("c.tiff", [[0, np.nan, 1.5]], [[0, 0, 255]]),
    ):
        cv2.imwrite(str(tmp_path / name), np.asarray(values, np.float32))
        assert read_image(str(tmp_path / name)).tolist() == wanted


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "avif"])
def test_orientation_of_every_kind(tmp_path, kind, orientation):
    """Against Pillow's own turning of the same picture."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {274: orientation}} if kind == "tiff" else {"exif": exif}
    if kind in ("jpeg", "webp", "avif"):
        options["quality"] = 95
    path = tmp_path / f"a.{kind}"
    path.write_bytes(encoded(BLOCKS, kind, **options))
    plain = Image.fromarray(BLOCKS)
    plain.getexif()[0x0112] = orientation
    wanted = np.array(ImageOps.exif_transpose(plain))
    found = read_image(str(path))
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize(
    ("suffix", "kind", "plugin"), [("heic", "heif", "pillow_heif"), ("jxl", "jxl", "pillow_jxl")]
)
def test_kinds_that_need_a_plugin(tmp_path, monkeypatch, suffix, kind, plugin):
    name = f"a.{suffix}"
    # Enough of each kind to be known by; a phone's files keep their content under any name.
    start = (
        b"\x00\x00\x00\x1cftypheic\0\0\0\0mif1heic" if kind == "heif" else b"\xff\x0a" + b"\0" * 20
    )
    (tmp_path / "renamed.jpg").write_bytes(start)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == plugin else real(n))
    assert pictures.is_unread(name)
    assert not pictures.is_picture(name)
    said = r"pictures that are not read: renamed\.jpg is .*stfer\[pictures\]"
    with pytest.raises(UnreadableFrameError, match=said):
        read_image(str(tmp_path / "renamed.jpg"))
    monkeypatch.undo()
    pytest.importorskip(plugin)
    if plugin == "pillow_heif":
        import pillow_heif

        pillow_heif.register_heif_opener()
    else:
        import pillow_jxl  # noqa: F401
    assert pictures.is_picture(name.upper())
    (tmp_path / name).write_bytes(encoded(BLOCKS, kind, quality=95))
    assert np.abs(read_image(str(tmp_path / name)).astype(int) - BLOCKS).mean() < 5
    (tmp_path / name).write_bytes(encoded(BLOCKS, kind)[:90])
    said = rf"unreadable file: a\.{suffix} is a damaged or cut [A-Z]+( XL)? picture$"
    with pytest.raises(UnreadableFrameError, match=said):
        read_image(str(tmp_path / name))


def test_a_deep_picture_of_a_plugin_is_scaled_and_not_cut_off(tmp_path):
    pytest.importorskip("pillow_jxl")
    levels = np.array([[0, 1365, 4095]] * 8, np.uint16)
    (tmp_path / "a.jxl").write_bytes(encoded(levels, "jxl", lossless=True))
    assert read_image(str(tmp_path / "a.jxl")).tolist() == [[0, 85, 255]] * 8


def test_names_of_pictures():
    for name in ("a.jfif", "a.jpe", "a.JPG", "a.Png", "x.y.TIFF", "a.jp2", "a.avif"):
        assert pictures.is_picture(name), name
    for name in ("a.mp4", "a.txt", "jpg", ".DS_Store", "a.cr2"):
        assert not pictures.is_picture(name), name
    assert pictures.is_unread("IMG_1.CR2")
    assert not pictures.is_unread("a.txt")
