"""What a search may choose: fields of the settings and of the model, each with its range or its choices.

learning_rate:log:1e-5:1e-3,batch_size:16|32|64,augment:none|faces,model.units:int:5:64
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stfer import models
from stfer.training.config import NESTED, TrainConfig, parse_assignments, with_changes

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

KINDS = ("log", "float", "int")
_EXAMPLE = "learning_rate:log:1e-5:1e-3,batch_size:16|32|64,model.units:int:5:64"


@dataclass(frozen=True)
class Dimension:
    """One thing that is chosen.

    Attributes:
        name: A field of the settings, `model.FIELD` or `augment.FIELD`, as `--set` takes it.
        kind: "log" (a number, drawn evenly by its logarithm), "float", "int", or "choice".
        low, high: Both ends, for numbers.
        choices: Their texts, for a choice.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def distribution(self) -> BaseDistribution:
        """As Optuna draws it."""
        from optuna import distributions

        if self.kind == "choice":
            return distributions.CategoricalDistribution(self.choices)
        if self.kind == "int":
            return distributions.IntDistribution(int(self.low), int(self.high))
        return distributions.FloatDistribution(self.low, self.high, log=self.kind == "log")

    def value_of(self, config: TrainConfig) -> Any:
        """What settings have there, as the search would name it; None where it is not in the space."""
        prefix, dot, inner = self.name.partition(".")
        known: Mapping[str, Any] = config.to_dict()
        value = known[NESTED[prefix]].get(inner) if dot else known[self.name]
        if value is None and prefix == "model":
            value = models.ARCHITECTURES[config.architecture].__dataclass_fields__[inner].default
        if self.kind == "choice":
            return next((c for c in self.choices if _same(c, value)), None)
        inside = isinstance(value, int | float) and self.low <= value <= self.high
        return (int(value) if self.kind == "int" else float(value)) if inside else None


def parse_space(text: str) -> tuple[Dimension, ...]:
    """Read a space, see the module's head. Commas within brackets belong to a choice (`[384,256]|[256,256]`).

    Raises:
        ValueError: A part does not read so, or a name stands twice.
    """
    parts = [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]
    if not parts:
        raise ValueError(f"--space is empty; name what is searched, such as {_EXAMPLE}")
    space = tuple(map(_dimension, parts))
    names = [dimension.name for dimension in space]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"--space names {name} twice")
    return space


def _dimension(part: str) -> Dimension:
    name, _, rest = part.partition(":")
    kind, _, ends = rest.partition(":")
    if kind in KINDS and ends:
        try:
            low, high = (float(end) for end in ends.split(":"))
        except ValueError:
            raise _unreadable(part) from None
        if not low < high or not math.isfinite(high) or (kind == "log" and low <= 0):
            above = "positive, " if kind == "log" else ""
            raise ValueError(f"--space: the ends of {part} must be {above}the smaller one first")
        if kind == "int" and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"--space: the ends of {part} must be whole numbers")
        return Dimension(name, kind, low, high)
    choices = tuple(choice.strip() for choice in rest.split("|"))
    if not name or len(set(choices)) < max(2, len(choices)) or "" in choices:
        raise _unreadable(part)
    return Dimension(name, "choice", choices=choices)


def _unreadable(part: str) -> ValueError:
    return ValueError(
        f"--space: {part} must read NAME:log:LOW:HIGH, NAME:float:LOW:HIGH, NAME:int:LOW:HIGH or NAME:A|B, "
        f"as in {_EXAMPLE}"
    )


def check_names(space: Sequence[Dimension], base: TrainConfig) -> None:
    """Refuse a space that names what is not there, or gives a setting a value of another type.

    Raises:
        ValueError: Names it.
    """
    for dimension in space:
        for end in dimension.choices or (dimension.low, dimension.high):
            value = int(end) if dimension.kind == "int" else end
            changed = parse_assignments([f"{dimension.name}={value}"])
            models.parse_fields(base.architecture, changed.get("model", {}))


def distributions(space: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    """The space as Optuna takes it."""
    return {dimension.name: dimension.distribution() for dimension in space}


def start(space: Sequence[Dimension], base: TrainConfig) -> dict[str, Any] | None:
    """The base's own settings as a first trial; None where the space does not hold all of them."""
    values = {dimension.name: dimension.value_of(base) for dimension in space}
    return None if None in values.values() else values


def chosen(base: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """The base's settings with values of a trial.

    Raises:
        ValueError: A name is no setting, or the settings cannot go together.
    """
    changed = parse_assignments([f"{name}={value}" for name, value in values.items()])
    return TrainConfig(**with_changes(base.to_dict(), changed))


def _same(text: str, value: Any) -> bool:
    """Whether a choice's text stands for a value."""
    if isinstance(value, str):
        return text == value
    try:
        return json.loads(text) == json.loads(json.dumps(value))
    except (ValueError, TypeError):
        return False
