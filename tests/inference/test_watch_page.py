"""The page of a prediction in a real browser: video and curves in step, seeking, faces, keys, narrow and dark."""

import csv

import cv2
import numpy as np
import pytest

import browser
from drawn_faces import draw_face
from stfer.inference import output
from stfer.inference.sources import open_source
from stfer.inference.windows import window
from videos import write_video

pytestmark = pytest.mark.slow

TIMES = [number / 10 for number in range(20)] + [2.5, 4.0]


def two_faces():
    """Two faces whose light changes from frame to frame, the right one's otherwise than the left one's."""
    for number in range(len(TIMES)):
        left = draw_face(161, 161, 80, 80, 90).astype(float) * (0.5 + 0.02 * number)
        right = draw_face(161, 161, 80, 80, 90).astype(float) * (1.0 - 0.025 * number)
        both = np.clip(np.hstack([left, right]), 0, 255).astype(np.uint8)
        yield cv2.cvtColor(both, cv2.COLOR_GRAY2RGB)[:160]


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """A prediction of a video of uneven times."""
    home = tmp_path_factory.mktemp("watch")
    path = write_video(
        home / "two <faces> & $.mp4", list(two_faces()), times=TIMES, options={"qp": "4"}
    )
    model = tiny("single_frame")
    prediction = output.Prediction(model, open_source(str(path)), window(model.rule))
    output.predict_into(prediction, home / "out", {"input": "two"}, progress=False)
    return home / "out"


def said(folder, seconds, track, classes):
    """What frames.csv says of a face in the frame that is shown at a time."""
    with open(folder / "frames.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["track"] == str(track)]
    shown = [row for row in rows if float(row["seconds"]) <= seconds + 0.002][-1]
    return [float(shown[name]) for name in classes]


def bars(page):
    return [float(text) for text in page.locator("#bars td.number").all_inner_texts()]


def wait_until_shown(page, seconds):
    """Wait until the video shows the frame of a time."""
    page.wait_for_function(
        "t => { const v = document.querySelector('video');"
        " return !v.seeking && v.readyState >= 2 && Math.abs(v.currentTime - t) < 0.02 }",
        arg=seconds,
    )


def test_video_and_curves_are_in_step(folder, tiny):
    classes = tiny("single_frame").classes
    with browser.opened((folder / "index.html").as_uri()) as page:
        page.wait_for_function("document.querySelector('video').readyState >= 2")
        size = page.evaluate(
            "(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('video'))"
        )
        assert size[0] % 2 == size[1] % 2 == 0
        assert size[2] == pytest.approx(TIMES[-1], abs=0.3)
        assert page.title() == "single_frame on two <faces> & $"
        assert bars(page) == pytest.approx(said(folder, 0, 1, classes), abs=0.006)
        for key in ("End", "ArrowLeft"):
            page.keyboard.press(key)
        wait_until_shown(page, TIMES[-1] - 1)
        # 3 s lies between the frames of 2.5 s and 4 s: the earlier one is shown.
        assert bars(page) == pytest.approx(said(folder, 3.0, 1, classes), abs=0.006)
        page.keyboard.press("2")
        assert page.locator("input[value='2']").is_checked()
        assert bars(page) == pytest.approx(said(folder, 3.0, 2, classes), abs=0.006)
        assert said(folder, 3.0, 2, classes) != said(folder, 3.0, 1, classes)
        box = page.locator("#timeline").bounding_box()
        page.mouse.click(box["x"] + 38 + (box["width"] - 48) / 4, box["y"] + 100)
        wait_until_shown(page, TIMES[-1] / 4)
        assert float(page.get_attribute("#timeline", "aria-valuenow")) == pytest.approx(
            1.0, abs=0.11
        )
        page.keyboard.press("Home")
        page.keyboard.press("Shift+ArrowRight")
        assert 0 < page.evaluate("document.querySelector('video').currentTime") < 0.5


def test_space_plays_and_the_playhead_moves(folder):
    with browser.opened((folder / "index.html").as_uri()) as page:
        page.wait_for_function("document.querySelector('video').readyState >= 3")
        before = float(page.get_attribute(".playhead", "x1"))
        page.keyboard.press("Space")
        page.wait_for_function("document.querySelector('video').currentTime > 0.3")
        page.keyboard.press("Space")
        assert page.evaluate("document.querySelector('video').paused")
        assert float(page.get_attribute(".playhead", "x1")) > before + 20


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_narrow_wide_and_dark(folder, width):
    grounds = []
    with browser.opened((folder / "index.html").as_uri(), width) as page:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            label = page.locator("fieldset label").first.bounding_box()
            assert label["height"] >= 40, "large enough for a finger"
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            grounds.append([int(part) for part in ground[4:-1].split(",")])
    assert min(grounds[0]) > 240
    assert max(grounds[1]) < 50


def test_a_prediction_without_a_face_has_a_page_too(tiny, tmp_path):
    path = write_video(tmp_path / "empty.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 5)
    model = tiny("single_frame")
    prediction = output.Prediction(model, open_source(str(path)), window(model.rule), video=False)
    output.predict_into(prediction, tmp_path / "out", progress=False)
    with browser.opened((tmp_path / "out/index.html").as_uri()) as page:
        assert page.locator("header").inner_text().endswith("No face was found.")
        assert page.locator("video").count() == page.locator("#timeline").count() == 0
