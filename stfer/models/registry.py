"""The registry of architectures: a name in a command or a file becomes a module here."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

ARCHITECTURES: dict[str, type[nn.Module]] = {}


def register(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Register an architecture under `name`; use it as a decorator or call `register(name)(Module)`.

    The module needs a `frames` attribute (its clip length), the fields `num_classes` and `dtype`, and the call
    `(clips, train=False, mask=None) -> (logits, endpoints)`. The argument `mask` and the field `axis_name` are
    optional: without them the architecture trains on one device and on full batches only.

    Raises:
      ValueError: the name is taken.
    """

    def add(module: type[nn.Module]) -> type[nn.Module]:
        if name in ARCHITECTURES:
            raise ValueError(
                f"the architecture name {name!r} is taken by {ARCHITECTURES[name].__name__}; register"
                f" {module.__name__} under another name"
            )
        ARCHITECTURES[name] = module
        return module

    return add


def create_model(
    name: str, num_classes: int = 6, dtype: jnp.dtype = jnp.float32, **fields: object
) -> nn.Module:
    """Build a registered architecture.

    Args:
      name: a key of `ARCHITECTURES`.
      num_classes: length of the logits.
      dtype: the type of the computation; parameters and logits stay float32.
      **fields: further fields of the module, such as `axis_name` or `block2_features`.

    Raises:
      ValueError: the name or a field is unknown.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    module = ARCHITECTURES[name]
    known = [field for field in module.__dataclass_fields__ if field not in ("parent", "name")]
    for field in fields:
        if field not in known:
            raise ValueError(
                f"the architecture {name!r} has no field {field!r}; it has {', '.join(known)}"
            )
    return module(num_classes=num_classes, dtype=dtype, **fields)
