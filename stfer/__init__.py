"""Spatio-temporal facial expression recognition: six ways of giving a convolutional network time.

After Salinas Ventalló, *Spatio-Temporal Emotion Recognition*. What is where:

    stfer.storage      files that are whole or not there: write and rename, locks, journals, weights with checksums
    stfer.data         readers of image sequences, faces, preprocessing, shards, clips, the synthetic set
    stfer.models       the six architectures, the related systems, the registry for further ones
    stfer.training     settings, tasks, steps, checkpoints
    stfer.evaluation   votes, metrics, significance, records, the run folder
    stfer.runs         cross-validation, final training, search; what a researcher imports
    stfer.inference    a trained model in use: videos, cameras, pages, export
    stfer.pretrained   the model that ships
    stfer.reporting    finished runs as figures, tables and one page
    stfer.pages        what the HTML pages share

The commands are in `experiments`.
"""

__version__ = "0.1.0"

__all__ = ["__version__", "predict"]


def __getattr__(name: str):
    # Loaded when it is asked for: `import stfer` alone does not wait for JAX.
    if name == "predict":
        from stfer.inference.table import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
