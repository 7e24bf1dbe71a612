"""Trainings of several stages, each from scratch or from earlier stages of the same fold.

A stage says what it starts from, which parameters it trains, and which settings are its own. Weights travel between
stages as `FoldWeights`, which name their fold: weights of another fold have seen the held-out subject and are refused.

    register_stages("dtagn")(
        Stage("appearance", settings={"architecture": "dtan"}),
        Stage("geometry", settings={"architecture": "dtgn"}),
        Stage("joint", start={"dtan": "appearance", "dtgn": "geometry"}, trains=("*/dense2/*", "*/logits/*")),
    )
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from stfer.models import registration
from stfer.registries import Registry
from stfer.training.config import TrainConfig, with_changes
from stfer.training.step import TrainState

if TYPE_CHECKING:  # It brings scikit-learn, which a model in use does not wait for.
    from stfer.data.folds import Fold

EVERYTHING = ("*",)


@dataclass(frozen=True)
class Stage:
    """One stage of a training.

    Attributes:
        name: Unique among the stages; names a folder.
        settings: Fields of `TrainConfig` that differ from the run's in this stage.
        start: None starts from scratch; an earlier stage's name takes over its parameters and statistics; a mapping
            puts below a path of this model ("" is the top) what an earlier stage has: `STAGE`, or `STAGE/PATH` for
            the part of it below a path.
        trains: Patterns (`fnmatch`) of the paths of parameters that are trained, such as `head/*`.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    start: str | Mapping[str, str] | None = None
    trains: Sequence[str] = EVERYTHING

    def config(self, run: TrainConfig) -> TrainConfig:
        """The run's settings with this stage's own.

        The run's fields of the model stay, beside the stage's; in a stage of another architecture, those of them that
        it has, too.
        """
        own = dict(self.settings)
        fields = dict(run.model)
        if "architecture" in own:
            known = registration(own["architecture"]).fields
            fields = {name: value for name, value in fields.items() if name in known}
        return TrainConfig(**with_changes(run.to_dict() | {"model": fields}, own))

    def paths(self) -> Callable[[str], bool] | None:
        """Whether the parameter at a path is trained; None where all are."""
        if tuple(self.trains) == EVERYTHING:
            return None
        return lambda path: any(fnmatch.fnmatchcase(path, pattern) for pattern in self.trains)


WHOLE = (Stage("training"),)
STAGES: Registry[tuple[Stage, ...]] = Registry("stages")
_WRITTEN_IN: dict[str, CodeType] = {}


def register_stages(name: str) -> Callable[..., tuple[Stage, ...]]:
    """Register stages, in order, under `name`; an architecture of that name trains by them.

    A module that is loaded again, or a notebook's cell that is run again, takes the place of what it registered
    before.

    Raises:
        ValueError: Two stages have one name, one starts from a stage that is not before it, or another module, or
            another place of this one, has registered other stages under the name.
    """
    caller = sys._getframe(1)
    code, module = caller.f_code, caller.f_globals.get("__name__", "__main__")
    place: Any = SimpleNamespace(__module__=module, __qualname__="stages")

    def add(*stages: Stage) -> tuple[Stage, ...]:
        before: list[str] = []
        for stage in stages:
            if stage.name in before:
                raise ValueError(f"the stages {name!r} have two named {stage.name!r}")
            for source in _sources(stage):
                if source not in before:
                    raise ValueError(
                        f"stage {stage.name!r} of {name!r} starts from {source!r}, which is not before it"
                    )
            before.append(stage.name)
        # The same code, not compiled anew since, has two texts under one name: neither is an edit of the other.
        if _WRITTEN_IN.get(name) is code and STAGES[name] != stages:
            raise ValueError(
                f"{module} registers two different stages {name!r}; rename one of them"
            )
        STAGES.add(name, place, stages)
        _WRITTEN_IN[name] = code
        return stages

    return add


def stages_of(config: TrainConfig) -> tuple[Stage, ...]:
    """The stages of a training: the settings' own, else the architecture's, else a single one.

    Raises:
        ValueError: No stages have the settings' name.
    """
    if config.stages:
        return STAGES.find(config.stages)
    return STAGES.get(config.architecture, WHOLE)


@dataclass(frozen=True)
class FoldWeights:
    """Weights that were trained without one fold's held-out subjects.

    Attributes:
        held_out: The fold's name.
        variables: `{"params": ..., "batch_stats": ...}`.
    """

    held_out: str
    variables: Mapping[str, Any]


def start_of(
    stage: Stage, fold: Fold, earlier: Mapping[str, FoldWeights]
) -> Callable[[TrainState], TrainState]:
    """What turns a fresh state of the fold into the one that the stage starts from.

    Args:
        stage: The stage.
        fold: The fold that is trained.
        earlier: From stage name to what that stage of the same fold left.

    Raises:
        TypeError: Weights that do not say which fold they belong to.
        ValueError: Weights of another fold; or, when called, weights that do not fit the model.
    """
    sources = [
        (path, earlier[source.partition("/")[0]], source.partition("/")[2])
        for path, source in _starts(stage).items()
    ]
    for _, weights, _ in sources:
        if not isinstance(weights, FoldWeights):
            raise TypeError(f"a stage starts from FoldWeights, not from {type(weights).__name__}")
        if weights.held_out != fold.held_out:
            raise ValueError(
                f"stage {stage.name!r} of fold {fold.held_out} cannot start from weights of fold {weights.held_out}: "
                f"they have seen {', '.join(fold.subjects)}"
            )

    def started(state: TrainState) -> TrainState:
        for path, weights, inner in sources:
            for kind in ("params", "batch_stats"):
                part = _part(weights.variables.get(kind, {}), inner, stage.name, kind)
                tree = _placed(getattr(state, kind), path, part, stage.name)
                state = state.replace(**{kind: tree})
        return state

    return started


def _part(tree: Any, path: str, stage: str, kind: str) -> Any:
    """What a tree has below a path; parameters must be there, statistics may not."""
    for name in filter(None, path.split("/")):
        if name not in tree:
            return {} if kind == "batch_stats" else _refuse(stage, f"nothing at {path}")
        tree = tree[name]
    return tree


def _placed(tree: Any, path: str, part: Any, stage: str) -> Any:
    """`tree` with the leaves of `part` below `path`, where it has leaves of that name and shape."""
    head, _, rest = path.partition("/")
    if head:
        if head not in tree:
            return tree if not part else _refuse(stage, path)
        return {**tree, head: _placed(tree[head], rest, part, stage)}
    if not isinstance(part, Mapping):
        if np.shape(tree) != np.shape(part):
            _refuse(stage, f"a parameter of shape {np.shape(part)}")
        return jax.numpy.asarray(part)
    missing = part.keys() - tree.keys()
    if missing:
        _refuse(stage, ", ".join(sorted(missing)))
    return {n: _placed(leaf, "", part[n], stage) if n in part else leaf for n, leaf in tree.items()}


def _refuse(stage: str, what: str) -> Any:
    raise ValueError(f"stage {stage!r} starts from weights that its model has no place for: {what}")


def _starts(stage: Stage) -> Mapping[str, str]:
    if stage.start is None:
        return {}
    return {"": stage.start} if isinstance(stage.start, str) else stage.start


def _sources(stage: Stage) -> list[str]:
    return [source.partition("/")[0] for source in _starts(stage).values()]
