"""Inputs: videos and images written here, and what is wrong with others."""

import cv2
import numpy as np
import pytest

from stfer.inference.sources import open_source


def image(path, red):
    cv2.imwrite(str(path), np.full((20, 30, 3), (0, 0, red), np.uint8))


@pytest.fixture
def folder(tmp_path):
    """Images 1, 2 and 10, one of them grey, beside litter and a file that is no image."""
    made = tmp_path / "frames"
    made.mkdir()
    image(made / "f1.png", 10)
    cv2.imwrite(str(made / "f2.png"), np.full((20, 30), 20, np.uint8))
    image(made / "f10.png", 100)
    (made / "f11.png").write_bytes(b"")
    (made / ".DS_Store").write_bytes(b"x")
    (made / "notes.txt").write_text("f1.png\nf10.png\n")
    return made


def test_a_folder_in_numeric_order_with_its_unreadable_frame(folder):
    source = open_source(str(folder))
    assert (source.name, source.kind, source.rate, source.length) == ("frames", "images", 25.0, 4)
    frames = list(source)
    assert [f.pixels[0, 0].tolist() for f in frames[:3]] == [[10, 0, 0], [20, 20, 20], [100, 0, 0]]
    assert [f.seconds for f in frames] == [0, 0.04, 0.08, 0.12]
    assert frames[3].pixels is None
    assert "f11.png is empty" in frames[3].problem


def test_lists_and_stills(folder):
    listed = open_source(str(folder / "notes.txt"), rate=5)
    assert [f.pixels[0, 0, 0] for f in listed] == [10, 100]
    assert listed.rate == 5
    commas = open_source(f"{folder / 'f10.png'}, {folder / 'f1.png'}")
    assert [f.pixels[0, 0, 0] for f in commas] == [100, 10]
    assert open_source(str(folder / "f1.png")).length == 1


def test_a_video(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12, (32, 24))
    for level in (0, 80, 160):
        writer.write(np.full((24, 32, 3), (0, 0, level), np.uint8))
    writer.release()
    source = open_source(str(path))
    assert (source.kind, source.rate, source.length) == ("video", 12.0, 3)
    assert [round(int(f.pixels[5, 5, 0]) / 80) for f in source] == [0, 1, 2]
    assert [f.number for f in source] == [0, 1, 2], "it can be read again"


def test_a_camera(monkeypatch):
    class Camera:
        def __init__(self, device, *options):
            assert device == 3
            self.left = 2

        def isOpened(self):
            return True

        def read(self):
            self.left -= 1
            return self.left >= 0, np.full((4, 4, 3), (1, 2, 3), np.uint8)

        def release(self):
            self.left = -1

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    source = open_source("camera:3")
    assert (source.kind, source.length) == ("camera", None)
    assert [f.pixels[0, 0].tolist() for f in source] == [[3, 2, 1]] * 2


def test_mistakes_are_one_sentence(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="name a video, an image, a folder or camera:0"):
        open_source(str(tmp_path / "nothing.mp4"))
    with pytest.raises(ValueError, match="names no camera"):
        open_source("camera:front")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no image"):
        open_source(str(tmp_path / "empty"))
    (tmp_path / "list.txt").write_text("gone.png\n")
    with pytest.raises(FileNotFoundError, match=r"gone\.png is not there"):
        open_source(str(tmp_path / "list.txt"))
    (tmp_path / "bad.mp4").write_bytes(b"no video at all")
    with pytest.raises(ValueError, match=r"bad\.mp4 is no video that FFmpeg reads"):
        open_source(str(tmp_path / "bad.mp4"))
