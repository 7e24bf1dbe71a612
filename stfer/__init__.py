"""Spatio-temporal facial expression recognition: six ways of giving a convolutional network time.

After Salinas Ventalló, *Spatio-Temporal Emotion Recognition*. The rooms are `stfer.models`, `stfer.data`,
`stfer.training`, `stfer.evaluation`, `stfer.reporting` and `stfer.inference`; the commands are in `experiments`.
"""

__version__ = "0.1.0"

__all__ = ["__version__", "predict"]


def __getattr__(name: str):
    # Loaded when it is asked for: `import stfer` alone does not wait for JAX.
    if name == "predict":
        from stfer.inference.table import predict

        return predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
