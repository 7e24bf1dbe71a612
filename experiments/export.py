"""Exports a trained model so that it runs without this package: StableHLO and plain NumPy weights, or ONNX.

python -m experiments.export --model=models/late_fusion --out=exports/late_fusion
python exports/late_fusion/run.py clips.npy

python -m experiments.export --model=models/late_fusion --format=onnx --out=exports/late_fusion_onnx
python exports/late_fusion_onnx/run.py clip.mp4 clip.csv

ONNX needs `pip install 'stfer[onnx]'` here, and onnxruntime, numpy and opencv where it is run.
"""

from absl import flags

from experiments import command
from experiments import flags as shared

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define this command's flags."""
    shared.define_model()
    shared.define_modules()
    flags.DEFINE_enum("format", "stablehlo", ["stablehlo", "onnx"], "What the network becomes.")
    flags.DEFINE_string(
        "out", None, "The folder to make; default: exports/MODEL, or exports/MODEL_onnx."
    )


def main(argv: list[str]) -> None:
    """Run the command."""
    del argv
    from pathlib import Path

    from stfer.inference import export as exporting
    from stfer.inference import load_model, onnx_export
    from stfer.runs import environment

    shared.import_modules()
    environment.check_platform()
    where = shared.model_folder()
    model = load_model(where)
    name = Path(where).resolve().name
    out = FLAGS.out or Path("exports") / (f"{name}_onnx" if FLAGS.format == "onnx" else name)
    command.print_settings(
        "Export",
        {
            "model": f"{where} ({model.architecture})",
            "clips": f"uint8 [any, {model.rule.frames}, {model.crop.size}, {model.crop.size}, 3]",
            "classes": ", ".join(model.classes),
            "format": FLAGS.format,
            "platforms": "" if FLAGS.format == "onnx" else ", ".join(exporting.PLATFORMS),
            "out": out,
        },
    )
    export = onnx_export.export_onnx if FLAGS.format == "onnx" else exporting.export_model
    folder, difference = export(model, out)
    print(f"checked: probabilities differ from the model's by at most {difference:.1e}")
    command.print_paths(sorted(folder.iterdir()))


if __name__ == "__main__":
    command.run(main, define_flags, ("model", "out"))
