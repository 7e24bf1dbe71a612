"""experiments.train and pretrain without a training: several seeds after a stop, and nobody for validation."""

import pytest

import tiny
from experiments import command, final_model, pretrain, train
from given_flags import given
from stfer.data.shards import load_shards
from stfer.runs import environment, pretraining

STOPPED = 130


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The trainings that are made; each is stopped at once."""
    trained = []

    def stopped(training, write):
        trained.append(training)
        return STOPPED

    monkeypatch.setattr(final_model, "make", stopped)
    monkeypatch.setattr(environment, "set_up_jax", lambda cache: None)
    return trained


def flags(tmp_path):
    data = tiny.write_set(tmp_path / "set")
    return ("--modules=tiny", "--arch=tiny", f"--data={data}", f"--out={tmp_path / 'model'}")


def test_a_stop_ends_all_seeds_of_train(tmp_path, made, capsys):
    with given(train.define_flags, *flags(tmp_path), "--seeds=0,1,2"):
        assert train.main([]) == STOPPED
    assert len(made) == 1
    assert capsys.readouterr().out.count("Settings") == 1


def test_nobody_for_validation_is_no_early_stopping(tmp_path, made):
    own = flags(tmp_path)
    with given(train.define_flags, *own, "--validation=none"):
        assert train.main([]) == STOPPED
    with given(train.define_flags, *own, "--validation=S001"):
        train.main([])
    assert [one.config.patience for one in made] == [0, train.PATIENCE]


def test_pretrain_stops_at_once_and_refuses_validation(tmp_path, made, monkeypatch, capsys):
    shards = load_shards(tiny.write_set(tmp_path / "set"))
    sets = pretraining.PairSets(shards, shards)
    monkeypatch.setattr(pretraining, "pair_sets", lambda *about: sets)
    out = (f"--out={tmp_path / 'model'}", f"--cache_dir={tmp_path}")
    with given(pretrain.define_flags, *out, "--seeds=0,1"):
        assert pretrain.main([]) == STOPPED
    assert len(made) == 1
    assert capsys.readouterr().out.count("Settings") == 1
    with (
        given(pretrain.define_flags, *out, "--validation=0.2"),
        pytest.raises(command.UserError, match=r"--validation=0.2: every one of --people"),
    ):
        pretrain.main([])
