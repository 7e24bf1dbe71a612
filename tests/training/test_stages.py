"""Stages by name: registered again, edited and loaded again, and refused where one would replace another."""

import importlib

import pytest

from stfer.training.stages import STAGES, Stage, register_stages

MODULE = """
from stfer.training.stages import Stage, register_stages

register_stages("in_two_steps")(Stage("first"), Stage("second", {{"epochs": {epochs}}}, start="first"))
"""


@pytest.fixture(autouse=True)
def _registry_as_before(monkeypatch):
    for field in ("_entries", "_sources"):
        monkeypatch.setattr(STAGES, field, dict(getattr(STAGES, field)))


def test_the_same_stages_again_are_no_error():
    for _ in range(2):
        made = register_stages("again")(Stage("one"), Stage("two", start="one"))
    assert STAGES["again"] == made


def test_two_different_ones_of_a_module_are_not_taken_for_an_edit():
    register_stages("taken")(Stage("one"))
    with pytest.raises(ValueError, match="registers two different stages 'taken'; rename one"):
        register_stages("taken")(Stage("other"))
    assert [stage.name for stage in STAGES["taken"]] == ["one"]


def test_an_edited_module_takes_the_place_of_its_own_and_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    (tmp_path / "my_stages.py").write_text(MODULE.format(epochs=2))
    module = importlib.import_module("my_stages")
    (tmp_path / "my_stages.py").write_text(MODULE.format(epochs=30))
    importlib.reload(module)
    assert STAGES["in_two_steps"][1].settings == {"epochs": 30}
    (tmp_path / "their_stages.py").write_text(MODULE.format(epochs=30))
    with pytest.raises(ValueError, match="'in_two_steps' is taken by stages of my_stages"):
        importlib.import_module("their_stages")


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ((Stage("one"), Stage("one")), "have two named 'one'"),
        ((Stage("one", start="two"), Stage("two")), "starts from 'two', which is not before it"),
    ],
)
def test_stages_that_do_not_go_together_are_refused(stages, sentence):
    with pytest.raises(ValueError, match=sentence):
        register_stages("wrong")(*stages)
    assert "wrong" not in STAGES
