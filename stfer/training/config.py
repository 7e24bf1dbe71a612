"""The settings of one training, in one frozen dataclass, and its two presets (paper VI-A).

`paper` is the protocol of the paper, exactly. `demo` is for the embedded synthetic set on two CPU
cores: the same networks at full width and size, fewer epochs, smaller batches, a higher learning rate.
"""

import dataclasses
from dataclasses import dataclass

# What each precision asks of the matrix units: JAX's own default for float32 would be TensorFloat-32 on recent GPUs.
PRECISIONS = {"float32": "highest", "tensorfloat32": "tensorfloat32", "bfloat16": "default"}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the result of a training, and nothing else.

    Attributes:
        architecture: A name in `stfer.models.ARCHITECTURES`.
        epochs: Passes over the training clips; the weights of the last one are used.
        batch_size: Clips a step; the last batch of an epoch may be smaller.
        learning_rate: Adam's step size.
        adam_epsilon: Adam's epsilon, outside the square root (Keras 2's default, 1e-7).
        seed: Seed of every random stream (with the fold's name and the epoch, nothing else).
        precision: "float32", "tensorfloat32" (products only, on GPUs that have it) or "bfloat16"
            (compute; parameters and logits stay float32).
        recompute_statistics: After the last epoch, compute the batch statistics anew over one pass
            through the training clips with the final weights (Wu & Johnson 2021, "Rethinking 'Batch' in
            BatchNorm", section 3), instead of using the running ones, which lag behind in a short training.
            Only for layers of `stfer.models.layers.normalization.BatchNorm`; others keep their running ones.
        preset: The name of the preset that the settings came from, for the record.
    """

    architecture: str
    epochs: int = 200
    batch_size: int = 32
    learning_rate: float = 1e-5
    adam_epsilon: float = 1e-7
    seed: int = 0
    precision: str = "float32"
    recompute_statistics: bool = False
    preset: str = "paper"

    def __post_init__(self):
        """Refuse settings that cannot be trained with.

        Raises:
            ValueError: Names the field and what would be right.
        """
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("learning_rate", "adam_epsilon"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a positive number")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}; it must be from 0 to 4294967295")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}; it must be one of {', '.join(PRECISIONS)}"
            )

    def to_dict(self) -> dict[str, object]:
        """Return the settings as a JSON-serialisable dict."""
        return dataclasses.asdict(self)


PRESETS: dict[str, dict[str, object]] = {
    "paper": {},
    "demo": {"epochs": 12, "batch_size": 7, "learning_rate": 1e-4, "recompute_statistics": True},
}


def preset(name: str, architecture: str, **overrides: object) -> TrainConfig:
    """Return the settings of a preset for an architecture.

    Args:
        name: "paper" or "demo".
        architecture: A name in `stfer.models.ARCHITECTURES`.
        **overrides: Fields that replace the preset's; those that are None are left as they are.

    Raises:
        ValueError: For an unknown preset or a field out of range.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r} is unknown; it must be one of {', '.join(PRESETS)}")
    changed = {field: value for field, value in overrides.items() if value is not None}
    return TrainConfig(architecture=architecture, preset=name, **(PRESETS[name] | changed))
