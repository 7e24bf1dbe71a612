"""The live window with a stored video in the camera's place: what it serves, to whom, and that it ends."""

import itertools
import json
import socket
import threading
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest

import browser
from drawn_faces import draw_face
from patience import PATIENCE
from stfer.data.faces import Face
from stfer.errors import is_for_user
from stfer.inference import load_model
from stfer.inference.live import NewestFrames, _message, serve_live
from stfer.inference.live_server import Messages, check_address, is_own_name, make_server
from stfer.inference.output import Prediction
from stfer.inference.pages.live import live_page
from stfer.inference.sources import Frame, Source, open_source
from stfer.inference.stream import NO_FACE, FaceResult, FrameResult
from stfer.inference.windows import CLASSIFIED, window
from videos import flat, levels, write_video


@pytest.fixture
def clip(tmp_path):
    """Three seconds of a face."""
    frames = [cv2.cvtColor(draw_face(120, 160), cv2.COLOR_GRAY2RGB)] * 75
    return open_source(str(write_video(tmp_path / "clip.mp4", frames, options={"qp": "4"})))


class Endless(Source):
    """The frames of a stored video over and over, at its own rate: a browser may take its time to start."""

    def __iter__(self):
        frames = list(super().__iter__())
        for number in itertools.count():
            frame = frames[number % len(frames)]
            yield frame._replace(number=number, seconds=number / self.rate)


class Served:
    """A live session in a thread of its own."""

    def __init__(self, model, source, **options):
        self.stop = threading.Event()
        self.address = ""
        served = threading.Event()

        def ready(address):
            self.address = address
            served.set()

        def work():
            prediction = Prediction(model, source, window(model.rule), **options)
            self.session = serve_live(prediction, should_stop=self.stop.is_set, ready=ready)

        self._thread = threading.Thread(target=work)
        self._thread.start()
        assert served.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it closes"


class Clock:
    """Time that passes when the test says so."""

    def __init__(self):
        self._now = self._wanted = 0.0
        self._changed = threading.Condition()

    def monotonic(self):
        return self._now

    def sleep(self, seconds):
        with self._changed:
            self._wanted = self._now + seconds
            self._changed.wait_for(lambda: self._now >= self._wanted)

    def advance(self, seconds, sleeper):
        """Let time pass, until the thread sleeps for more of it or has ended."""
        with self._changed:
            self._now += seconds
            self._changed.notify_all()
            while self._wanted <= self._now and sleeper.is_alive():
                self._changed.wait(0.01)


def test_newest_frames_skip_what_is_late(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("stfer.inference.live.time", clock)
    path = write_video(tmp_path / "a.mp4", [flat(level) for level in levels(25)])
    frames = NewestFrames(open_source(str(path)))
    given = []
    for frame in frames:
        given.append((frame.number, frame.seconds))
        clock.advance(0.2, frames._thread)
    numbers, seconds = zip(*given, strict=True)
    assert list(numbers) == list(range(len(given))), "numbered as they are given out"
    assert 4 <= len(given) <= 8, "a second of video at five looks a second"
    assert list(seconds) == sorted(seconds)


@pytest.mark.slow
def test_messages_come_and_it_ends_with_the_video(tiny, clip):
    began = 1000 * time.time()
    with (
        Served(tiny("single_frame"), clip) as live,
        urllib.request.urlopen(live.address + "events", timeout=PATIENCE) as stream,
    ):
        assert stream.headers["Content-Type"] == "text/event-stream"
        messages = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
    assert messages[-1] == {"ended": True}
    read = [message["read"] for message in messages[:-1]]
    assert read == sorted(read), "when each frame was read"
    assert began - 1 <= read[0] <= read[-1] <= 1000 * time.time() + 1
    shown = messages[-2]
    assert shown["picture"].startswith("data:image/jpeg;base64,")
    (face,) = shown["faces"]
    assert sum(face["point"][1:]) == pytest.approx(1, abs=0.01)
    assert face["point"][0] == shown["seconds"]
    assert shown["rate"] > 1
    assert live.session.frames >= len(messages) - 1
    assert "frames a second" not in str(live.session)
    assert str(live.session).startswith(f"{live.session.frames} frames, ")


def test_a_lost_face_ends_the_stretch_of_its_curve():
    frame = Frame(3, 0.12, np.zeros((40, 40, 3), np.uint8))
    said = np.array([0.25, 0.75], np.float32)
    seen = FaceResult(1, Face(5, 5, 20, 20), CLASSIFIED, (3,), said)
    lost = FaceResult(2, None, NO_FACE)
    message = _message(FrameResult(frame, (seen, lost), CLASSIFIED), ("a", "b"), 25.0, 10.0)
    assert message["faces"] == [
        {"track": 1, "point": [0.12, 0.25, 0.75]},
        {"track": 2, "point": None},
    ]


def test_other_names_and_paths_are_refused(tiny, clip):
    with Served(tiny("single_frame"), clip) as live:
        assert live.address.startswith("http://127.0.0.1:")
        foreign = urllib.request.Request(live.address, headers={"Host": "example.org"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign, timeout=PATIENCE)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(live.address + "frames.csv", timeout=PATIENCE)


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", "127.0.0.1:8765 localhost:8765 localhost LOCALHOST"),
        ("127.0.0.2", "127.0.0.2 localhost:1"),
        ("localhost", "127.0.0.1 localhost"),
        ("192.0.2.7", "192.0.2.7:80"),
        ("0.0.0.0", f"localhost 192.0.2.7:80 127.0.0.1 {socket.gethostname()}:8765"),
        ("", "localhost 192.0.2.7:80"),
    ],
)
def test_no_name_that_leads_here_is_answered(host, own):
    assert all(is_own_name(name, host) for name in own.split())
    for foreign in ("", "example.org", "example.org:8765", "localhost.example.org", "127.0.0.1.a"):
        assert not is_own_name(foreign, host)
    if host == "192.0.2.7":
        assert not is_own_name("localhost", host)
        assert not is_own_name("192.0.2.8", host)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "0.0.0.0"])
@pytest.mark.slow
def test_a_foreign_name_is_refused_whatever_is_bound(host):
    with make_server(host, 0, "page", Messages()) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{server.server_port}/"
        assert urllib.request.urlopen(at, timeout=PATIENCE).read() == b"page"
        foreign = urllib.request.Request(at, headers={"Host": f"example.org:{server.server_port}"})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign, timeout=PATIENCE)
        server.shutdown()


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = f"^port {port} of 127.0.0.1 is taken: choose another, or 0 for any that is free$"
        for serve in (check_address, lambda *address: make_server(*address, "", Messages())):
            with pytest.raises(OSError, match=sentence) as caught:
                serve("127.0.0.1", port)
            assert is_for_user(caught.value)
    check_address("127.0.0.1", port)
    with pytest.raises(OSError, match=r"^port 1 of 192\.0\.2\.7 cannot be served: "):
        check_address("192.0.2.7", 1)


def test_the_page_says_who_sees_the_frames():
    assert "Frames stay on this machine" in live_page("a", ["b"])
    page = live_page("a", ["b"], "192.0.2.7")
    assert "stay on this machine" not in page
    assert "Whoever can reach the program at 192.0.2.7 sees the frames" in page


def test_it_stops_when_asked_and_after_so_many_frames(tiny, clip):
    with Served(tiny("single_frame"), clip):
        pass
    with Served(tiny("single_frame"), clip, max_frames=3) as live:
        live._thread.join(PATIENCE)
        assert live.session.frames == 3


@pytest.mark.slow
def test_the_page_in_a_browser(tiny, tmp_path):
    frames = [cv2.cvtColor(draw_face(120, 160), cv2.COLOR_GRAY2RGB)] * 5
    path = write_video(tmp_path / "a.mp4", frames, rate=5)
    source = Endless(**vars(open_source(str(path))))
    with Served(tiny("single_frame"), source) as live, browser.opened(live.address, 390) as page:
        page.wait_for_function("document.querySelector('#picture').naturalWidth > 100")
        page.wait_for_function("document.querySelectorAll('path.curve').length === 6")
        assert "frames a second, answered in" in page.locator("#state").inner_text()
        assert page.locator("#faces input").count() == 1
        values = [float(text) for text in page.locator("#bars td.number").all_inner_texts()]
        assert sum(values) == pytest.approx(1, abs=0.04)
        live.stop.set()
        page.wait_for_function(
            "document.querySelector('#state').textContent === 'The input has ended.'"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
def test_from_a_frames_reading_to_its_showing(tmp_path):
    """The whole way with the model that ships: faces, network, drawing, server, browser. Prints what it took."""
    moving = [
        cv2.cvtColor(draw_face(360, 640, 300 + number, 180, 150), cv2.COLOR_GRAY2RGB)
        for number in range(40)
    ]
    path = write_video(
        tmp_path / "a.mp4", [*moving, *moving[::-1]], options={"preset": "ultrafast"}
    )
    source = Endless(**vars(open_source(str(path))))
    began = 1000 * time.time()
    with Served(load_model(), source) as live, browser.opened(live.address) as page:
        page.wait_for_function("document.querySelector('#picture').naturalWidth > 100")
        page.evaluate(
            """() => {
              const picture = document.getElementById("picture");
              window.shown = [];
              picture.addEventListener("load", () => {
                const read = Number(picture.dataset.read);
                // The second frame of the page begins when the first, with the picture, has been painted.
                requestAnimationFrame(() => requestAnimationFrame(() => shown.push([read, Date.now()])));
              });
            }"""
        )
        page.wait_for_function("shown.length >= 100")
        read, shown = np.array(page.evaluate("shown"), np.float64).T
    took = shown - read
    print(
        f"\nfrom reading to showing, {len(took)} frames of 640x360: median {np.median(took):.0f} ms, "
        f"95 % within {np.percentile(took, 95):.0f} ms, most {took.max():.0f} ms\n{live.session}"
    )
    assert (read >= began - 1).all(), "the page was told when each frame was read"
    assert (took >= 0).all(), "no frame is shown before it was read"
    assert (np.diff(read) >= 0).all(), "the newest frame is shown"
    assert len(np.unique(read)) > 1
