"""The model folder: everything that using a trained model needs, in one place that says how it was made.

    model.json     format, architecture, inputs, task, classes, clips, crop, training, data, metrics, versions
    weights/       parameters and batch statistics (`stfer.storage.weights`), tied to model.json
    history.csv, predictions.csv    of the training, where it was `experiments.train`

The folder is written under another name and renamed, so a half-written one is never loadable. Nothing in
it is executed: an architecture from outside the package must have been registered by the reader's own code.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from stfer import models
from stfer.data.clips import ClipRule
from stfer.data.faces import CropSettings
from stfer.data.shards.streams import check_frame_rate
from stfer.models.apply import scaled
from stfer.models.registry import FRAMES
from stfer.nearest import did_you_mean_path
from stfer.storage.files import read_json, staged_folder, write_atomically, write_json
from stfer.storage.identity import differences
from stfer.storage.weights import load_weights, save_weights
from stfer.training import related  # noqa: F401 (it registers tasks)
from stfer.training.config import PRECISIONS, TrainConfig
from stfer.training.task import Task, make_task

FORMAT = 1
CARD = "model.json"
WEIGHTS = "weights"
_FIELDS = {
    "architecture": str,
    "fields": dict,
    "modules": list,
    "classes": list,
    "clips": dict,
    "crop": dict,
    "precision": str,
}
# What the weights are tied to: changing any of these by hand makes another model.
_IDENTITY = ("architecture", "fields", "classes", "clips", "crop", "inputs", "task")


@dataclass(frozen=True)
class Input:
    """One of the arrays that a model is called with.

    Attributes:
        rule: Which frames of a sequence it holds.
        shape: Of one frame's value: (size, size, 3) for `frames`, (points, 2) for landmarks.
        dtype: Its type in a set of shards.
    """

    rule: ClipRule
    shape: tuple[int, ...]
    dtype: str

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """Of one clip: (time, *shape)."""
        return (self.rule.frames, *self.shape)


def describe(
    architecture: str,
    classes: tuple[str, ...],
    inputs: ClipRule | Mapping[str, Input],
    crop: Mapping[str, Any],
    *,
    frame_rate: float | None = None,
    task: str = "",
    precision: str = "float32",
    fields: Mapping[str, Any] | None = None,
    modules: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """The content of `model.json`.

    Args:
        architecture: A registered name.
        classes: Class names in the order of the logits.
        inputs: What the model is called with, in order; a rule alone is that of `frames`.
        crop: `CropSettings.to_dict()` of the training set.
        frame_rate: Frames a second of the training set, where it is known: clips are then taken by time.
        task: What it was trained for; empty for the architecture's own.
        precision: Of the computation, see `TrainConfig`.
        fields: Fields of the module that differ from its defaults, JSON-serialisable.
        modules: Python modules that register the architecture; told to a reader who lacks it.
        **more: Whatever else should be known: training, data, metrics, versions.
    """
    if isinstance(inputs, ClipRule):
        inputs = {FRAMES: _frames(inputs, crop)}
    first = next(iter(inputs.values()))
    named = {
        name: dataclasses.asdict(entry) | {"rule": _clips(entry.rule)}
        for name, entry in inputs.items()
    }
    return {
        "format": FORMAT,
        "architecture": architecture,
        "fields": dict(fields or {}),
        "modules": list(modules),
        "classes": list(classes),
        "clips": _clips(first.rule),
        "crop": dict(crop),
        "frame_rate": frame_rate,
        "precision": precision,
        **({"inputs": named} if list(inputs) != [FRAMES] else {}),
        **({"task": task} if task else {}),
        **more,
    }


def _frames(rule: ClipRule, crop: Mapping[str, Any]) -> Input:
    size = CropSettings.from_dict(dict(crop)).size
    return Input(rule, (size, size, 3), "uint8")


def save_folder(
    folder: str | Path,
    card: Mapping[str, Any],
    variables: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
) -> Path:
    """Write a model folder, whole or not at all.

    Args:
        folder: Must not exist.
        card: As `describe` returns it.
        variables: `{"params": ..., "batch_stats": ...}`.
        files: Further text files, from plain name to content.

    Raises:
        FileExistsError: The folder is there already.
        OSError: It cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    with staged_folder(folder) as staging:
        identity = {key: card[key] for key in _IDENTITY if key in card}
        save_weights(staging / WEIGHTS, variables, identity)
        for name, text in (files or {}).items():
            write_atomically(staging / name, text)
        write_json(staging / CARD, card, allow_nan=False)
    return folder


def read_folder(folder: str | Path) -> tuple[dict[str, Any], nn.Module, dict[str, Any]]:
    """Read a model folder.

    Returns:
        The card, the module, and its variables as NumPy arrays.

    Raises:
        FileNotFoundError: No model folder, or its weights are missing.
        ValueError: Another format version, a damaged or altered file, an architecture that is not
            registered, or weights that do not fit; one sentence names it.
    """
    folder = Path(folder)
    card = read_card(folder)
    name = card["architecture"]
    if name not in models.ARCHITECTURES:
        modules = ", ".join(card["modules"])
        where = f"it comes with the module {modules}" if modules else "its module must be"
        raise ValueError(
            f"{folder} holds the architecture {name!r}, which is not registered here: "
            f"{where}{', to be' if modules else ''} imported first (--modules=... in the commands)"
        )
    if not (folder / WEIGHTS).is_dir():
        raise FileNotFoundError(f"{folder} is incomplete: its folder {WEIGHTS} is missing")
    variables, identity = load_weights(folder / WEIGHTS)
    module = build_module(card)
    _check_shapes(folder, card, module, variables)
    altered = differences(identity, {key: card[key] for key in _IDENTITY if key in card})
    if altered:
        raise ValueError(
            f"{folder / CARD} does not belong to its weights: {'; '.join(altered)} "
            "(there: when they were trained; here: in the file)"
        )
    return card, module, variables


def read_card(folder: Path) -> dict[str, Any]:
    """Read and check `model.json`; raises as `read_folder`."""
    file = folder / CARD
    if not file.is_file():
        raise FileNotFoundError(
            f"{folder} is no model folder (it has no {CARD}); `python -m experiments.train` makes one"
            f"{'' if folder.is_dir() else did_you_mean_path(folder)}"
        )
    card = read_json(file)
    version = card.get("format") if isinstance(card, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError(f"{file} is no model's description: the field 'format' is missing")
    if version != FORMAT:
        advice = "upgrade stfer" if version > FORMAT else "train it anew, or use an older stfer"
        wrote = (card.get("versions") or {}).get("stfer")
        by = f" (written by stfer {wrote})" if wrote else ""
        raise ValueError(
            f"{folder} has model format {version}{by}, and this stfer reads format {FORMAT}: {advice}"
        )
    for field, kind in _FIELDS.items():
        if not isinstance(card.get(field), kind):
            raise ValueError(f"{file} is damaged: {field!r} is missing or no {kind.__name__}")
    classes = card["classes"]
    if not all(isinstance(c, str) and c for c in classes) or len(set(classes)) < len(classes):
        raise ValueError(f"{file} is damaged: 'classes' must be different names, not {classes}")
    if card["precision"] not in PRECISIONS:
        raise ValueError(f"{file}: 'precision' must be one of {', '.join(PRECISIONS)}")
    try:
        check_frame_rate(card.get("frame_rate"))
        CropSettings.from_dict(card["crop"])
        inputs(card)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    return card


def inputs(card: Mapping[str, Any]) -> dict[str, Input]:
    """What a card's model is called with, in order."""
    if "inputs" not in card:
        return {FRAMES: _frames(_rule(card["clips"]), card["crop"])}
    return {
        name: Input(_rule(entry["rule"]), tuple(entry["shape"]), str(entry["dtype"]))
        for name, entry in card["inputs"].items()
    }


def _clips(rule: ClipRule) -> dict[str, Any]:
    """What is kept of the first input's rule; how training drew its clips is among its settings."""
    kept = {"offsets": list(rule.offsets), "slide": rule.slide}
    if rule.pairs == "last":
        return kept
    return kept | {"pairs": rule.pairs, "distance": rule.distance, "apex": rule.apex}


def _rule(clips: Mapping[str, Any]) -> ClipRule:
    offsets = tuple(int(offset) for offset in clips["offsets"])
    rule = ClipRule(offsets, bool(clips["slide"]))
    if clips.get("pairs", "last") == "last":
        return rule
    distance, apex = int(clips["distance"]), int(clips["apex"])
    return dataclasses.replace(rule, pairs=str(clips["pairs"]), distance=distance, apex=apex)


def build_task(card: Mapping[str, Any]) -> Task:
    """The task of a card, with the settings of its training.

    Raises:
        ValueError: It is not registered here.
    """
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    trained = card.get("training", {}).get("settings", {})
    settings = {name: value for name, value in trained.items() if name in known}
    config = TrainConfig(**(settings | {"architecture": card["architecture"]}))
    own = models.registration(card["architecture"]).task
    return make_task(card.get("task") or own, config)


def build_module(card: Mapping[str, Any]) -> nn.Module:
    """The untrained module of a card."""
    dtype = jnp.bfloat16 if card["precision"] == "bfloat16" else jnp.float32
    fields = models.parse_fields(card["architecture"], card["fields"])
    return models.create_model(card["architecture"], len(card["classes"]), dtype, **fields)


def _check_shapes(
    folder: Path, card: Mapping[str, Any], module: nn.Module, variables: Mapping[str, Any]
) -> None:
    classes, taken = len(card["classes"]), inputs(card)
    if FRAMES in taken and taken[FRAMES].rule.frames != module.frames:
        raise ValueError(
            f"{folder / CARD}: its clips have {taken[FRAMES].rule.frames} frames, and {card['architecture']} "
            f"takes {module.frames}"
        )
    clips = {n: jax.ShapeDtypeStruct((1, *i.clip_shape), i.dtype) for n, i in taken.items()}
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
    made = jax.eval_shape(
        lambda clips: module.init(keys, *(scaled(clips)[n] for n in taken)), clips
    )
    wanted = _shapes({"batch_stats": {}} | made)
    found = _shapes(variables)
    if found == wanted:
        return
    names = sorted(
        name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)
    )
    ours, theirs = wanted.get(names[0]), found.get(names[0])
    if ours and theirs and ours[-1] == classes and ours[:-1] == theirs[:-1]:
        raise ValueError(
            f"{folder / CARD} lists {classes} classes, but its weights were trained for {theirs[-1]}"
        )
    raise ValueError(
        f"{folder}: the weights do not fit {card['architecture']}: {names[0]} is "
        f"{theirs or 'missing'} and must be {ours or 'absent'}"
    )


def _shapes(tree: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(dict(tree))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
