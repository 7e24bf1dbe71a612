"""The registries of readers, detectors and protocols: names, repetition, and what is refused."""

import doctest
import importlib
import sys

import pytest

from stfer.data.faces import DETECTORS, detectors
from stfer.data.readers import READERS, registry
from stfer.registries import Registry


def first():
    pass


def second():
    pass


@pytest.fixture(autouse=True)
def _registries_as_before(monkeypatch):
    for known in (READERS, DETECTORS):
        for field in ("_entries", "_sources"):
            monkeypatch.setattr(known, field, dict(getattr(known, field)))


def test_the_same_source_may_register_again_and_another_may_not():
    names = Registry("reader")
    names.add("a", first, 1)
    names.add("a", first, 2)
    assert dict(names) == {"a": 2}
    with pytest.raises(
        ValueError, match=r"the reader name 'a' is taken by first of .*; register sec"
    ):
        names.add("a", second, 3)
    assert names["a"] == names.find("a") == 2
    with pytest.raises(ValueError, match="reader must be one of a, not 'b'"):
        names.find("b")


@pytest.mark.parametrize("name", ["", "../up", "a b", "a/b", ".", "-a", "é"])
def test_names_that_cannot_be_a_flag_or_a_folder_are_refused(name):
    with pytest.raises(ValueError, match="is no name of a protocol"):
        Registry("protocol").add(name, first, 1)


def test_a_module_that_is_loaded_again_registers_again(tmp_path, monkeypatch):
    (tmp_path / "reloaded_reader.py").write_text(
        "from stfer.data.readers import register_reader\n"
        "@register_reader('reloaded')\n"
        "def read(root):\n"
        "    return [], []\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("reloaded_reader")
    earlier = READERS["reloaded"].read
    importlib.reload(module)
    del sys.modules["reloaded_reader"]
    assert READERS["reloaded"].read is module.read is not earlier


def test_what_the_package_brings():
    assert {"ck_plus", "oulu_casia", "manifest"} <= READERS.keys()
    assert READERS["ck_plus"].options == ()
    assert READERS["oulu_casia"].options == ("lights", "modality")
    assert READERS["manifest"].population is None
    assert {name: DETECTORS[name].margin for name in ("lbp", "yunet", "none")} == {
        "lbp": 0.35, "yunet": 0.05, "none": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize("module", [registry, detectors])
def test_the_docstrings_examples_run(module):
    results = doctest.testmod(module)
    assert results.failed == 0
    assert results.attempted > 1
