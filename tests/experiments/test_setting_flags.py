"""Settings as flags say them, without a training."""

import pytest
from absl import flags

import given_flags
import tiny
from experiments import flags as shared
from experiments import search
from stfer.data.shards import load_data, load_shards, write_shards
from stfer.training import config as config_lib
from stfer.training import settings_file
from stfer.training.config import TrainConfig


def given(*words):
    return given_flags.given(_define, *words)


def _define():
    shared.define_data()
    shared.define_settings("late_fusion")
    shared.define_seeds()
    flags.DEFINE_string("base", "paper", "")


@pytest.fixture
def best(tmp_path):
    """A file of settings that stop early by validation subjects."""
    config = TrainConfig("late_fusion", validation="0.2", patience=3)
    settings_file.write(tmp_path / "best.json", settings_file.Found(config))
    return tmp_path / "best.json"


def test_without_its_flag_the_validation_of_a_file_stays(best):
    with given(f"--settings={best}"):
        assert shared.settings().validation == "0.2"
    with given(f"--settings={best}", "--validation=0.3"):
        assert shared.settings().validation == "0.3"
    with given(f"--settings={best}", "--validation=none"):
        assert (shared.settings().validation, shared.settings().patience) == ("", 0)
    with given(f"--base={best}"):
        assert shared.end_settings("base", []).validation == "0.2"


def test_without_its_flag_the_validation_of_a_preset_stays(monkeypatch):
    known = {"early": {"validation": "0.1", "patience": 4}}
    monkeypatch.setattr(config_lib, "PRESETS", config_lib.PRESETS | known)
    with given("--preset=early"):
        assert shared.settings().validation == "0.1"


def test_people_who_chose_the_settings_are_known_in_every_set_of_their_population(tmp_path):
    def written(name, population):
        rows = list(tiny.sequences(3))
        return write_shards(tmp_path / name, rows, name=name, population=population)

    folders = [written("weak", "oulu"), written("other", "ck")]
    people = {"oulu": ["S000", "S002"]}
    found = settings_file.Found(TrainConfig("late_fusion"), "strong", people)
    settings_file.write(tmp_path / "best.json", found)
    with given(f"--settings={tmp_path / 'best.json'}"):
        assert shared.searched_on(load_shards(folders[0])) == {"S000", "S002"}
        assert shared.searched_on(load_shards(folders[1])) == set()
        both = load_data(",".join(map(str, folders)))
        assert shared.searched_on(both) == {"oulu:S000", "oulu:S002"}
    with given():
        assert shared.searched_on(both) == set()


def test_an_unreadable_file_is_named_with_its_own_flag(tmp_path):
    file = tmp_path / "list.json"
    file.write_text("[]")
    with given(f"--base={file}"), pytest.raises(ValueError, match=f"^--base={file} holds no"):
        shared.end_settings("base", [])
    with given(f"--settings={file}"), pytest.raises(ValueError, match=f"^--settings={file} holds"):
        shared.settings()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("--protocol=kfold", "--max_folds=2"),
            "only --nested has: leave --protocol, --max_folds out",
        ),
        (("--checkpoint_seconds=9",), "leave --checkpoint_seconds out"),
        (("--subjects=A", "--parallel=none"), "leave --subjects, --parallel out"),
        (("--device_data=streamed",), "leave --device_data out"),
        (("--nested", "--launcher=ray"), "--nested searches here.*: leave --launcher out"),
        (("--nested", "--held_out=A"), "leave --held_out out"),
    ],
)
def test_search_refuses_flags_that_would_change_nothing(words, sentence):
    pytest.importorskip("optuna")
    with (
        given_flags.given(search.define_flags, *words),
        pytest.raises(ValueError, match=sentence),
    ):
        search.main([])
