"""Event files of a run, read back with the protocol buffers that TensorBoard reads them with."""

import struct

import cv2
import numpy as np
import pytest

from run_folders import write_run
from stfer.errors import UserError
from stfer.reporting import tensorboard

PREDICTED = {"S1_anger": "anger", "S1_fear": "anger", "S2_anger": "anger", "S2_fear": "fear"}


def events(folder):
    """Every value of the event files in a folder: (tag, step, value)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("events*")):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            found += [(value.tag, event.step, value) for value in event.summary.value]
    return found


@pytest.mark.slow
def test_scalars_a_fold_and_confusion_matrices(tmp_path):
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    run = write_run(tmp_path / "run", PREDICTED, epochs=3)
    folder = tensorboard.write_events(run)
    assert folder == run / "tensorboard"
    assert sorted(path.name for path in folder.iterdir()) == ["all", "held_out=S1", "held_out=S2"]
    scalars = events(folder / "held_out=S2")
    assert {tag for tag, _, _ in scalars} == {
        "loss/train", "loss/heldout", "accuracy/train", "accuracy/heldout",
    }  # fmt: skip
    assert len({step for tag, step, _ in scalars if tag == "loss/train"}) == 3
    rows = (run / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("train_loss")
    written = [float(row.split(",")[column]) for row in rows[1:] if row.startswith("S2,")]
    read = [v.simple_value for tag, _, v in scalars if tag == "loss/train"]
    np.testing.assert_allclose(read, written, rtol=1e-6)
    ends = {tag: value for tag, _, value in events(folder / "all")}
    assert ends["accuracy/summed"].simple_value == pytest.approx(0.75)
    picture = cv2.imdecode(
        np.frombuffer(ends["confusion/summed"].image.encoded_image_string, np.uint8), 1
    )
    assert picture.shape[0] > 200
    assert picture.std() > 10
    # Called again, for a run that went on, nothing is there twice.
    again = tensorboard.write_events(run)
    assert len(events(again / "held_out=S2")) == len(scalars)


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"pip install 'stfer\[tensorboard\]'"):
        tensorboard.check_installed()
