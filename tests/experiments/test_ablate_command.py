"""experiments.ablate without a training: what it runs on whom, and how it ends."""

import pytest

import tiny
from experiments import ablate
from given_flags import given
from stfer.runs import crossval, environment
from stfer.training import settings_file
from stfer.training.config import TrainConfig


@pytest.fixture
def ablation(tmp_path, monkeypatch):
    """Runs the command on the tiny set; gives its exit code and the folds of each run, which train nothing."""
    data = tiny.write_set(tmp_path / "set", subjects=4)
    monkeypatch.setattr(environment, "set_up_jax", lambda cache: None)
    monkeypatch.setattr(ablate, "_report", lambda out: True)

    def run(*words, failures=()):
        made = []

        def train(plan, names, *more):
            made.append(list(names))
            return crossval.Outcome(None, failures, ())

        monkeypatch.setattr(crossval, "run", train)
        own = ("--modules=tiny", "--arch=tiny", f"--data={data}", f"--workdir={tmp_path / 'runs'}")
        with given(ablate.define_flags, *own, "--epochs=1", *words):
            return ablate.main([]), made

    return run


def test_failed_folds_do_not_end_the_study_and_end_in_a_failure(ablation):
    words = ("--base=paper", "--target=paper", "--change=augment=mirror")
    assert ablation(*words) == (0, [["S000", "S001", "S002", "S003"]] * 2)
    code, made = ablation(*words, failures=["S001: its loss is not finite"])
    assert (code, len(made)) == (1, 2)


def test_people_who_chose_an_ends_settings_are_not_tested_unless_named(ablation, tmp_path, capsys):
    best = tmp_path / "best.json"
    config = TrainConfig("tiny", epochs=1, learning_rate=0.5)
    settings_file.write(
        best, settings_file.Found(config, "tiny-set", {"tiny-set": ["S000", "S002"]})
    )
    assert ablation(f"--target={best}") == (0, [["S001", "S003"]] * 2)
    assert "the settings were chosen on 2 people" in capsys.readouterr().out
    assert (
        ablation(f"--base={best}", "--target=paper", "--subjects=S000", f"--out={tmp_path}")[0] == 0
    )
    assert "so their accuracy says too much" in capsys.readouterr().out
