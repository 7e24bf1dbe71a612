"""The paper's settings, and settings that cannot be trained with."""

import pytest

from stfer.runs.search_space import chosen
from stfer.training.config import TrainConfig, preset
from stfer.training.settings_file import Found
from stfer.training.stages import Stage


def test_the_paper_preset_is_the_papers_section_six_a():
    config = preset("paper", "late_fusion")
    assert (config.learning_rate, config.adam_epsilon) == (1e-5, 1e-7)
    assert (config.batch_size, config.epochs, config.precision) == (32, 200, "float32")
    assert not config.recompute_statistics  # Keras' running statistics.
    assert preset("demo", "late_fusion").recompute_statistics


def test_overrides_replace_and_none_leaves():
    config = preset("paper", "rnn", epochs=3, seed=None)
    assert (config.epochs, config.seed) == (3, 0)


def test_a_presets_strengths_go_with_its_own_augmentation():
    assert preset("carry", "pair_difference", augment="faces").augmentation["erase"] == 0.15
    assert preset("carry", "pair_difference", augment="none").augmentation == {}
    other = preset("carry", "pair_difference", augment="none", augmentation={"erase": 1})
    assert other.augmentation == {"erase": 1}


@pytest.mark.parametrize(
    ("changed", "strengths"),
    [
        ({"augment": "none"}, {}),
        ({"augment": "faces"}, {"erase": 0.2, "rotation": 8}),
        ({"augmentation": {"erase": 1}}, {"erase": 1, "rotation": 8}),
        ({"augment": "mirror", "augmentation": {"erase": 1}}, {"erase": 1}),
        ({"augment": None, "epochs": 3}, {"erase": 0.2, "rotation": 8}),
    ],
)
def test_strengths_do_not_outlive_their_augmentation_wherever_settings_are_changed(
    changed, strengths
):
    """Of a file with settings, of a search's trial, of a stage."""
    base = TrainConfig("rnn", augment="faces", augmentation={"erase": 0.2, "rotation": 8})
    assert Found(base).with_changes(changed).augmentation == strengths
    stage = Stage("one", {k: v for k, v in changed.items() if v is not None})
    assert stage.config(base).augmentation == strengths
    named = {f"augment.{k}": v for k, v in changed.get("augmentation", {}).items()}
    trial = {k: v for k, v in changed.items() if k != "augmentation" and v is not None} | named
    assert chosen(base, trial).augmentation == strengths
    assert base.augmentation == {"erase": 0.2, "rotation": 8}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", -1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("seed", -1),
        ("precision", "float16"),
    ],
)
def test_a_field_out_of_range_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        TrainConfig("rnn", **{field: value})


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"must be one of paper, .*demo"):
        preset("quick", "rnn")
