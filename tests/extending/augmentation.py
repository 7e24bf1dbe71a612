"""An augmentation: a random part of the light, whose strength `--set augment.least=0.8` changes."""

from dataclasses import dataclass

import jax

from stfer.training.augment import register_augmentation


@register_augmentation("dimmed")
@dataclass(frozen=True)
class Dimmed:
    """Multiply a clip by a factor between `least` and 1."""

    least: float = 0.5

    def __call__(self, example, key):
        light = jax.random.uniform(key, minval=self.least, maxval=1.0)
        return example | {"frames": example["frames"] * light}
