"""A search: its space, who it may look at, what a stop costs, and what it leaves."""

import csv
import dataclasses
import importlib.util
import json

import numpy as np
import pytest

import tiny
from stfer.data.sequence import EMOTIONS_6
from stfer.data.shards import load_shards, write_shards
from stfer.data.shards.subset import subset
from stfer.evaluation.run_folder import SettingsDifferError
from stfer.reporting import search as report
from stfer.runs import Launch, final, inner_folds, nested, search, search_results
from stfer.runs.plan import same_run
from stfer.runs.search_space import Dimension, chosen, parse_space, start
from stfer.training import settings_file
from stfer.training.config import TrainConfig
from stfer.training.fit import Stopped

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="the extra 'search' is not installed"
)

SPACE = parse_space("learning_rate:log:1e-4:1e-1,batch_size:4|8,augment:none|mirror")
BASE = TrainConfig("tiny", epochs=2, batch_size=4, learning_rate=1e-2)
HELD_OUT = "S003"
TRIALS = 7


def shards_of(folder, poison=False):
    """Five people; with `poison` the held-out one's pixels are noise, and all his sequences show happiness."""
    rows = list(tiny.sequences(subjects=5, uneven=False))
    if poison:
        random = np.random.default_rng(9)
        rows = [
            (i, s, label, random.integers(0, 256, f.shape).astype(np.uint8)) if s == HELD_OUT else (i, s, label, f)
            for i, s, label, f in rows
        ]  # fmt: skip
    return load_shards(write_shards(folder, rows, name="five"))


def made(shards, folder, **changed):
    fold = final.split(shards.subjects, HELD_OUT, "", 0)
    known = {"base": BASE, "space": SPACE, "inner_folds": 2, "modules": ["tiny"]} | changed
    return inner_folds.Search(shards=subset(shards, fold.train), folder=folder, **known)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return shards_of(tmp_path_factory.mktemp("data") / "clean")


@pytest.fixture(scope="module")
def whole(shards, tmp_path_factory):
    """An uninterrupted search; from the sixth trial on, the median rule may end one."""
    one = made(shards, tmp_path_factory.mktemp("search"))
    return one, search.run(one, TRIALS)


def core(trials):
    """What must be the same to the bit: values drawn, accuracies, what was reported, how it ended."""
    return [(t.values, t.value, t.reported, t.state) for t in trials if t.counts]


def test_a_space_is_read():
    space = parse_space(
        "learning_rate:log:1e-5:1e-3, batch_size:16|32,model.units:int:5:64,clip_norm:float:0:2"
    )
    assert space == (
        Dimension("learning_rate", "log", 1e-5, 1e-3),
        Dimension("batch_size", "choice", choices=("16", "32")),
        Dimension("model.units", "int", 5, 64),
        Dimension("clip_norm", "float", 0, 2),
    )
    (nested_lists,) = parse_space("model.block3_features:[384,256,256]|[256,256,256]")
    assert nested_lists.choices == ("[384,256,256]", "[256,256,256]")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("learning_rate", "must read"),
        ("learning_rate:log:1e-3", "must read"),
        ("learning_rate:log:1e-3:1e-5", "smaller one first"),
        ("learning_rate:log:0:1", "positive"),
        ("epochs:int:1.5:3", "whole numbers"),
        ("batch_size:16", "must read"),
        ("batch_size:16|16", "must read"),
        ("epochs:int:1:3,epochs:4|5", "twice"),
    ],
)
def test_a_bad_space_is_named(text, word):
    with pytest.raises(ValueError, match=word):
        parse_space(text)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("lerning_rate:log:1e-5:1e-3", "lerning_rate"),
        ("model.units:int:5:64", "no field 'units'"),
        ("epochs:float:1:3", "whole number"),
    ],
)
def test_a_space_of_unknown_names_is_refused_before_the_first_trial(shards, tmp_path, text, word):
    one = made(shards, tmp_path / "search", space=parse_space(text))
    with pytest.raises(ValueError, match=word):
        search.run(one, 1)
    assert not (tmp_path / "search").exists()


def test_values_become_settings():
    config = chosen(
        TrainConfig("rnn", model={"units": 7, "dropout": 0.5}),
        {"learning_rate": 2e-4, "batch_size": "16", "model.units": 12},
    )
    assert (config.learning_rate, config.batch_size) == (2e-4, 16)
    assert config.model == {"units": 12, "dropout": 0.5}


def test_the_base_is_the_first_trial_where_the_space_holds_it():
    text = "learning_rate:log:1e-5:1e-3,batch_size:16|32,model.units:int:5:64"
    space = parse_space(f"{text},recompute_statistics:true|false")
    first = {"learning_rate": 1e-5, "batch_size": "32", "model.units": 5}
    first["recompute_statistics"] = "false"
    assert start(space, TrainConfig("rnn")) == first
    assert start(space, TrainConfig("rnn", batch_size=8)) is None


@pytest.mark.slow
def test_a_search_writes_its_trials_its_best_settings_and_figures(whole):
    one, trials = whole
    assert len(trials) == TRIALS
    assert trials[0].values == {"learning_rate": 1e-2, "batch_size": "4", "augment": "none"}
    written = search_results.write(one, trials) + report.draw(one.folder)
    names = {path.name for path in written}
    assert names >= {"search.csv", "best.json", "best_so_far.png", "best_so_far.svg"}
    with open(one.folder / "search.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == [trial.state for trial in trials]
    complete = [float(row["accuracy"]) for row in rows if row["accuracy"]]
    best = json.loads((one.folder / "best.json").read_text())
    assert best["accuracy"] == max(complete) > 1 / 6
    assert best["searched"] == {
        "data": "five",
        "people": {"five": ["S000", "S001", "S002", "S004"]},
    }
    found = settings_file.read(one.folder / "best.json")
    assert found.config.learning_rate == best["chosen"]["learning_rate"]
    assert found.config.epochs == BASE.epochs
    assert "best: trial" in report.result_text(trials)


@pytest.mark.slow
def test_the_value_is_the_mean_accuracy_of_the_inner_folds(shards, whole):
    """Trained again by hand: a fold for each half of the people, tested on the other half."""
    from stfer.runs import folds as one_group
    from stfer.runs.folds import Engines

    one, trials = whole
    plan = one.plan(BASE, one.folder / "again")
    assert [fold.subjects for fold in plan.folds] == [("S000", "S002"), ("S001", "S004")]
    means = []
    for fold in plan.folds:
        engines = Engines(plan)
        (fitted,) = one_group.train(engines, [fold], checkpoint_seconds=float("inf"))
        found = one_group.evaluate(plan, engines.last, fitted).predictions
        means.append(sum(p.predicted["summed"] == p.label for p in found) / len(found))
    assert trials[0].value == pytest.approx(sum(means) / 2, abs=1e-12)


@pytest.mark.slow
def test_a_held_out_persons_pixels_change_no_bit_of_a_search(whole, tmp_path):
    poisoned = shards_of(tmp_path / "poisoned", poison=True)
    one, trials = whole
    other = made(poisoned, tmp_path / "search")
    assert core(search.run(other, TRIALS)) == core(trials)
    for each in (one, other):
        search_results.write_trials(each, trials)
    assert (other.folder / "best.json").read_bytes() == (one.folder / "best.json").read_bytes()
    assert one.record() == other.record()


@pytest.mark.slow
def test_a_search_reads_no_frame_of_another(shards, monkeypatch, tmp_path):
    read = set()
    own = type(shards).stream
    monkeypatch.setattr(
        type(shards), "stream", lambda self, name, row: read.add(self.subjects[row]) or own(self, name, row)
    )  # fmt: skip
    search.run(made(shards, tmp_path), 1)
    assert read == {"S000", "S001", "S002", "S004"}


@pytest.mark.slow
def test_a_stopped_search_loses_the_trial_under_way_and_ends_as_one_that_was_not(
    shards, whole, tmp_path
):
    one = made(shards, tmp_path)
    asked = iter(range(10_000))
    first = search.run(one, TRIALS, should_stop=lambda: next(asked) > 20)
    assert [t.state for t in first][-1] == "lost"
    assert 0 < len(core(first)) < TRIALS
    assert core(first) == core(whole[1])[: len(core(first))]
    assert core(search.run(one, TRIALS)) == core(whole[1])


@pytest.mark.slow
def test_a_budget_of_no_minutes_begins_no_trial(shards, tmp_path):
    assert search.run(made(shards, tmp_path), TRIALS, minutes=0) == []
    with pytest.raises(ValueError, match="no trial of the search is complete"):
        search.best([])


@pytest.mark.slow
def test_another_search_in_the_same_folder_is_refused(whole):
    one, _ = whole
    other = dataclasses.replace(one, base=BASE.replace(epochs=3))
    with pytest.raises(SettingsDifferError, match=r"settings.epochs is 2 there and 3 here"):
        search.run(other, TRIALS)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_a_failed_trial_with_its_reason(shards, tmp_path):
    space = parse_space("learning_rate:log:1e30:1e35")
    (trial,) = search.run(made(shards, tmp_path, space=space), 1)
    assert trial.state == "failed"
    assert "at learning rate" in trial.reason
    assert "failed: trial 0" in report.result_text([trial])


@pytest.mark.slow
def test_a_nested_search_tests_people_who_chose_nothing(shards, tmp_path):
    template = inner_folds.Search(BASE, SPACE, shards, tmp_path, 2, (0, 1), modules=["tiny"])
    one = nested.Nested(template, "loso", 1, launch=Launch("none"))
    result = nested.run(one, ["S000", "S003"])
    assert [row["fold"] for row in result["folds"]] == ["S000", "S003"]
    for name in ("S000", "S003"):
        file = tmp_path / "outer" / f"held_out={name}" / "search" / "search.json"
        record = json.loads(file.read_text())
        assert name not in record["subjects"]
        assert len(record["subjects"]) == 4
    gain = result["gain"]["summed"]
    assert (gain["sequences"], gain["subjects"]) == (12, 2)
    accuracies = [v["summed"]["accuracy"] for v in result["votes"]["searched"]]
    assert gain["accuracy"] == pytest.approx(np.mean(accuracies))
    assert gain["difference"] == pytest.approx(gain["accuracy"] - gain["reference"])
    assert report.nested_table(result).rows[0][3] == gain["accuracy"]
    assert nested.run(one, ["S000", "S003"]) == result  # Nothing is trained anew.


def test_settings_of_a_file_take_further_changes(tmp_path):
    file = tmp_path / "best.json"
    config = TrainConfig("rnn", model={"units": 9}, learning_rate=3e-4)
    settings_file.write(file, settings_file.Found(config, "set", {"group": ["S1"]}), trial=3)
    found = settings_file.read(file)
    assert (found.config, found.data, found.people) == (config, "set", {"group": ["S1"]})
    changed = found.with_changes({"epochs": 7, "model": {"dropout": 0.1}, "seed": None})
    assert changed == config.replace(epochs=7, model={"units": 9, "dropout": 0.1})
    file.write_text('{"format": 1, "settings": {"architecture": "rnn"}}')
    with pytest.raises(ValueError, match="is of format 1, not 2: make it anew"):
        settings_file.read(file)
    file.write_text('{"format": 2, "settings": {"architecture": "rnn", "lr": 1}}')
    with pytest.raises(ValueError, match=r"best.json sets lr, which is no setting"):
        settings_file.read(file)


def test_a_part_of_a_set_holds_these_sequences_alone(shards):
    rows = [7, 2]
    part = subset(shards, rows)
    assert part.ids == tuple(shards.ids[row] for row in rows)
    assert [part.classes[label] for label in part.labels] == [EMOTIONS_6[row % 6] for row in rows]
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(part.frames(place), shards.frames(row))
    assert part.checksum != subset(shards, [2, 7]).checksum
    with pytest.raises(ValueError, match="at least one sequence"):
        subset(shards, [])


@pytest.fixture
def untrained(monkeypatch):
    """Trials that train nothing: each reports and returns the next of the accuracies given; None stops."""

    def give(*accuracies):
        left = list(accuracies)

        def inner(search_, config, report, should_stop):
            accuracy = left.pop(0)
            if accuracy is None:
                raise Stopped
            for epoch in range(1, search_.base.epochs + 1):
                report(epoch, accuracy)
            return accuracy

        monkeypatch.setattr(search, "inner_accuracy", inner)

    return give


@pytest.mark.slow
def test_the_median_rule_ends_a_trial_that_falls_behind(shards, tmp_path, untrained):
    one = made(shards, tmp_path, base=BASE.replace(epochs=8))
    untrained(0.5, 0.6, 0.7, 0.8, 0.9, 0.3, 0.75)
    trials = search.run(one, 7)
    assert [t.state for t in trials] == ["complete"] * 5 + ["pruned", "complete"]
    # A quarter of the epochs is spared the rule, so that it ends the trial after the third.
    assert (trials[5].value, trials[5].reported) == (None, (3, 0.3))
    assert search.best(trials).number == 4


@pytest.mark.slow
def test_a_trial_whose_process_is_gone_is_made_up_for_once(shards, tmp_path, untrained):
    one = made(shards, tmp_path)
    study = search.open_study(one)
    search._ask(one, study, 3, ".worker-gone")  # Its owner holds no lock: as after a kill.
    untrained(0.5, 0.6, 0.7)
    trials = search.run(one, 3)
    assert [t.state for t in trials] == ["lost", "complete", "complete", "complete"]
    assert trials[1].values == trials[0].values  # the lost one's, first
    assert [t.number for t in trials if t.counts] == [1, 2, 3]
    with search._owner(one.folder) as owner:
        search._ask(
            one, study, 4, owner
        )  # A live process works on it: it counts, and is left alone.
        assert search.run(one, 4)[-1].state == "running"


@pytest.mark.slow
def test_values_that_every_process_dies_of_are_not_tried_for_ever(shards, tmp_path, untrained):
    one = made(shards, tmp_path)
    untrained(None, None, 0.5)
    stops = iter([False, True] * 2 + [False] * 9)
    states = [search.run(one, 1, should_stop=lambda: next(stops)) for _ in range(2)][-1]
    assert [t.state for t in states] == ["lost", "lost"]
    assert states[0].values == states[1].values
    (*_, last) = search.run(one, 1)
    assert last.state == "complete"
    assert last.values != states[0].values


@pytest.mark.slow
def test_an_outer_fold_whose_training_has_begun_is_searched_no_further(
    shards, tmp_path, untrained, monkeypatch
):
    """With a limit of minutes the first sitting makes one trial, and another would make a second, better one."""
    template = inner_folds.Search(BASE, SPACE, shards, tmp_path, 2, modules=["tiny"])
    one = nested.Nested(template, "loso", 9)
    begun, most, own = [], [1], search.run

    def stopped_at_once(plan, names, launch, should_stop):
        plan.folder.create(plan.record(), same_run)
        begun.append(plan.config)
        raise Stopped

    monkeypatch.setattr(nested, "_trained", stopped_at_once)
    monkeypatch.setattr(search, "run", lambda part, trials, *more: own(part, most[0], *more))
    untrained(0.5, 0.9)
    for most[0] in (1, 2):
        with pytest.raises(Stopped):
            nested.run(one, ["S000"])
    assert begun[0] == begun[1]
