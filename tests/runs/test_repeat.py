"""The printed command that makes a run again, run."""

import json
import shlex

import pytest

import tiny
from experiments_run import run
from stfer.data.sources import Source
from stfer.runs import repeat
from stfer.training.config import PRESETS, TrainConfig, parse_assignments, preset


@pytest.mark.slow
def test_the_printed_command_gives_the_same_predictions(tmp_path):
    tiny.write_set(tmp_path / "my set", subjects=3)
    given = (
        "--data=my set", "--modules=tiny", "--arch=tiny", "--preset=strong", "--epochs=2", "--batch_size=5",
        "--seed=3", "--max_folds=2", "--augment=mirror", "--norecompute_statistics", "--clips=-9,-2",
        "--set=learning_rate=0.01",
    )  # fmt: skip
    done = run("loso", *given, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (first,) = (tmp_path / "runs").rglob("config.json")
    words = shlex.split(repeat.command(json.loads(first.read_text())))
    assert words[:3] == ["python", "-m", "experiments.loso"]
    done = run("loso", *words[3:], "--workdir=again", "--max_folds=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (again,) = (tmp_path / "again").rglob("config.json")
    for name in ("predictions.csv", "history.csv"):
        assert (first.parent / name).read_bytes() == (again.parent / name).read_bytes()


def test_every_setting_and_the_set_are_in_the_command():
    config = preset(
        "paper", "late_fusion", model={"block3_features": [384, 256, 256]}, seed=7, weight_decay=0.5,
        validation="S1,S2", patience=4, recompute_statistics=False,
    )  # fmt: skip
    record = {
        "settings": config.to_dict() | {"protocol": "kfold"},
        "arguments": Source(
            synthetic_seed=5,
            synthetic_subjects=12,
            synthetic_size=150,
            synthetic_margin=0.2,
            neutral=True,
        ).arguments(),
        "modules": ["mine", "other"],
    }
    words = shlex.split(repeat.command(record))
    for word in (
        "--arch=late_fusion", "--data=synthetic", "--synthetic_seed=5", "--synthetic_subjects=12", "--neutral=true",
        "--synthetic_size=150", "--synthetic_margin=0.2",
        "--protocol=kfold", "--modules=mine,other", "--preset=paper", "--seed=7", "--weight_decay=0.5",
        "--validation=S1,S2", "--patience=4", "--set=model.block3_features=[384, 256, 256]",
    ):  # fmt: skip
        assert word in words
    assert not any(word.startswith(("--epochs", "--learning_rate")) for word in words)


def test_a_new_setting_is_in_the_command_without_being_listed_there():
    """Each field of the settings, changed alone, is in the command."""
    changed = {
        "task": "x", "stages": "x", "epochs": 3, "batch_size": 3, "optimizer": "x", "learning_rate": 0.5,
        "adam_epsilon": 0.5, "weight_decay": 0.5, "clip_norm": 0.5, "schedule": "x", "warmup_epochs": 0.5,
        "label_smoothing": 0.5, "augment": "x", "validation": "S1", "clips": "-2,-1", "seed": 3,
        "pairs": "all", "pair_distance": 3, "apex_frames": 3,
        "precision": "bfloat16", "recompute_statistics": True,
    }  # fmt: skip
    fields = set(TrainConfig("rnn").to_dict())
    assert fields - changed.keys() == {
        "architecture",
        "model",
        "augmentation",
        "patience",
        "preset",
    }
    for name, value in changed.items():
        settings = TrainConfig("rnn", **{name: value}).to_dict()
        command = repeat.command({"settings": settings})
        assert f"--{name}=" in command


def test_a_run_with_a_presets_strengths_under_another_augmentation_is_repeated_with_them():
    strengths = PRESETS["carry"]["augmentation"]
    for augment, given in (("mirror", strengths), ("mirror", {"erase": 0.5}), ("none", {})):
        run = preset("carry", "pair_difference", augment=augment, augmentation=given)
        words = shlex.split(repeat.command({"settings": run.to_dict()}))
        assert f"--augment={augment}" in words
        assigned = [w.removeprefix("--set=") for w in words if w.startswith("--set=augment.")]
        changed = parse_assignments(assigned)
        assert preset("carry", "pair_difference", augment=augment, **changed) == run
    kept = repeat.command({"settings": preset("carry", "pair_difference").to_dict()})
    assert "augment" not in kept
