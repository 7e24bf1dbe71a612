"""A live window: a camera's newest frame with what the model says, on a page at this machine's own address.

A thread reads the camera and keeps the newest frame alone, so that an answer is about now and not about a queue. A
stored video can stand in for the camera; it then runs at its own speed. The page gets a message a frame, see
`stfer.inference.live_server`.
"""

import base64
import collections
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from stfer.data.faces import FaceFollower
from stfer.inference.drawing import annotate, scale_for
from stfer.inference.live_server import ALL, ENDED, HOST, Messages, is_loopback, make_server
from stfer.inference.model import TrainedModel
from stfer.inference.output import Prediction
from stfer.inference.pages.live import live_page
from stfer.inference.sources import Frame, Source
from stfer.inference.stream import FrameResult, predict_stream
from stfer.models.registry import FRAMES

WIDEST = 960  # pixels of a frame that is shown
_QUALITY = 80  # of its JPEG


@dataclass(frozen=True)
class Session:
    """What a live session came to.

    Attributes:
        frames: Frames answered.
        rate: Frames a second.
        latencies: float64 [frames], milliseconds from a frame's arrival to its answer.
    """

    frames: int
    rate: float
    latencies: np.ndarray

    def __str__(self) -> str:
        if not self.frames:
            return "no frame came"
        median, late = np.percentile(self.latencies, (50, 95))
        return (
            f"{self.frames} frames, {self.rate:.1f} a second, answered in {median:.0f} ms (95 % within "
            f"{late:.0f} ms)"
        )


class NewestFrames:
    """The frames of a source as they are asked for: always the newest, numbered as they are given out.

    Args:
        source: A camera or stream; a video or pictures run at their own speed.
        should_stop: Asked while waiting.
    """

    def __init__(self, source: Source, should_stop: Callable[[], bool] = lambda: False):
        self.arrivals: dict[int, float] = {}
        """When each frame that was given out arrived, of `time.monotonic`."""
        self._source, self._should_stop = source, should_stop
        self._changed = threading.Condition()
        self._newest: tuple[Frame, float] | None = None
        self._ended = self._closed = False
        self._error: OSError | ValueError | None = None
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        self._thread.start()
        number = 0
        while True:
            with self._changed:
                while self._newest is None and not self._ended:
                    self._changed.wait(0.1)
                    if self._closed or self._should_stop():
                        return
                if self._newest is None:
                    if self._error is not None:
                        raise self._error
                    return
                (frame, arrived), self._newest = self._newest, None
            self.arrivals[number] = arrived
            yield frame._replace(number=number)
            number += 1

    def close(self) -> None:
        """Stop reading, and wait until the camera is free."""
        self._closed = True
        if self._thread.is_alive():
            self._thread.join(5)

    def _read(self) -> None:
        is_stored = self._source.kind in ("video", "images")
        began = time.monotonic()
        try:
            for frame in self._source:
                if self._closed:
                    break
                if is_stored:
                    time.sleep(max(0.0, began + frame.seconds - time.monotonic()))
                with self._changed:
                    self._newest = (frame, time.monotonic())
                    self._changed.notify_all()
        except (OSError, ValueError) as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()


def serve_live(
    prediction: Prediction,
    host: str = HOST,
    port: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    ready: Callable[[str], object] = lambda address: None,
) -> Session:
    """Answer a source's newest frames until it ends or is stopped.

    Args:
        prediction: Model, source and window.
        host: The address that is served; any but this machine's own lets others see the frames.
        port: 0 for any free one.
        should_stop: Asked before each frame.
        ready: Told the page's address once it is served.

    Raises:
        OSError: The port is taken, or the camera cannot be opened.
    """
    model = prediction.model
    messages = Messages()
    title = f"{model.architecture} on {prediction.source.name}"
    page = live_page(title, model.classes, "" if is_loopback(host) else host or ALL[1])
    warm_up(model)
    with make_server(host, port, page, messages) as server:
        threading.Thread(target=server.serve_forever, name="live page", daemon=True).start()
        try:
            ready(f"http://{host}:{server.server_port}/")
            return _answer_all(prediction, messages, should_stop)
        finally:
            messages.put({ENDED: True})
            server.shutdown()


def warm_up(model: TrainedModel) -> None:
    """Compile what one face needs before the first frame comes."""
    look = {name: np.zeros(entry.shape, entry.dtype) for name, entry in model.inputs.items()}
    (item,) = model.network.encode([look[FRAMES] if model.sees_frames_alone else look])
    model.network.classify([[item] * model.rule.frames])


def _answer_all(
    prediction: Prediction, messages: Messages, should_stop: Callable[[], bool]
) -> Session:
    frames = NewestFrames(prediction.source, should_stop)
    follower = FaceFollower(prediction.model.crop, largest=prediction.faces)
    latencies: list[float] = []
    recent: collections.deque[float] = collections.deque(maxlen=25)
    began = time.monotonic()
    results = predict_stream(prediction.model, frames, prediction.window, 1, follower)
    try:
        for result in results:
            now = time.monotonic()
            arrived = frames.arrivals.pop(result.frame.number)
            recent.append(now)
            rate = (len(recent) - 1) / (now - recent[0]) if len(recent) > 1 else 0.0
            message = _message(result, prediction.model.classes, rate, 1000 * (now - arrived))
            read = time.time() - (time.monotonic() - arrived)
            messages.put(message | {"read": round(1000 * read, 1)})
            latencies.append(1000 * (time.monotonic() - arrived))
            if should_stop() or len(latencies) == prediction.max_frames:
                break
    finally:
        frames.close()
        results.close()
    seconds = time.monotonic() - began
    return Session(len(latencies), len(latencies) / seconds, np.array(latencies))


def _message(
    result: FrameResult, classes: tuple[str, ...], rate: float, latency: float
) -> dict[str, Any]:
    """What the page shows of a frame, in JSON's types."""
    when = round(result.frame.seconds, 3)
    faces = [
        {
            "track": face.track,
            "point": None
            if face.probabilities is None
            else [when, *(round(float(value), 3) for value in face.probabilities)],
        }
        for face in result.faces  # One that is not seen now has no point, which ends the stretch of its curve.
    ]
    picture = ""
    if result.frame.pixels is not None:
        shown = annotate(result, classes, scale_for(result.frame.pixels.shape[0]))
        if shown.shape[1] > WIDEST:
            height = round(shown.shape[0] * WIDEST / shown.shape[1])
            shown = cv2.resize(shown, (WIDEST, height), interpolation=cv2.INTER_AREA)
        _, data = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        picture = "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
    return {
        "seconds": when,
        "rate": round(rate, 2),
        "latency": round(latency, 1),
        "faces": faces,
        "picture": picture,
    }
