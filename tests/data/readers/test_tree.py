"""Folders of pictures as they are found: parts that are not read, names that are times, texts as people save them."""

import numpy as np
import pytest

from stfer.data import pictures
from stfer.data.readers import tree


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def test_a_folder_of_which_a_part_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "suffixes", lambda: pictures.SUFFIXES)
    half = touch(tmp_path / "half", "IMG_1.jpg", "IMG_2.JPG", "IMG_3.HEIC", "notes.txt")
    found, unread = tree.images(half)
    assert [path[-9:] for path in found] == ["IMG_1.jpg", "IMG_2.JPG"]
    assert unread == (
        "pictures that are not read: 1 of 3 are of a kind such as IMG_3.HEIC, which need "
        'pip install "stfer[pictures]"'
    )
    raw = touch(tmp_path / "raw", "1.cr2", "2.cr2")
    assert tree.images(raw)[1].endswith("such as 1.cr2, convert them to .png or .jpg")


def test_raw_files_beside_their_pictures_are_no_loss(tmp_path):
    both = touch(tmp_path / "both", "1.cr2", "1.jpg", "2.CR2", "2.jpg")
    assert tree.images(both)[1] == ""


@pytest.mark.parametrize(("unit", "digits"), [(1e3, 13), (1e6, 16), (1e9, 19)])
def test_names_that_are_times(unit, digits):
    times = [0, 0.033, 0.067, 0.1, 0.134]
    names = [f"cam-{int((1_700_000_000 + t) * unit):0{digits}d}.jpg" for t in times]
    np.testing.assert_allclose(tree.stamps(names), times, atol=2e-4)
    assert tree.missing_numbers(names) == ""
    late = [*names, f"cam-{int(1_700_000_001 * unit)}.jpg"]
    assert tree.missing_numbers(late).startswith("no frame for 0.86")


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg"],
        ["S005_001_00000001.png", "S005_001_00000002.png"],
        ["1700000000000.jpg", "170000000.jpg"],
        ["1700000000000.jpg"],
        ["1700000000001.jpg", "1700000000000.jpg"],
        ["0000000000001.jpg", "0000000000002.jpg"],
        ["a.jpg", "b.jpg"],
    ],
)
def test_names_that_are_none(names):
    assert tree.stamps(names) == []


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_texts_with_a_byte_order_mark(encoding):
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    assert tree.decode_text(mark + "ä.jpg\n笑.jpg".encode(encoding)) == "ä.jpg\n笑.jpg"
