"""The paper's settings, and settings that cannot be trained with."""

import pytest

from stfer.training.config import TrainConfig, preset


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
