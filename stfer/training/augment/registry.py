"""Random changes of training examples on the device, keyed by step and row (never in the paper preset).

An augmentation is called with one example and a random key, and returns the changed example. An example is
a dict: `frames` float32 [time, height, width, channel] in [0, 1], `label`, and what else the model or the task
takes. The step maps it over the batch with one key a row, which depends on seed, fold, step and the row's place in the
set alone: not on how a batch is padded or split over devices. From outside, it is a function

    @register_augmentation("mirror")
    def mirror(example, key):
        flipped = jax.random.bernoulli(key)
        return example | {"frames": jnp.where(flipped, example["frames"][:, :, ::-1], example["frames"])}

or a frozen dataclass whose fields are its strengths (`--set augment.FIELD=VALUE`) with such a `__call__`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jax import Array

from stfer.registries import Registry

Example = dict[str, Array]
Augmentation = Callable[[Example, Array], Example]
AUGMENTATIONS: Registry[Any] = Registry("augmentation")


def register_augmentation(name: str) -> Callable[[Any], Any]:
    """Register a function of `(example, key)`, or a dataclass of strengths with such a `__call__`, under `name`.

    Raises:
        ValueError: Another augmentation has the name.
    """
    return AUGMENTATIONS.register(name)


@register_augmentation("none")
def unchanged(example: Example, key: Array) -> Example:
    """No augmentation."""
    del key
    return example


def make_augmentation(name: str, strengths: Mapping[str, Any]) -> Augmentation | None:
    """The augmentation of a name with some strengths of its own changed; None for "none".

    Raises:
        ValueError: The name or a strength is unknown.
    """
    entry = AUGMENTATIONS.find(name)
    known = list(getattr(entry, "__dataclass_fields__", ()))
    for strength in strengths:
        if strength not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"the augmentation {name!r} has no strength {strength!r}; {has}")
    if entry is unchanged:
        return None
    if not isinstance(entry, type):
        return entry
    return entry(**{key: _read(name, key, value, entry) for key, value in strengths.items()})


def _read(name: str, strength: str, value: Any, entry: Any) -> Any:
    """A strength as the type of its default."""
    default = entry.__dataclass_fields__[strength].default
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[str(value).lower()]
        if isinstance(default, tuple):
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(float(part) for part in parts)
        return type(default)(value)
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"the strength {strength!r} of the augmentation {name!r} is {value!r}; it must be as {default!r}"
        ) from None
