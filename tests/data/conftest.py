"""Trees and images written by hand, as the data sets unpack; nothing here uses the code under test."""

import contextlib
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import draw_face


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
