"""A trained model as ONNX, for programs that know neither this package nor JAX.

    model.onnx    the network with its weights, for any batch size: (*inputs) -> probabilities
    model.json    architecture, classes, clips, crop settings; what a program needs is in the network's metadata too
    run.py        from a video to a CSV file with onnxruntime, numpy and opencv alone (`stfer.inference.onnx_run`)

The conversion is jax2onnx's, of the network as plain array operations (`stfer.inference.inlining`). What comes out is
run by onnxruntime beside the model before the folder gets its name.
"""

import json
import os
from pathlib import Path

import jax
import jax.export
import numpy as np

from stfer.data.faces.lbp import CASCADE
from stfer.errors import UserError
from stfer.inference.folder import CARD, build_task
from stfer.inference.inlining import inlined
from stfer.inference.model import TrainedModel
from stfer.models.apply import apply, scaled
from stfer.models.registry import FRAMES
from stfer.storage.files import staged_folder, write_bytes_atomically, write_json

PROGRAM, SCRIPT = "model.onnx", "run.py"
OPSET = 18
TOLERANCE = 1e-4  # of a probability
METADATA = ("architecture", "classes", "clips", "crop", "inputs")


def onnx_program(model: TrainedModel) -> bytes:
    """The network as an ONNX file's bytes, its inputs named as the model's.

    Raises:
        UserError: The extra is not installed, or the architecture holds an operation that cannot be converted.
    """
    try:
        import jax2onnx
    except ImportError as error:
        raise UserError(
            f"ONNX needs further packages ({error.name} is missing): pip install 'stfer[onnx]'"
        ) from None
    names, task = tuple(model.inputs), build_task(model.card)

    def probabilities(*arrays):
        batch = scaled(dict(zip(names, arrays, strict=True)))
        outputs, _ = apply(model.module, names, model.variables, batch)
        return task.probabilities(outputs)

    (size,) = jax.export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((size, *i.clip_shape), i.dtype) for i in model.inputs.values()]
    try:
        program = jax2onnx.to_onnx(
            inlined(probabilities, shapes), shapes, model_name=model.architecture, opset=OPSET
        )
    except Exception as error:
        raise UserError(
            f"{model.architecture} cannot be converted to ONNX: {' '.join(str(error).split())[:300]} "
            "(--format=stablehlo exports it)"
        ) from error
    _rename(program, names)
    about = {key: model.card[key] for key in METADATA if key in model.card}
    about |= {"frame_rate": model.frame_rate, "reference": model.reference}
    for key, value in about.items():
        program.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    return program.SerializeToString()


def _rename(program, names: tuple[str, ...]) -> None:
    """Call the graph's inputs and its output by their names."""
    new = dict(zip((entry.name for entry in program.graph.input), names, strict=True))
    new[program.graph.output[0].name] = "probabilities"
    for entry in (*program.graph.input, *program.graph.output):
        entry.name = new[entry.name]
    for node in program.graph.node:
        for list_ in (node.input, node.output):
            list_[:] = [new.get(name, name) for name in list_]


def export_onnx(model: TrainedModel, folder: str | Path) -> tuple[Path, float]:
    """Write an export folder, whole or not at all, and check it against the model.

    Returns:
        The folder, and the largest difference of a probability between the two on random clips.

    Raises:
        FileExistsError: The folder is there already.
        UserError: The model cannot be converted, or onnxruntime does not give what the model gives.
    """
    folder = Path(os.path.abspath(folder))
    with staged_folder(folder) as staging:
        write_bytes_atomically(staging / PROGRAM, onnx_program(model))
        write_json(staging / CARD, model.card)
        write_bytes_atomically(
            staging / SCRIPT, Path(__file__).with_name("onnx_run.py").read_bytes()
        )
        write_bytes_atomically(staging / CASCADE.name, CASCADE.read_bytes())
        difference = compare(model, staging / PROGRAM)
    return folder, difference


def compare(model: TrainedModel, file: Path) -> float:
    """The largest difference of a probability between onnxruntime's result and the model's, for batches of 1 and 3.

    Raises:
        UserError: It is `TOLERANCE` or more.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    difference = 0.0
    for size in (1, 3):
        batch = {
            name: random.integers(0, 256, (size, *i.clip_shape)).astype(i.dtype)
            if name == FRAMES
            else random.random((size, *i.clip_shape)).astype(i.dtype)
            for name, i in model.inputs.items()
        }
        found = session.run(None, batch)[0]
        difference = max(difference, float(np.abs(found - model.network.of_batch(batch)).max()))
    if not difference < TOLERANCE:
        raise UserError(f"the ONNX program differs from the model by {difference:.1e}")
    return difference
