"""Inputs: videos and images written here, and what is wrong with others."""

import functools
import http.server
import threading
import time

import cv2
import numpy as np
import pytest

from stfer.inference.sources import open_source
from videos import flat, levels, write_video


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


def test_seconds_are_a_videos_own(tmp_path):
    times = [0, 0.04, 0.08, 1.0, 2.5]
    path = write_video(tmp_path / "a.mp4", [flat(level) for level in levels(5)], times=times)
    source = open_source(str(path))
    assert [f.seconds for f in source] == pytest.approx(times, abs=0.002)
    assert source.is_timed
    counted = open_source(str(path), rate=10)
    assert [f.seconds for f in counted] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_a_camera_goes_by_the_clock(monkeypatch):
    class Camera:
        """Its third frame comes late."""

        def __init__(self, device):
            self.taken = 0

        def isOpened(self):
            return True

        def read(self):
            self.taken += 1
            now[0] += 1.0 if self.taken == 3 else 0.1
            return self.taken < 5, np.zeros((4, 4, 3), np.uint8)

        def release(self):
            pass

    now = [50.0]
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert [f.seconds for f in open_source("camera:0")] == pytest.approx([0, 0.1, 1.1, 1.2])


def test_images_named_by_their_time(tmp_path):
    for stamp in (1_700_000_000_000, 1_700_000_000_034, 1_700_000_000_100):
        image(tmp_path / f"{stamp}.jpg", 10)
    source = open_source(str(tmp_path))
    assert [f.seconds for f in source] == pytest.approx([0, 0.034, 0.1])
    assert source.is_timed
    assert not open_source(f"{tmp_path}/1700000000000.jpg,{tmp_path}/1700000000034.jpg", 25).seconds


def test_counted_images_are_not_timed(folder):
    assert not open_source(str(folder)).is_timed
    assert open_source(str(folder), rate=30).is_timed


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_lists_as_editors_save_them(folder, encoding):
    text = "f1.png\r\n\r\n" + str(folder).replace("/", "\\") + "\\f10.png\r\n"
    (folder / "list.txt").write_bytes(text.encode(encoding))
    assert [f.pixels[0, 0, 0] for f in open_source(str(folder / "list.txt"))] == [10, 100]
    (folder / "list.txt").write_bytes(b"\xff\xfa\x00")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        open_source(str(folder / "list.txt"))


def test_home_names_with_colons_and_dashes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    made = write_video(tmp_path / "x.mp4", [flat(level) for level in levels(3)])
    for name in ("2026-11-24T12:30:00.mp4", "-x.mp4"):
        made.rename(tmp_path / name)
        made = tmp_path / name
        for where in (name, f"~/{name}"):
            source = open_source(where)
            assert len(list(source)) == 3
            assert source.name == name.removesuffix(".mp4")


def test_a_folder_of_which_a_part_is_not_read_is_refused(folder):
    (folder / "f12.cr2").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"1 of 5 are of a kind such as f12\.cr2"):
        open_source(str(folder))
    with pytest.raises(ValueError, match="is a picture that is not read"):
        open_source(str(folder / "f12.cr2"))


def test_turned_by_hand(folder):
    image(folder / "f1.png", 10)
    assert next(iter(open_source(str(folder), rotate=90))).pixels.shape == (30, 20, 3)


def test_a_stream_of_the_network(tmp_path):
    """Served from this machine; a decoder that cannot reach it says so."""
    write_video(tmp_path / "a.ts", [flat(level) for level in levels(12)])
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://user:secret@127.0.0.1:{server.server_port}/a.ts?key=1"
        source = open_source(address)
        assert (source.kind, source.length) == ("stream", None)
        assert source.name == f"127.0.0.1-{server.server_port}-a.ts"
        frames = list(source)
        assert [f.seconds for f in frames] == pytest.approx([n / 25 for n in range(12)], abs=0.002)
        server.shutdown()
    with pytest.raises(ValueError, match=r"the stream rtsp://127\.0\.0\.1:9/x cannot be opened"):
        list(open_source("rtsp://127.0.0.1:9/x"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def log_message(self, *args):
        pass


def test_what_a_video_lacks_is_noted(tmp_path):
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(30)]
    path = write_video(
        tmp_path / "a.mp4", noise, container={"movflags": "faststart"}, options={"qp": "10"}
    )
    path.write_bytes(path.read_bytes()[: round(0.6 * path.stat().st_size)])
    source = open_source(str(path))
    count = len(list(source))
    assert source.notes == [f"the video gives {count} of 30 frames: it is cut short or damaged"]
