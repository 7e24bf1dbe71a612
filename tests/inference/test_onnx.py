"""ONNX: what onnxruntime computes is what the model computes, for every architecture; the script runs without us."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
import types

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trained_models import SIZE, make_model, noise

from drawn_faces import draw_face
from stfer.errors import UserError
from stfer.inference import TrainedModel, describe, output
from stfer.inference.folder import Input
from stfer.inference.inlining import inlined
from stfer.inference.onnx_export import compare, export_onnx, onnx_program
from stfer.inference.sources import open_source
from stfer.inference.windows import window
from stfer.models import ARCHITECTURES, create_model, registration
from videos import write_video

# They are looked for, not imported: that takes seconds, and every process of a test run reads this file.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnxruntime", "jax2onnx"))),
    reason="needs the extra onnx",
)

PAPER = ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")
# Small versions of the other architectures that ship.
OTHERS = {
    "pair_difference": {"features": (4, 5, 6, 7), "head_features": 8},
    "dtan": {},
    "dtgn": {},
    "dtagn": {},
    "cnn_irnn": {"conv_features": (4, 4, 4), "units": 6},
    "inception": {},
    "inception_resnet_crf": {"size": 75, "divide": 16, "head": "global", "frames": 3},
    "dap3d": {},
    "strnn": {"size": 24, "frames": 4},
}


def other_model(name, seed=0):
    """A model of an architecture beside the paper's six, of random weights."""
    module = create_model(name, 6, **OTHERS[name])
    entry = registration(name)
    shapes = {"frames": (96, 96, 3), "landmarks": (49, 2)}
    kinds = {"frames": "uint8", "landmarks": "float32"}
    inputs = {n: Input(rule, shapes[n], kinds[n]) for n, rule in entry.rules(module.frames).items()}
    arrays = [jnp.zeros((1, *i.clip_shape), jnp.float32) for i in inputs.values()]
    variables = jax.tree.map(np.asarray, module.init(jax.random.key(seed), *arrays))
    if "batch_stats" in variables:
        # As after some training: a mean face, say, is no single point then.
        random = np.random.default_rng(seed)
        variables["batch_stats"] = jax.tree.map(
            lambda leaf: leaf + random.uniform(0.1, 0.2, leaf.shape).astype(leaf.dtype),
            variables["batch_stats"],
        )
    crop = {"detector": "none", "margin": 0.0, "size": 96, "missing_faces": "drop"}
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in OTHERS[name].items()}
    classes = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    card = describe(name, classes, inputs, crop, fields=fields)
    return TrainedModel(card, module, {"batch_stats": {}} | dict(variables))


def test_every_architecture_that_ships_is_tested():
    assert {*PAPER, *OTHERS} <= set(ARCHITECTURES)
    ours = {n for n, module in ARCHITECTURES.items() if module.__module__.startswith("stfer.")}
    assert ours == {*PAPER, *OTHERS}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*PAPER, *OTHERS])
def test_every_architecture_gives_the_models_probabilities(tiny, name, tmp_path):
    import onnxruntime

    model = tiny(name) if name in PAPER else other_model(name)
    file = tmp_path / "model.onnx"
    file.write_bytes(onnx_program(model))
    assert compare(model, file) < 1e-4  # for batches of 1 and 3
    session = onnxruntime.InferenceSession(file)
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}
    assert list(shapes) == list(model.inputs)
    assert all(isinstance(shape[0], str) for shape in shapes.values()), "any batch size"
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(model.classes)
    assert json.loads(about["crop"]) == model.crop.to_dict()
    if "inputs" in about:
        offsets = {n: one["rule"]["offsets"] for n, one in json.loads(about["inputs"]).items()}
    else:
        offsets = {"frames": json.loads(about["clips"])["offsets"]}
    assert offsets == {n: list(rule.offsets) for n, rule in model.rules.items()}


@pytest.mark.slow
def test_inlining_changes_no_number(tiny):
    """Loops, calls and branches by platform are gone, and the numbers stay."""
    model = tiny("rnn")

    def logits(clips):
        return model.module.apply(model.variables, clips / 255.0, train=False)[0]

    clips = noise(2 * 5).reshape(2, 5, SIZE, SIZE, 3).astype(np.float32)
    plain = inlined(logits, [jax.ShapeDtypeStruct(clips.shape, clips.dtype)])
    traced = str(jax.make_jaxpr(plain)(clips))
    assert not any(word in traced for word in ("scan[", "custom_vjp", "platform_index", "cond["))
    found = jax.jit(plain)(clips)
    np.testing.assert_allclose(found, jax.jit(logits)(clips), rtol=2e-4, atol=1e-5)


def test_what_cannot_be_converted_says_so(tiny, monkeypatch):
    def refuse(*arguments, **options):
        raise NotImplementedError("no plugin for primitive 'odd'")

    converter = types.ModuleType("jax2onnx")
    converter.to_onnx = refuse
    monkeypatch.setitem(sys.modules, "jax2onnx", converter)
    with pytest.raises(
        UserError, match="single_frame cannot be converted to ONNX: no plugin for primitive 'odd'"
    ):
        onnx_program(tiny("single_frame"))


def run_alone(folder, *arguments):
    """Run run.py where neither this package nor JAX can be imported."""
    hidden = (
        "import sys, importlib.abc, runpy\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('stfer', 'jax', 'flax', 'onnx', 'scipy', 'av', 'pandas'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-P", "-c", hidden, str(folder / "run.py"), *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def face_video(path, count=20):
    """A face that moves, becomes brighter, and is away for two frames."""
    frames = []
    for number in range(count):
        drawn = draw_face(180, 240, 90 + 2 * number, 90, 80) * (0.6 + 0.015 * number)
        if number in (12, 13):
            drawn = np.full_like(drawn, 100)
        frames.append(cv2.cvtColor(drawn.astype(np.uint8), cv2.COLOR_GRAY2RGB))
    return write_video(path, frames, options={"qp": "1"})


def rows_of(file):
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("single_frame", {}),
        ("rnn", {"frame_rate": 25.0}),
        ("late_fusion", {"frame_rate": 50.0}),
        ("late_fusion", {"reference": "first"}),
        ("late_fusion", {"reference": "auto", "classes": 7}),
    ],
)
def test_the_script_does_what_predict_does(name, change, tmp_path):
    change = dict(change)
    model = make_model(name, change.pop("classes", 6))
    if change.get("reference") == "auto":
        change["classes"] = ["neutral", *model.classes[1:]]
    model = TrainedModel({**model.card, **change}, model.module, model.variables)
    folder, _ = export_onnx(model, tmp_path / "exported")
    path = face_video(tmp_path / "clip.mp4")
    done = run_alone(folder, path, tmp_path / "alone.csv")
    assert done.returncode == 0, done.stderr
    source = open_source(str(path))
    sliding = window(model.rule, reference=model.reference, rate=model.frame_rate)
    output.predict_into(output.Prediction(model, source, sliding), tmp_path / "out", progress=False)
    ours, theirs = rows_of(tmp_path / "out/frames.csv"), rows_of(tmp_path / "alone.csv")
    assert len(ours) == len(theirs) == 20
    compared = 0
    for mine, alone in zip(ours, theirs, strict=True):
        assert float(mine["seconds"]) == pytest.approx(float(alone["seconds"]), abs=0.002)
        for column in ("x", "y", "width", "height"):
            assert bool(mine[column]) == bool(alone[column])
            # The two read the video by different libraries, whose colours differ by a level here and there.
            if mine[column]:
                assert float(mine[column]) == pytest.approx(float(alone[column]), abs=3)
        assert bool(mine["label"]) == bool(alone["label"]), (mine, alone)
        if mine["label"]:
            compared += 1
            for label in model.classes:
                assert float(mine[label]) == pytest.approx(float(alone[label]), abs=0.05)
    assert compared >= 3


@pytest.mark.slow
def test_the_script_takes_cut_clips(tiny, tmp_path):
    model = tiny("late_fusion")
    folder, _ = export_onnx(model, tmp_path / "exported")
    clips = noise(6).reshape(3, 2, SIZE, SIZE, 3)
    np.save(tmp_path / "clips.npy", clips)
    done = run_alone(folder, tmp_path / "clips.npy")
    assert done.returncode == 0, done.stderr
    rows = [dict(pair.split("=") for pair in line.split()) for line in done.stdout.splitlines()]
    found = [[float(row[label]) for label in model.classes] for row in rows]
    np.testing.assert_allclose(found, model.predict_clips(clips), atol=1e-4)


@pytest.mark.slow
def test_a_model_of_landmarks_refuses_a_video(tmp_path):
    folder, _ = export_onnx(other_model("dtgn"), tmp_path / "exported")
    done = run_alone(folder, "clip.mp4")
    assert done.returncode == 1
    assert (
        "this network takes landmarks of faces found by none: give it .npy files, not a video"
        in done.stderr
    )
