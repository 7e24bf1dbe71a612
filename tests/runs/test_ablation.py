"""An ablation: its steps, and its table against values worked out by hand from made-up run folders."""

import functools
import json
from typing import Any

import flax.linen as nn
import pytest

import run_folders
import tiny
from stfer import models
from stfer.data.shards import load_shards
from stfer.evaluation.run_folder import SettingsDifferError
from stfer.reporting import ablation as reporting
from stfer.reporting import from_folders, runs
from stfer.runs import Launch, ablation, crossval
from stfer.training.config import TrainConfig, preset


def test_one_change_at_a_time_and_all_together():
    steps = ablation.steps(
        preset("paper", "late_fusion", epochs=5), preset("strong", "late_fusion", epochs=5)
    )
    assert [step.name for step in steps] == [
        "base",
        "dropout 0.3",
        "normalize local_contrast",
        "optimizer adamw, weight decay 0.0001",
        "learning rate 0.001",
        "clip norm 1.0",
        "schedule cosine, warmup epochs 2.0",
        "label smoothing 0.1",
        "augment faces",
        "recompute statistics on",
        "all together",
    ]
    base, _, normalize, optimizer = (step.config for step in steps[:4])
    assert normalize.model == {"normalize": "local_contrast"}
    assert normalize.replace(model={}).to_dict() == base.to_dict()
    assert (optimizer.optimizer, optimizer.weight_decay, optimizer.schedule) == ("adamw", 1e-4, "constant")  # fmt: skip
    assert steps[-1].config.to_dict() | {"preset": ""} == preset(
        "strong", "late_fusion", epochs=5
    ).to_dict() | {"preset": ""}
    assert len({step.folder for step in steps}) == len(steps)


def test_what_the_network_does_anyway_is_no_change():
    base, target = (preset(name, "pair_difference", epochs=5) for name in ("paper", "strong"))
    assert target.model == {"normalize": "local_contrast", "dropout": 0.3}
    names = [step.name for step in ablation.steps(base, target)]
    assert names[:2] == ["base", "optimizer adamw, weight decay 0.0001"]
    steps = ablation.steps(base.replace(model={"normalize": "none"}), target)
    assert steps[1].name == "normalize local_contrast"
    assert steps[1].config.model == {"normalize": "local_contrast"}


def test_a_default_that_json_does_not_know_is_no_hindrance():
    @models.register("with_partial")
    class Partial(tiny.Tiny):
        norm: Any = functools.partial(nn.BatchNorm, momentum=0.9)

    base = TrainConfig("with_partial")
    assert [step.name for step in ablation.steps(base, base.replace(epochs=3))] == [
        "base",
        "epochs 3",
    ]


def test_what_means_nothing_alone_changes_alone_where_its_leader_is_the_same():
    base = TrainConfig("late_fusion", optimizer="adamw")
    (_, only) = ablation.steps(base, base.replace(weight_decay=0.1))
    assert (only.name, only.config.weight_decay) == ("weight decay 0.1", 0.1)
    with pytest.raises(ValueError, match="nothing to change"):
        ablation.steps(base, base.replace(preset="other", seed=3))


def test_a_distance_of_pairs_changes_with_the_clips_that_it_is_of():
    base = TrainConfig("late_fusion")
    target = base.replace(clips="random", pair_distance=3, apex_frames=4)
    names = [step.name for step in ablation.steps(base, target)]
    assert names == ["base", "clips random, pair distance 3, apex frames 4"]


def test_statistics_that_patience_forbids_change_with_it():
    early = {"validation": "0.2", "patience": 5, "recompute_statistics": False}
    strong = preset("strong", "late_fusion")
    (_, one) = ablation.steps(strong, strong.replace(**early))
    assert one.name == "validation 0.2, patience 5, recompute statistics off"
    later = strong.replace(validation="0.2")
    (_, two) = ablation.steps(later, later.replace(**early))
    assert two.name == "patience 5, recompute statistics off"


@pytest.fixture
def study(tmp_path):
    """Twelve people with six sequences each; the base errs on sadness and on fear, each step as its name says."""
    names = run_folders.sequences(12)

    def answers(*wrong):
        return {n: "anger" if n.split("_")[1] in wrong else n.split("_")[1] for n in names}

    wrong = {"base": ("sadness", "fear"), "fear right": ("sadness",), "no change": ("sadness", "fear"),
             "both right": ()}  # fmt: skip
    steps = []
    for name, classes in wrong.items():
        settings = {"learning_rate": 1e-5 * (len(steps) + 1)}
        folder = run_folders.write_run(
            tmp_path / "ablation" / name, answers(*classes), settings=settings, architecture="rnn"
        )
        (folder / "folds").mkdir()
        steps.append({"name": name, "runs": [name]})
    steps.append({"name": "not yet", "runs": ["nowhere"]})
    record = {"format": 1, "steps": steps, "protocol": "loso", "seeds": [0]}
    (tmp_path / "ablation" / "ablation.json").write_text(json.dumps(record))
    return tmp_path


def test_the_table_against_values_worked_out_by_hand(study):
    (found,) = reporting.find_studies(study)
    effects = reporting.effects(found, "summed")
    assert [effect.name for effect in effects] == ["fear right", "no change", "both right"]
    # 12 of 72 sequences more, one for everybody: each resample of people gives the same.
    assert effects[0].gain.difference == pytest.approx(12 / 72)
    assert effects[0].gain.interval == pytest.approx([12 / 72, 12 / 72])
    assert effects[1].gain.difference == 0
    assert effects[2].gain.accuracy == 1
    # Of 2^12 swaps two are as extreme; Holm's factors are 3 for the smallest of three, then 2; the third is 1.
    raw = 2 / 2**12
    assert [effect.gain.p for effect in effects] == pytest.approx([raw, 1, raw])
    assert [effect.p for effect in effects] == pytest.approx([3 * raw, 1, 3 * raw])
    assert [effect.holds for effect in effects] == [True, False, True]
    table = reporting.effect_table(found, effects, "summed", "ablation_1")
    assert [row[0] for row in table.rows] == ["base", "fear right", "no change", "both right"]
    assert table.rows[0][4] == pytest.approx(48 / 72)
    assert "Of 3 differences 2 hold" in reporting.sentence(effects)
    assert any("Without a result yet: not yet" in note for note in table.notes)


def test_few_people_can_establish_nothing_and_the_sentence_says_so(study):
    (found,) = reporting.find_studies(study)
    effects = reporting.effects(found, "summed")
    few = [
        reporting.Effect(e.name, reporting.gain([1, 1, 1], [0, 0, 0], ["A", "B", "C"]), 0.75, 1, "3 of 3")
        for e in effects
    ]  # fmt: skip
    assert "With 3 subjects and 3 steps no difference can be established" in reporting.sentence(few)


@pytest.mark.slow
def test_its_runs_stand_in_the_page_once_and_not_as_comparisons(study):
    assert runs.run_folders(study) == []
    studies = reporting.find_studies(study)
    folders = [run.folder for run in studies[0].ends]
    out = study / "report"
    paths = from_folders.write(folders, [], from_folders.Options(out), studies=studies)
    page = paths[0].read_text()
    assert "What each change adds: RNN, synthetic" in page
    assert "both right" in page
    assert (out / "figures" / "ablation_1.svg").is_file()
    assert "fear right" in (out / "tables" / "ablation_1.csv").read_text()


@pytest.mark.slow
def test_a_study_is_made_and_goes_on(tmp_path):
    shards = load_shards(tiny.write_set(tmp_path / "set", subjects=3))
    base = TrainConfig("tiny", epochs=1, batch_size=4, learning_rate=1e-2)
    target = base.replace(augment="mirror", label_smoothing=0.1)
    study = ablation.Ablation(base, target, shards, "loso", tmp_path / "out", (0, 1))
    made = []

    def make(plan, names):
        made.append(plan.folder.path)
        return not crossval.run(plan, names, Launch("none")).stopped

    names = ["S000", "S001"]
    assert (
        ablation.run(study, names, lambda plan, names: len(made) < 3 and make(plan, names)) is False
    )
    assert ablation.run(study, names, make)
    assert len(made) == len(set(made)) == 8  # base, two changes, both; two seeds each
    found = reporting.read_study(tmp_path / "out")
    effects = reporting.effects(found, "summed")
    assert [(effect.seeds, effect.gain.sequences) for effect in effects] == [(2, 11)] * 3
    other = ablation.Ablation(base, target.replace(epochs=2), shards, "loso", tmp_path / "out", (0, 1))  # fmt: skip
    with pytest.raises(SettingsDifferError, match=r"target\.epochs"):
        ablation.run(other, names, make)
