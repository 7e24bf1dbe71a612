"""A model of two inputs and a task of its own: saved, read, tested on shards, exported, refused for pictures alone."""

import json
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.data.clips import last_frames, sliding
from stfer.data.shards import load_data, write_shards
from stfer.inference import TrainedModel, describe, load_model
from stfer.inference.evaluation import predict_shards, select
from stfer.inference.export import export_model
from stfer.inference.folder import Input
from stfer.inference.stream import predict_stream
from stfer.inference.windows import window
from stfer.models import create_model, register
from stfer.training.task import Task, register_task

SIZE = 8
CLASSES = ("anger", "surprise")


@register_task("halved")
class Halved(Task):
    """Logits count half."""

    def probabilities(self, outputs):
        return jax.nn.softmax(outputs / 2)


@register("two_inputs", inputs=("points", "frames"), clips={"points": last_frames(4)})
class TwoInputs(nn.Module):
    """A dense layer of the movement and of the picture."""

    num_classes: int = 2
    dtype: jnp.dtype = jnp.float32
    frames: int = 2

    @nn.compact
    def __call__(self, points, frames, *, train=False):
        both = [x.reshape(x.shape[0], -1) for x in (points - points[:, :1], frames)]
        return nn.Dense(self.num_classes, name="logits")(jnp.concatenate(both, -1)), {}


@pytest.fixture(scope="module")
def model():
    inputs = {
        "points": Input(last_frames(4), (3, 2), "float32"),
        "frames": Input(sliding(2), (SIZE, SIZE, 3), "uint8"),
    }
    crop = {"detector": "none", "margin": 0.0, "size": SIZE, "missing_faces": "drop"}
    card = describe("two_inputs", CLASSES, inputs, crop, task="halved")
    random = np.random.default_rng(0)
    width = 4 * 3 * 2 + 2 * SIZE * SIZE * 3
    kernel = random.normal(size=(width, 2)).astype(np.float32)
    params = {"logits": {"kernel": kernel, "bias": np.zeros(2, np.float32)}}
    module = create_model("two_inputs", 2)
    return TrainedModel(card, module, {"params": params, "batch_stats": {}})


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    random = np.random.default_rng(1)
    rows = [
        (f"{who}_{label}", who, label, random.integers(0, 256, (15, SIZE, SIZE, 3), np.uint8),
         {"points": random.random((15, 3, 2), np.float32)})
        for who in ("S1", "S2")
        for label in CLASSES
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("set") / "set"
    return load_data(str(write_shards(folder, rows, name="set", classes=CLASSES)))


def by_hand(model, shards, row):
    """Softmax of half the logits of every evaluation clip."""
    points, frames = shards.stream("points", row)[-4:], shards.frames(row) / np.float32(255)
    kernel = model.variables["params"]["logits"]["kernel"]
    logits = [
        np.concatenate([(points - points[:1]).ravel(), frames[i : i + 2].ravel()]) @ kernel
        for i in range(14)
    ]
    weights = np.exp(np.stack(logits) / 2)
    return weights / weights.sum(1, keepdims=True)


def test_it_is_tested_on_shards_as_by_hand(model, shards, tmp_path):
    assert model.save(tmp_path / "two").is_dir()
    read = load_model(tmp_path / "two")
    assert list(read.inputs) == ["points", "frames"]
    assert select(read, shards).rows.tolist() == [0, 1, 2, 3]
    for row, found in enumerate(predict_shards(read, shards, range(4))):
        expected = by_hand(model, shards, row).mean(0)
        np.testing.assert_allclose(found.probabilities["summed"], expected, rtol=1e-4)


@pytest.mark.slow
def test_it_is_exported_with_both_inputs(model, tmp_path):
    folder, difference = export_model(model, tmp_path / "out")
    assert difference < 1e-6
    text = (folder / "run.py").read_text()
    assert "python run.py points.npy clips.npy" in text
    assert "points.npy holds float32 [clips, 4, 3, 2]." in text
    random = np.random.default_rng(2)
    points = random.random((2, 4, 3, 2), np.float32)
    clips = random.integers(0, 256, (2, 2, SIZE, SIZE, 3), np.uint8)
    np.save(tmp_path / "p.npy", points)
    np.save(tmp_path / "c.npy", clips)
    done = subprocess.run(
        [sys.executable, "run.py", str(tmp_path / "p.npy"), str(tmp_path / "c.npy")],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [
        [float(pair.split("=")[1]) for pair in line.split()] for line in done.stdout.splitlines()
    ]
    expected = model.network.of_batch({"frames": clips, "points": points})
    np.testing.assert_allclose(rows, expected, atol=2e-6)


def test_what_has_no_points_is_refused(model, tmp_path):
    frames = np.zeros((15, 20, 20, 3), np.uint8)
    sentence = (
        "two_inputs takes points and frames, of which pictures give frames and landmarks only"
    )
    with pytest.raises(ValueError, match=sentence):
        model.predict(frames)
    with pytest.raises(ValueError, match=sentence):
        next(predict_stream(model, [], window(model.rule)))
    rows = [(f"s{i}", f"s{i}", label, frames) for i, label in enumerate(CLASSES)]
    plain = load_data(str(write_shards(tmp_path / "plain", rows, name="plain", classes=CLASSES)))
    with pytest.raises(ValueError, match="two_inputs takes points, and plain has only frames"):
        select(model, plain)


def test_a_card_that_was_changed_is_told(model, tmp_path):
    folder = model.save(tmp_path / "two")
    card = json.loads((folder / "model.json").read_text())
    for change in (
        {"task": "classification"},
        {"inputs": card["inputs"] | {"points": card["inputs"]["frames"]}},
    ):
        (folder / "model.json").write_text(json.dumps(card | change))
        with pytest.raises(ValueError, match=r"does not belong to its weights|do not fit"):
            load_model(folder)
