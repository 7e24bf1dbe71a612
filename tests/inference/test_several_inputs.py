"""Folders of videos, patterns and repeated inputs: what they stand for, and the page and tables of all."""

import csv
import errno

import cv2
import numpy as np
import pytest

import browser
from drawn_faces import draw_face
from stfer.inference import output, several, sources
from stfer.inference.inputs import common_name, find_inputs, names_of
from stfer.inference.pages.overview import overview_page, strip
from stfer.inference.sources import open_source
from stfer.inference.timeline import Curve, Timeline
from stfer.inference.windows import window
from videos import write_video

VOTES = {name: {"label": "a", "shares": {"a": 0.5, "b": 0.5}} for name in ("summed", "maximum")}


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_what_inputs_stand_for(tmp_path):
    videos = touch(tmp_path / "videos", "b10.MP4", "b2.mov", "notes.txt", ".c.mp4")
    pictures = touch(tmp_path / "pictures", "f2.png", "f10.png")
    mixed = touch(tmp_path / "mixed", "a.mp4", "a.png")
    of_folder = [str(videos / "b2.mov"), str(videos / "b10.MP4")]
    assert find_inputs([str(videos)]) == of_folder
    assert find_inputs([f"{videos}/b*", str(videos / "b2.mov")]) == of_folder
    assert find_inputs([str(pictures), "camera:0", "x.mp4"]) == [str(pictures), "camera:0", "x.mp4"]
    # Pictures are frames of one input, in the order of their numbers.
    assert find_inputs([f"{pictures}/*.png"]) == [f"{pictures}/f2.png,{pictures}/f10.png"]
    with pytest.raises(
        ValueError, match=r"mixed holds videos and pictures: name one kind, such as .*mixed/\*\.mp4"
    ):
        find_inputs([str(mixed)])
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.avi"):
        find_inputs([f"{videos}/*.avi"])


def test_a_list_of_names_with_brackets_is_no_pattern(tmp_path):
    touch(tmp_path, "a [1].png", "b [1].png")
    touch(tmp_path / "a,b", "one.mp4")
    listed = f"{tmp_path}/a [1].png,{tmp_path}/b [1].png"
    assert find_inputs([listed]) == [listed]
    assert open_source(listed).length == 2
    assert find_inputs([f"{tmp_path}/a,b/*.mp4"]) == [f"{tmp_path}/a,b/one.mp4"]


def test_names_are_there_once(tmp_path):
    folder = touch(tmp_path / "a.b")
    named = names_of(["x/clip.mp4", "y/clip.mp4", "clip-2.mov", "camera:0", str(folder)])
    assert list(named) == ["clip", "clip-2", "clip-2-2", "camera-0", "a.b"]
    assert common_name([str(folder)]) == common_name([f"{folder}/*.mp4"]) == "a.b"
    assert common_name(["a.mp4", "b.mp4"]) == "several"


def test_a_strip_shows_the_likeliest_class():
    curve = Curve(0, 2)
    for frame in range(10):
        if frame not in (6, 7):
            curve.add(frame, frame, np.array([frame < 4, frame >= 4], float))
    # Frames 0 to 3 are the first class, 4 and 5 the second; then none, then the second again.
    runs = strip(curve, 10.0)
    assert [number for _, _, number in runs] == [0, 1, 1]
    assert runs[0][:2] == (0, 40)
    assert runs[1][0] == 40
    assert runs[2][0] == 80


def test_a_stride_leaves_no_holes_in_a_strip():
    curve = Curve(0, 2)
    for frame in range(0, 60, 5):
        curve.add(frame, frame / 25, np.array([frame < 30, frame >= 30], float))
    end = 59 / 25
    (first, second) = strip(curve, end, 5)
    # The sixth clip's cells go on to the seventh's, and what follows the last clip is empty.
    assert first == (0, int(30 / 59 * 100), 0)
    assert second == (50, int(55 / 59 * 100) - 50 + 1, 1)
    timeline = Timeline(("a", "b"), stride=5)
    timeline.curves[1], timeline.end = curve, end
    outcome = output.Outcome([], [{"track": 1, "clips": 12, "votes": VOTES}], 60, 0, 1.0, (), timeline)  # fmt: skip
    row = several._row(several.Done("a", outcome))
    page = overview_page("title", "text", ("a", "b"), [row], [])
    assert page.count("<rect ") == 2


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """Two videos with a face, one without, and one that is none."""
    home = tmp_path_factory.mktemp("several")
    face = cv2.cvtColor(draw_face(120, 160), cv2.COLOR_GRAY2RGB)
    for name, frame, count in (("one", face, 8), ("two", face[:, ::-1], 5), ("none", face * 0, 4)):
        write_video(
            home / f"{name}.mp4", [np.ascontiguousarray(frame)] * count, options={"qp": "4"}
        )
    (home / "broken.mp4").write_bytes(b"nothing")
    model = tiny("single_frame")

    def prepared(name):
        return lambda: output.Prediction(
            model, open_source(str(home / f"{name}.mp4")), window(model.rule)
        )

    named = {name: prepared(name) for name in ("one", "two", "none", "broken")}
    dones = several.predict_all(named, home / "out", {"model": "tiny"}, model.classes)
    return dones, home / "out", model.classes


def test_one_table_of_all(done):
    dones, folder, classes = done
    assert [bool(each.problem) for each in dones] == [False, False, False, True]
    with open(folder / "overview.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["input"], row["clips"]) for row in rows] == [
        ("one", "8"), ("two", "5"), ("none", ""), ("broken", ""),
    ]  # fmt: skip
    assert sum(float(rows[0][name]) for name in classes) == pytest.approx(1, abs=1e-5)
    with open(folder / "frames.csv", newline="") as stream:
        frames = list(csv.DictReader(stream))
    assert [row["input"] for row in frames] == ["one"] * 8 + ["two"] * 5 + ["none"] * 4
    with open(folder / "two/frames.csv", newline="") as stream:
        own = list(csv.DictReader(stream))
    assert [{k: v for k, v in row.items() if k != "input"} for row in frames[8:13]] == own


@pytest.mark.slow
def test_the_overview_in_a_browser(done):
    _, folder, _ = done
    with browser.opened((folder / "index.html").as_uri(), 390) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        rows = page.locator("tbody tr").all_inner_texts()
        assert [row.split()[0] for row in rows] == ["one", "two", "none", "broken"]
        assert "No face was found." in rows[2]
        assert "Not predicted" in rows[3]
        page.click("tbody a >> nth=1")
        assert page.title() == "single_frame on two"
        page.click("text=All inputs")
        assert page.locator("tbody tr").count() == 4


@pytest.fixture
def pictures(tiny, tmp_path):
    """What prepares a folder of three pictures, whose face is found."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), draw_face(120, 160))
    model = tiny("single_frame")

    def prepared(source=None):
        source = source or open_source(str(folder))
        return output.Prediction(model, source, window(model.rule), video=False)

    return prepared


def test_what_the_system_refuses_to_open_is_a_row(pictures, tmp_path):
    camera = sources.Source("camera-0", "camera", 25.0, None, device=99)
    named = {
        "refused": lambda: pictures(open_source(str(tmp_path / ("long" * 100)))),
        "camera": lambda: pictures(camera),
        "video": lambda: pictures(open_source(str(tmp_path / "pictures" / "0.png"))),
    }
    refused, no_camera, read = several.predict_all(named, tmp_path / "out", {}, ("a", "b"))
    assert refused.problem.endswith("long: File name too long")
    assert no_camera.problem == "camera 99 cannot be opened: is it there, and free?"
    assert read.outcome.frames == 1


def test_a_folder_that_cannot_be_written_ends_it(pictures, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(output, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        several.predict_all({"a": pictures, "b": pictures}, tmp_path / "out", {}, ("a", "b"))


def test_only_tables_that_are_there_are_named(pictures, tmp_path):
    out = tmp_path / "out"
    several.predict_all({"a": lambda: pictures(open_source("none.mp4"))}, out, {}, ("a", "b"))
    assert several.written(out) == [out / "index.html", out / "overview.csv"]
    assert "frames.csv" not in (out / "index.html").read_text()
    several.predict_all({"a": pictures}, tmp_path / "read", {}, ("a", "b"))
    assert tmp_path / "read" / "frames.csv" in several.written(tmp_path / "read")
    assert 'href="frames.csv"' in (tmp_path / "read" / "index.html").read_text()
    several.predict_all({"a": pictures}, tmp_path / "stopped", {}, ("a", "b"), lambda: True)
    assert several.written(tmp_path / "stopped") == []


@pytest.mark.slow
def test_an_input_that_was_cut_short_says_so(pictures, tmp_path):
    asked = []

    def should_stop():  # Once before the input, then before each of its frames.
        asked.append(None)
        return len(asked) > 3

    named = {"cut": pictures, "never": pictures}
    (done,) = several.predict_all(named, tmp_path / "out", {}, ("a", "b"), should_stop)
    assert done.outcome.interrupted
    assert str(done).startswith("cut: Interrupted after 2 frames. Face 1, 2 clips: ")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Interrupted after 2 frames. Face 1" in page
    assert "1 of 2 inputs." in page
    (whole,) = several.predict_all({"whole": pictures}, tmp_path / "whole", {}, ("a", "b"))
    assert str(whole).startswith("whole: Face 1, 3 clips: ")


def test_nothing_is_overwritten(done):
    _, folder, classes = done
    with pytest.raises(FileExistsError, match="out exists already"):
        several.predict_all({}, folder, {}, classes)
