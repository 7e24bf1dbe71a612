"""The registry: what is registered with an architecture, what it refuses, fields read from text."""

import importlib
import sys
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax.typing import DTypeLike

from stfer.data.clips import ClipRule, evaluation_clips, sliding, training_clip
from stfer.models import (
    ARCHITECTURES,
    create_model,
    describe_fields,
    parse_fields,
    register,
    registration,
    registry,
    rnn,
)


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    """What a test registers is gone after it."""
    for held in ("_entries", "_sources"):
        kept = dict(getattr(registry._REGISTRATIONS, held))
        monkeypatch.setattr(registry._REGISTRATIONS, held, kept)


class Mine(nn.Module):
    """Fields of every kind."""

    num_classes: int = 6
    dtype: jnp.dtype = jnp.float32
    frames: int = 3
    rate: float = 0.5
    gated: bool = False
    widths: tuple[int, ...] = (4,)
    span: tuple[int, float] = (1, 0.5)
    limit: int | None = None
    mode: str = "mean"
    inner: jnp.dtype = jnp.float32
    outer: DTypeLike = jnp.float32
    activation: Callable[[jax.Array], jax.Array] = nn.relu


def other():
    """Another module of the same name."""

    class Mine(nn.Module):
        frames: int = 3

    return Mine


# Written out by hand from the paper's section VI-B: the training clip of twenty frames, and how many vote.
RULES = {
    "single_frame": ([19], 20),
    "early_fusion": ([10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 1),
    "late_fusion": ([5, 19], 1),
    "slow_fusion": ([10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 1),
    "conv3d": ([15, 16, 17, 18, 19], 16),
    "rnn": ([15, 16, 17, 18, 19], 1),
    "pair_difference": ([5, 19], 1),
}


def test_the_frames_that_each_architecture_sees(architecture):
    rules = registration(architecture).rules(ARCHITECTURES[architecture].frames)
    assert list(rules) == ["frames"]
    clip, votes = RULES[architecture]
    assert training_clip(rules["frames"], 20).tolist() == clip
    clips = evaluation_clips(rules["frames"], 20)
    assert len(clips) == votes
    assert clips[-1].tolist() == clip


def test_late_fusion_with_more_towers_spans_the_same_frames():
    assert registration("late_fusion").rules(3)["frames"].offsets == (-15, -8, -1)


def test_a_registration_holds_everything_about_an_architecture():
    pair = ClipRule((-5, -1))
    assert register("mine", clips=pair, task="crf", inputs=("frames", "landmarks"))(Mine) is Mine
    found = registration("mine")
    assert (found.name, found.module, found.task) == ("mine", Mine, "crf")
    assert found.rules(2) == {"frames": pair, "landmarks": pair}
    assert ARCHITECTURES["mine"] is Mine
    assert create_model("mine", num_classes=4).num_classes == 4
    with pytest.raises(ValueError, match="rule of mine gives 2 frames, the model takes 3"):
        found.rules(3)


def test_each_input_can_have_a_rule_of_its_own():
    register("mine", clips={"landmarks": sliding, "audio": ClipRule((-2, -1))},
             inputs=("frames", "landmarks", "audio"))(Mine)  # fmt: skip
    rules = registration("mine").rules(3)
    assert rules["frames"] == ClipRule((-3, -2, -1))
    assert rules["landmarks"] == sliding(3)
    assert rules["audio"] == ClipRule((-2, -1))
    with pytest.raises(ValueError, match="has clip rules for audio, but its inputs are frames"):
        register("another", clips={"audio": sliding})
    with pytest.raises(ValueError, match="must be different names"):
        register("another", inputs=("frames", "frames"))


def test_the_same_module_again_takes_the_earlier_one_s_place():
    register("mine")(Mine)
    register("mine", clips=ClipRule((-5, -3, -1)))(Mine)
    assert registration("mine").rules(3)["frames"].offsets == (-5, -3, -1)


def test_another_module_under_a_taken_name_is_refused():
    register("mine")(Mine)
    with pytest.raises(ValueError, match="'mine' is taken by Mine of test_registry"):
        register("mine")(other())
    with pytest.raises(ValueError, match="'rnn' is taken by RNN"):
        register("rnn")(Mine)
    assert ARCHITECTURES["mine"] is Mine


SOURCE = """
import flax.linen as nn
from stfer.models import register

@register("reloaded")
class Reloaded(nn.Module):
    frames: int = FRAMES
"""


def test_a_reloaded_file_registers_what_it_holds_now(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "researcher.py"
    file.write_text(SOURCE.replace("FRAMES", "3"))
    module = importlib.import_module("researcher")
    file.write_text(SOURCE.replace("FRAMES", "77"))
    importlib.invalidate_caches()
    importlib.reload(module)
    assert registration("reloaded").module is module.Reloaded
    assert ARCHITECTURES["reloaded"].frames == 77


def test_a_cell_of_a_notebook_runs_twice():
    cell = SOURCE.replace("FRAMES", "3")
    for _ in range(2):
        space = {"__name__": "__main__"}
        exec(cell, space)
    assert ARCHITECTURES["reloaded"] is space["Reloaded"]


def test_create_model_names_what_it_does_not_know():
    with pytest.raises(
        ValueError, match=r"architecture must be one of single_frame, .*, not 'resnet'"
    ):
        create_model("resnet")
    with pytest.raises(ValueError, match=r"'rnn' has no field 'unit'; it has .*units"):
        create_model("rnn", unit=3)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("frames", "5", 5),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("gated", "True", True),
        ("gated", "false", False),
        ("widths", "384,256,256", (384, 256, 256)),
        ("widths", "(384, 256)", (384, 256)),
        ("widths", "[384]", (384,)),
        ("widths", "()", ()),
        ("widths", [3, 4], (3, 4)),
        ("span", "2,1.5", (2, 1.5)),
        ("limit", "none", None),
        ("limit", "7", 7),
        ("mode", "max", "max"),
        ("mode", "7", "7"),
        ("inner", "bfloat16", jnp.dtype("bfloat16")),
        ("outer", "bfloat16", jnp.dtype("bfloat16")),
        ("activation", "gelu", jax.nn.gelu),
        ("activation", "numpy_like", None),
    ],
)
def test_a_field_s_value_is_read_as_its_declared_type(field, text, value, monkeypatch):
    if text == "numpy_like":  # A function of the file of the architecture itself.
        value = abs
        monkeypatch.setattr(sys.modules[__name__], text, value, raising=False)
    register("mine")(Mine)
    found = parse_fields("mine", {field: text})
    assert found == {field: value}
    assert type(found[field]) is type(value)
    if value is not abs:
        assert parse_fields("mine", describe_fields(found)) == found
    assert getattr(create_model("mine", **found), field) == value


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("frames", "five", "'frames' of mine takes a whole number, not 'five'"),
        ("frames", "1.5", "a whole number, not '1.5'"),
        ("frames", 1.5, "a whole number, not 1.5"),
        ("frames", True, "a whole number, not True"),
        ("rate", "fast", "a number, not 'fast'"),
        ("gated", "1", "true or false, not '1'"),
        ("widths", "3,x", "several values of int, separated by commas, not '3,x'"),
        ("widths", 3, "several values of int"),
        ("span", "1,2,3", "several values"),
        ("limit", "x", "a whole number or none, not 'x'"),
        ("inner", "floaty", "a type of number, such as float32, not 'floaty'"),
        ("outer", "floaty", "a type of number, such as float32, not 'floaty'"),
        ("activation", "relux", "name of a function, not 'relux': neither test_registry nor jax.nn has"),
        ("num_classes", "3", "'num_classes' of mine follows the classes of the data"),
        ("dtype", "bfloat16", "follows the precision"),
        ("width", "3", "'mine' has no field 'width'; it has .*frames, rate"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused(field, text, message):
    register("mine")(Mine)
    with pytest.raises(ValueError, match=message):
        parse_fields("mine", {field: text})


def test_the_paper_s_text_by_flags():
    fields = parse_fields(
        "late_fusion", {"block2_features": "384", "block3_features": "384,256,256"}
    )
    assert fields == {"block2_features": 384, "block3_features": (384, 256, 256)}
    # Keras 2's own hard sigmoid, not the steeper one of JAX.
    found = parse_fields("rnn", {"recurrent_activation": "hard_sigmoid"})
    assert found == {"recurrent_activation": rnn.hard_sigmoid}


def test_annotations_that_are_text_are_read_too():
    space = {"__name__": "test_registry"}
    exec(
        "from __future__ import annotations\nimport flax.linen as nn\n"
        "class Later(nn.Module):\n    frames: int = 3\n    widths: tuple[int, ...] = ()\n"
        "    thing: Unknown = None",
        space,
    )
    register("later")(space["Later"])
    found = parse_fields("later", {"frames": "4", "widths": "5,6", "thing": "[1, 2]"})
    assert found == {"frames": 4, "widths": (5, 6), "thing": (1, 2)}
