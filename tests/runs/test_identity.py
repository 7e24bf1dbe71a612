"""What makes a run the same: settings, data, and the source of what the user brought."""

import importlib
import json
import sys

import numpy as np
import pytest

import tiny
from stfer.data.shards import load_shards
from stfer.evaluation.run_folder import SettingsDifferError
from stfer.runs import cross_validate
from stfer.runs.plan import prepare, same_run
from stfer.runs.source import source_digests
from stfer.training.config import TrainConfig, identity

MODEL = '''"""A model."""
import my_layers
import tiny
from stfer import models


@models.register("edited")
class Mine(tiny.Tiny):
    """Ours."""

    def __call__(self, clips, *, train=False, mask=None):
        logits, out = super().__call__(clips, train=train, mask=mask)
        return my_layers.scaled(logits), out
'''
LAYERS = "def scaled(x):\n    return x * {}\n"


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A folder of the user's modules; returns a function that writes and (re)loads them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(factor, model=MODEL):
        (tmp_path / "my_layers.py").write_text(LAYERS.format(factor))
        (tmp_path / "my_model.py").write_text(model)
        importlib.invalidate_caches()
        for name in ("my_layers", "my_model"):
            sys.modules.pop(name, None)
            importlib.import_module(name)
        return sys.modules["my_model"]

    yield load
    for name in ("my_layers", "my_model"):
        sys.modules.pop(name, None)


@pytest.fixture
def data(tmp_path):
    return tiny.write_set(tmp_path / "set", subjects=3)


def test_changed_code_is_never_pooled_with_old_folds(user, data, tmp_path):
    options = {"workdir": tmp_path / "runs", "epochs": 1, "batch_size": 6}
    user(2)
    assert cross_validate("edited", data, max_folds=1, **options)["folds_done"] == 1
    user(3)  # A file that the model's file imports has changed, and the same command is given.
    with pytest.raises(SettingsDifferError, match=r"code\.my_layers is '\w{12}' there"):
        cross_validate("edited", data, **options)
    user(2)
    assert cross_validate("edited", data, **options)["folds_done"] == 3


def test_comments_and_docstrings_are_no_change(user):
    before = source_digests([user(2).Mine])
    assert set(before) == {"my_layers", "my_model", "stfer.models", "stfer.training", "tiny"}
    commented = MODEL.replace("A model.", "A model, explained.").replace("super()", "super() ")
    assert source_digests([user(2, commented + "# A remark.\n").Mine]) == before
    assert source_digests([user(2, MODEL.replace("* ", "")).Mine]) == before
    changed = source_digests([user(5).Mine])
    assert [name for name in before if changed[name] != before[name]] == ["my_layers"]


def test_a_setting_that_an_old_run_does_not_know_is_at_its_default(data, tmp_path):
    plan = prepare(TrainConfig("tiny", epochs=2), "loso", load_shards(data), tmp_path)
    record = json.loads(json.dumps(plan.record()))
    old = record | {"settings": {k: v for k, v in record["settings"].items() if k != "augment"}}
    assert same_run(old) == same_run(record)
    assert same_run(old) != same_run(record | {"settings": record["settings"] | {"augment": "x"}})
    assert identity({"architecture": "a", "preset": "demo"}) == identity({"architecture": "a"})


@pytest.mark.slow
def test_the_docstring_of_the_public_call_runs(data, tmp_path):
    import doctest

    from stfer.runs import crossval

    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(
        crossval.cross_validate,
        "cross_validate",
        globs={"shard_folder": str(_large(tmp_path)), "runs": tmp_path / "runs"},
    )
    results = doctest.DocTestRunner().run(example)
    assert (results.failed, results.attempted) == (0, 4)


def _large(folder):
    """A set of noise that is large enough for the paper's networks."""
    from stfer.data.shards import write_shards

    random = np.random.default_rng(0)
    rows = [
        (f"{who}_{label}", who, label, random.integers(0, 256, (15, 128, 128, 3), np.uint8))
        for who in ("S1", "S2")
        for label in ("anger", "surprise")
    ]
    return write_shards(folder / "large", rows, name="noise", classes=("anger", "surprise"))
