"""Trees and images written by hand, as the data sets unpack; nothing here uses the code under test."""

import contextlib
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest


def draw_face(
    height: int = 120, width: int = 160, x: int = 80, y: int = 60, side: int = 70
) -> np.ndarray:
    """A grey cartoon face that the cascade takes for one; (x, y) is its centre, `side` its width."""
    image = np.full((height, width), 120, np.uint8)

    def ellipse(cx, cy, rx, ry, grey):
        centre = (round(x + cx * side), round(y + cy * side))
        cv2.ellipse(
            image, centre, (max(1, round(rx * side)), max(1, round(ry * side))), 0, 0, 360, grey, -1
        )

    ellipse(0, 0.0, 0.5, 0.68, 200)
    for eye in (-0.21, 0.21):
        ellipse(eye, -0.2, 0.13, 0.045, 70)
        ellipse(eye, -0.1, 0.1, 0.05, 90)
        ellipse(eye, -0.1, 0.045, 0.045, 20)
    ellipse(0, 0.05, 0.05, 0.17, 225)
    ellipse(-0.06, 0.18, 0.04, 0.025, 110)
    ellipse(0.06, 0.18, 0.04, 0.025, 110)
    ellipse(0, 0.33, 0.17, 0.045, 80)
    return cv2.GaussianBlur(image, (0, 0), max(0.8, side / 60))


@pytest.fixture(scope="session")
def face():
    return draw_face


def write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


@pytest.fixture(scope="session")
def png():
    return write_png


@pytest.fixture
def ck_sequence():
    """Writes one CK+ sequence: frames S005_001_00000001.png ... and, unless None, its label's bytes."""

    def write(
        root: Path, subject="S005", take="001", frames=15, label: bytes | None = b"   3.0000000e+00\n",
        image: np.ndarray | None = None, numbers=None,
        images="cohn-kanade-images", labels="Emotion",
    ) -> Path:  # fmt: skip
        folder = root / images / subject / take
        numbers = list(numbers or range(1, frames + 1))
        image = np.full((12, 16), 90, np.uint8) if image is None else image
        for number in numbers:
            write_png(folder / f"{subject}_{take}_{number:08d}.png", image)
        label_folder = root / labels / subject / take
        label_folder.mkdir(parents=True, exist_ok=True)
        if label is not None:
            (label_folder / f"{subject}_{take}_{numbers[-1]:08d}_emotion.txt").write_bytes(label)
        return folder

    return write


@pytest.fixture
def public_folder():
    """A folder that every user can reach (pytest's own folders are for one user)."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def as_nobody():
    """A context without root's right to read everything; tests often run as root in containers."""

    @contextlib.contextmanager
    def context():
        if os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return context
