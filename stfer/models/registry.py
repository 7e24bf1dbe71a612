"""The registry of architectures: a name in a command or a file becomes a module here.

One registration says all that the rest of the package asks: the module, which frames of a sequence it sees, what it is
trained for, and what it takes beside the frames.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.data.clips import ClipRule, last_frames
from stfer.nearest import did_you_mean
from stfer.registries import Registry

FRAMES = "frames"
Clips = ClipRule | Callable[[int], ClipRule]


@dataclass(frozen=True)
class Registration:
    """An architecture and what goes with it.

    Attributes:
        name: what commands and files call it.
        module: the module class.
        clips: the rule of each input that was given one; a rule, or a function from the number of frames to one.
        task: the name of the task that it is trained for.
        inputs: the arrays that it is called with, in this order.
    """

    name: str
    module: type[nn.Module]
    clips: Mapping[str, Clips]
    task: str
    inputs: tuple[str, ...]

    def rules(self, frames: int) -> dict[str, ClipRule]:
        """Which frames of a sequence each input is taken from.

        Args:
            frames: the clip length of the built module, its `frames`.

        Returns:
            A rule for each input, in order. An input without a rule of its own has that of `frames`; without one of
            any kind it takes the last `frames` frames.

        Raises:
            ValueError: the registered rule makes clips of another length.
        """
        general = self.clips.get(FRAMES, last_frames)
        rules = {}
        for name in self.inputs:
            rule = self.clips.get(name, general)
            rules[name] = rule if isinstance(rule, ClipRule) else rule(frames)
            if name not in self.clips and rules[name].frames != frames:
                raise ValueError(
                    f"the clip rule of {self.name} gives {rules[name].frames} frames, the model takes {frames}"
                )
        return rules

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the module's fields."""
        return tuple(f for f in self.module.__dataclass_fields__ if f not in ("parent", "name"))


_REGISTRATIONS: Registry[Registration] = Registry("architecture")


class _Modules(Mapping[str, type[nn.Module]]):
    """The registrations as a mapping from name to module class."""

    def __getitem__(self, name: str) -> type[nn.Module]:
        return _REGISTRATIONS[name].module

    def __iter__(self) -> Iterator[str]:
        return iter(_REGISTRATIONS)

    def __len__(self) -> int:
        return len(_REGISTRATIONS)


ARCHITECTURES: Mapping[str, type[nn.Module]] = _Modules()


def register(
    name: str,
    *,
    clips: Clips | Mapping[str, Clips] | None = None,
    task: str = "classification",
    inputs: tuple[str, ...] = (FRAMES,),
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Register an architecture under `name`; use it as a decorator or call `register(name)(Module)`.

    The module needs a `frames` attribute (its clip length), the fields `num_classes` and `dtype`, and the call
    `(*inputs, train=False, mask=None) -> (outputs, endpoints)`, `train` and `mask` as keywords. The argument `mask` and
    the field `axis_name` are optional: without them the architecture trains on one device and on full batches only.

    Args:
        name: what commands and files call the architecture.
        clips: which frames of a sequence it sees: a rule, a function from its number of frames to a rule, or either for
            each input by name. Without one it sees the last `frames` frames.
        task: the task that it is trained for, see `stfer.training`.
        inputs: the arrays that it is called with, in this order: `frames`, and further streams of a set of shards.

    Raises:
        ValueError: another module has the name, or the arguments do not go together. The same module again, as a
            notebook's cell that is run twice or a reloaded file gives it, takes the place of the earlier one.

    Example:
        >>> import flax.linen as nn
        >>> from stfer.data.clips import ClipRule
        >>> @register("pair", clips=ClipRule((-15, -1)))
        ... class Pair(nn.Module):
        ...     frames: int = 2
        >>> registration("pair").rules(2)["frames"].offsets
        (-15, -1)
    """
    inputs = tuple(inputs)
    if not inputs or len(set(inputs)) < len(inputs):
        raise ValueError(f"the inputs of {name!r} must be different names, not {inputs}")
    if clips is None:
        clips = {}
    elif not isinstance(clips, Mapping):
        clips = {FRAMES: clips}
    unknown = [key for key in clips if key not in (*inputs, FRAMES)]
    if unknown:
        raise ValueError(
            f"{name!r} has clip rules for {', '.join(unknown)}, but its inputs are {', '.join(inputs)}"
        )

    def add(module: type[nn.Module]) -> type[nn.Module]:
        _REGISTRATIONS.add(name, module, Registration(name, module, dict(clips), task, inputs))
        return module

    return add


def registration(name: str) -> Registration:
    """The registration of an architecture.

    Raises:
        ValueError: the name is unknown.
    """
    return _REGISTRATIONS.find(name)


def create_model(
    name: str, num_classes: int = 6, dtype: DTypeLike = jnp.float32, **fields: object
) -> nn.Module:
    """Build a registered architecture.

    Args:
        name: a key of `ARCHITECTURES`.
        num_classes: length of the logits.
        dtype: the type of the computation; parameters and logits stay float32.
        **fields: further fields of the module, such as `axis_name` or `block2_features`; for their values as text see
            `stfer.models.fields.parse_fields`.

    Raises:
        ValueError: the name or a field is unknown.
    """
    found = registration(name)
    check_fields(name, fields)
    return found.module(num_classes=num_classes, dtype=dtype, **fields)


def check_fields(name: str, fields: Mapping[str, object]) -> None:
    """Raise ValueError, with the fields that there are, where an architecture lacks one."""
    known = registration(name).fields
    for field in fields:
        if field not in known:
            raise ValueError(
                f"the architecture {name!r} has no field {field!r}; it has {', '.join(known)}"
                f"{did_you_mean(field, known)}"
            )
