"""A trained model without this package: StableHLO through `jax.export`, and the plain weights as NumPy.

    model.stablehlo  the network, for any batch size, for CPU and CUDA: (weights, *inputs) -> probabilities
    weights.npz      its weights by name; `numpy.load` reads them without pickle
    model.json       architecture, classes, clips, crop settings
    run.py           loads and runs the three with jax, numpy and flatbuffers (which `jax.export` reads with) alone

The weights are an argument of the exported function, so they lie on disk once.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

from stfer.inference.folder import CARD, build_task
from stfer.inference.model import TrainedModel
from stfer.models.apply import apply, scaled
from stfer.models.registry import FRAMES
from stfer.storage.files import (
    staged_folder,
    write_atomically,
    write_bytes_atomically,
    write_json,
)
from stfer.training.config import PRECISIONS

PLATFORMS = ("cpu", "cuda")
PROGRAM, WEIGHTS, SCRIPT = "model.stablehlo", "weights.npz", "run.py"

_RUN = '''"""Runs this exported model with jax, numpy and flatbuffers alone: python run.py {files}

{contents}
The frames are RGB faces, cut as "crop" in model.json says; which ones a clip holds, counted back from the sequence's
end, is in "clips" and "inputs" there. Without files, one clip of zeros is run.
"""

import json
import pathlib
import sys

import jax
import jax.export
import numpy as np

here = pathlib.Path(__file__).parent
card = json.loads((here / "model.json").read_text())
exported = jax.export.deserialize(bytearray((here / "model.stablehlo").read_bytes()))
weights = dict(np.load(here / "weights.npz", allow_pickle=False))
classify = jax.jit(exported.call)

arrays = [np.load(file) for file in sys.argv[1:]] or [np.zeros((1, *s), d) for s, d in {shapes}]
for row in np.asarray(classify(weights, *arrays)):
    print(" ".join(f"{{name}}={{value:.6f}}" for name, value in zip(card["classes"], row)))
'''


def flat_weights(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A model's weights as NumPy arrays by path, such as `params/head/logits/kernel`."""
    leaves = jax.tree_util.tree_leaves_with_path(dict(variables))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }


def nested_weights(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flat_weights`: `{"params": ..., "batch_stats": ...}`."""
    nested: dict[str, Any] = {"params": {}, "batch_stats": {}}
    for name, array in flat.items():
        *path, last = name.split("/")
        place = nested
        for part in path:
            place = place.setdefault(part, {})
        place[last] = array
    return nested


def exported_program(
    model: TrainedModel, platforms: tuple[str, ...] = PLATFORMS
) -> jax.export.Exported:
    """The network as a function of its flat weights and its inputs, such as uint8 clips [batch, time, size, size, 3].

    It returns float32 probabilities [batch, classes]; the batch size is symbolic.
    """
    names, task = tuple(model.inputs), build_task(model.card)

    def probabilities(weights, *arrays):
        batch = scaled(dict(zip(names, arrays, strict=True)))
        outputs, _ = apply(model.module, names, nested_weights(weights), batch)
        return task.probabilities(outputs)

    (batch,) = jax.export.symbolic_shape("batch")
    arrays = [jax.ShapeDtypeStruct((batch, *i.clip_shape), i.dtype) for i in model.inputs.values()]
    weights = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype)
        for name, array in flat_weights(model.variables).items()
    }
    # The precision of products is part of the program, so that a GPU computes what was trained.
    with jax.default_matmul_precision(PRECISIONS[model.card["precision"]]):
        return jax.export.export(jax.jit(probabilities), platforms=platforms)(weights, *arrays)


def export_model(model: TrainedModel, folder: str | Path) -> tuple[Path, float]:
    """Write an export folder, whole or not at all, and check it against the model.

    Returns:
        The folder, and the largest difference of a probability between the two on random clips.

    Raises:
        FileExistsError: The folder is there already.
        ValueError: The exported program does not give what the model gives.
    """
    folder = Path(os.path.abspath(folder))
    with staged_folder(folder) as staging:
        write_bytes_atomically(staging / PROGRAM, exported_program(model).serialize())
        weights: dict[str, Any] = flat_weights(model.variables)
        np.savez(staging / WEIGHTS, **weights)
        write_json(staging / CARD, model.card)
        write_atomically(staging / SCRIPT, _script(model))
        difference = _compare(model, staging)
    return folder, difference


def _script(model: TrainedModel) -> str:
    lines = [
        f"{_file(name)} holds {i.dtype} [clips, {', '.join(map(str, i.clip_shape))}]."
        for name, i in model.inputs.items()
    ]
    shapes = [(i.clip_shape, i.dtype) for i in model.inputs.values()]
    files = " ".join(map(_file, model.inputs))
    return _RUN.format(files=files, contents="\n".join(lines), shapes=shapes)


def _file(name: str) -> str:
    return "clips.npy" if name == FRAMES else f"{name}.npy"


def _compare(model: TrainedModel, folder: Path) -> float:
    """Run what was written beside the model; the largest difference of a probability."""
    exported = jax.export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    with np.load(folder / WEIGHTS, allow_pickle=False) as file:
        weights = dict(file)
    random = np.random.default_rng(0)
    batch = {
        name: random.integers(0, 256, (3, *i.clip_shape)).astype(i.dtype)
        for name, i in model.inputs.items()
    }
    found = np.asarray(jax.jit(exported.call)(weights, *batch.values()))
    difference = float(np.abs(found - model.network.of_batch(batch)).max())
    if not difference < 1e-4 and model.card["precision"] == "float32":
        raise ValueError(f"the exported program differs from the model by {difference:.1e}")
    return difference
