"""The exported program and weights: equal to the model, and usable without this package."""

import json
import os
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
from trained_models import SIZE, noise

from stfer.inference.export import export_model, exported_program, flat_weights, nested_weights

ALL = ("single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn")

RUNNER = """
import pathlib, sys
import importlib.abc


class Hidden(importlib.abc.MetaPathFinder):
    # None of these can be imported here, installed or not.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("stfer", "flax", "optax", "orbax", "cv2", "absl"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Hidden())
import jax, jax.export, numpy as np
folder = pathlib.Path(sys.argv[1])
exported = jax.export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))
weights = dict(np.load(folder / "weights.npz", allow_pickle=False))
classify = jax.jit(exported.call)
clips = np.load(folder.parent / "clips.npy")
for size in (1, 3):
    np.save(folder.parent / f"out{size}.npy", classify(weights, clips[:size]))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny):
    """The export folder of a late fusion model, beside clips to run."""
    home = tmp_path_factory.mktemp("export")
    folder, difference = export_model(tiny("late_fusion"), home / "late")
    np.save(home / "clips.npy", noise(6).reshape(3, 2, SIZE, SIZE, 3))
    return folder, difference


def python(folder, *arguments):
    """Run Python where this package cannot be found."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=folder,
        env=environment | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_runs_without_the_package_at_any_batch_size(tiny, exported):
    folder, difference = exported
    assert difference < 1e-6
    done = python(folder, "-c", RUNNER, str(folder))
    assert done.returncode == 0, done.stderr
    clips = np.load(folder.parent / "clips.npy")
    for size in (1, 3):
        found = np.load(folder.parent / f"out{size}.npy")
        expected = tiny("late_fusion").predict_clips(clips[:size])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_script_beside_it_runs(tiny, exported):
    folder, _ = exported
    done = python(folder, "run.py", str(folder.parent / "clips.npy"))
    assert done.returncode == 0, done.stderr
    rows = [dict(pair.split("=") for pair in line.split()) for line in done.stdout.splitlines()]
    clips = np.load(folder.parent / "clips.npy")
    found = [[float(row[name]) for name in tiny("late_fusion").classes] for row in rows]
    np.testing.assert_allclose(found, tiny("late_fusion").predict_clips(clips), atol=2e-6)


@pytest.mark.slow
def test_weights_have_names_and_shapes(tiny, exported):
    folder, _ = exported
    model = tiny("late_fusion")
    with np.load(folder / "weights.npz", allow_pickle=False) as file:
        weights = dict(file)
    assert weights["params/head/logits/kernel"].shape == (11, 6)
    np.testing.assert_array_equal(
        weights["params/tower/block1/conv/kernel"],
        model.variables["params"]["tower"]["block1"]["conv"]["kernel"],
    )
    assert len(weights) == len(jax.tree.leaves(dict(model.variables)))
    assert json.loads((folder / "model.json").read_text())["classes"] == list(model.classes)


def test_nested_is_the_inverse_of_flat(tiny):
    variables = tiny("rnn").variables
    again = nested_weights(flat_weights(variables))
    jax.tree.map(np.testing.assert_array_equal, dict(variables), again)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_architecture_exports_for_cpu_and_cuda(tiny, name):
    model = tiny(name)
    program = exported_program(model)
    assert program.platforms == ("cpu", "cuda")
    again = jax.export.deserialize(program.serialize())
    assert str(again.in_avals[-1].shape[0]) == "batch"
    clips = noise(2 * model.rule.frames).reshape(2, -1, SIZE, SIZE, 3)
    found = jax.jit(again.call)(flat_weights(model.variables), clips)
    np.testing.assert_allclose(found, model.predict_clips(clips), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_nothing_is_overwritten(tiny, exported):
    folder, _ = exported
    with pytest.raises(FileExistsError, match="late exists already"):
        export_model(tiny("late_fusion"), folder)
