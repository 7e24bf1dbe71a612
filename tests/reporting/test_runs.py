"""Reading run folders: what belongs together, what is refused, what is partial."""

import json

import pytest

from run_folders import answers, write_run
from stfer.evaluation.run_folder import FORMAT
from stfer.reporting import runs, summary
from stfer.reporting.comparisons import comparisons
from stfer.reporting.scores import compare


def test_a_run_says_what_it_is(run_folder):
    run = runs.read_run(run_folder)
    assert (run.architecture, run.data, run.protocol, run.seed) == (
        "single_frame",
        "synthetic",
        "loso",
        0,
    )
    assert (run.folds, run.complete) == ("4 of 4", True)
    assert run.hardware == "cpu, cpu a processor, cores 2"
    assert run.of_vote("summed")["right"].sum() == 18
    assert run.of_vote("maximum")["right"].sum() == 12


def test_predictions_of_another_run_are_refused(run_folder, tmp_path):
    other = write_run(tmp_path / "other", answers(4, 9))
    (other / "predictions.csv").replace(run_folder / "predictions.csv")
    with pytest.raises(
        ValueError, match=r"does not give the summed accuracy 0\.75 of result\.json"
    ):
        runs.read_run(run_folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "config.json is not JSON"),
        (
            "config.json",
            f'{{"format": {FORMAT}, "settings": {{}}, "data": {{}}}}',
            "lacks data.checksum",
        ),
        (
            "config.json",
            '{"format": 1, "settings": {}, "data": {}}',
            f"is of format 1, not {FORMAT}",
        ),
        ("result.json", "{}", "lacks architecture, data"),
        (
            "predictions.csv",
            "sequence,subject\n",
            "predictions.csv lacks the column label, vote, predicted",
        ),
    ],
)
def test_a_damaged_file_is_named(run_folder, file, content, message):
    (run_folder / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        runs.read_run(run_folder)


def test_a_subject_named_na_or_by_number_stays_itself(tmp_path):
    renamed = {
        name.replace("S001", "NA").replace("S002", "007"): c for name, c in answers(2, 3).items()
    }
    run = runs.read_run(write_run(tmp_path / "run", renamed))
    assert set(run.of_vote("summed")["subject"]) == {"NA", "007"}


def test_an_empty_or_missing_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a folder; --workdir"):
        runs.find_runs(tmp_path / "no")
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        runs.find_runs(tmp_path)


def test_a_run_without_a_finished_fold_is_unfinished_not_a_result(run_folder, tmp_path):
    begun = write_run(tmp_path / "begun", answers(2, 1), architecture="rnn")
    result = json.loads((begun / "result.json").read_text())
    (begun / "result.json").write_text(json.dumps(result | {"folds_done": 0, "votes": {}}))
    (begun / "folds").mkdir()
    stopped = tmp_path / "stopped"
    (stopped / "folds" / "held_out=S001").mkdir(parents=True)
    (stopped / "config.json").write_text("{}")
    (stopped / "folds" / "held_out=S001" / "fold.json").write_text("{}")
    assert [run.folder for run in runs.find_runs(tmp_path)] == [run_folder]
    assert runs.unfinished(runs.run_folders(tmp_path)) == [(begun, 0), (stopped, 1)]


def test_only_like_is_compared_with_like(tmp_path):
    def write(name, **identity):
        return write_run(tmp_path / name, answers(2, 2), **identity)

    write("a", architecture="rnn")
    write("b", architecture="late_fusion", settings={"preset": "paper"})  # A name, not a setting.
    write("c", architecture="mine")
    write("other data", checksum="beef")
    write("other protocol", protocol="kfold")
    write("other settings", settings={"learning_rate": 1e-5})
    groups = comparisons(runs.find_runs(tmp_path))
    names = sorted([run.architecture for run in group.runs] for group in groups)
    assert names == [["late_fusion", "rnn", "mine"], *[["single_frame"]] * 3]


@pytest.mark.parametrize(
    "settings", [{"augment": "mirrored"}, {"validation": "0.2"}, {"nobody has listed this": [1, 2]}]
)
def test_runs_that_differ_in_any_setting_share_no_table(tmp_path, settings):
    write_run(tmp_path / "a", answers(4, 9), architecture="rnn", settings=settings)
    write_run(tmp_path / "b", answers(4, 2), architecture="late_fusion")
    groups = comparisons(runs.find_runs(tmp_path))
    assert [[run.architecture for run in group.runs] for group in groups] in (
        [["rnn"], ["late_fusion"]],
        [["late_fusion"], ["rnn"]],
    )
    assert all(not compare(group, "summed") for group in groups)
    name = next(iter(settings)).replace("_", " ")
    assert all(name in group.label for group in groups)


def test_data_that_were_cut_otherwise_share_no_table(tmp_path):
    write_run(tmp_path / "a", answers(4, 9), architecture="rnn")
    folder = write_run(tmp_path / "b", answers(4, 2))
    config = json.loads((folder / "config.json").read_text())
    config["data"]["crop"]["margin"] = 0.3
    (folder / "config.json").write_text(json.dumps(config))
    assert len(comparisons(runs.find_runs(tmp_path))) == 2


def test_a_setting_at_its_default_is_that_of_an_older_run(tmp_path):
    """The other run's version did not have them yet."""
    newer = {"augment": "none", "warmup_epochs": 0.0, "model": {}, "augmentation": {}}
    write_run(tmp_path / "a", answers(4, 9), architecture="rnn", settings=newer)
    write_run(tmp_path / "b", answers(4, 2), settings={"clip_offsets": [-1], "slide": True})
    (comparison,) = comparisons(runs.find_runs(tmp_path))
    assert "augment" not in comparison.settings
    assert comparison.settings["epochs"] == 3


@pytest.mark.slow
def test_an_architecture_of_other_fields_is_another(tmp_path):
    fields = {"block2_features": 384, "block3_features": [384, 256, 256]}
    for seed in (0, 1):
        write_run(tmp_path / f"own {seed}", answers(4, 5, seed), seed=seed)
        folder = tmp_path / f"text {seed}"
        write_run(folder, answers(4, 9, seed), seed=seed, settings={"model": fields})
    (comparison,) = comparisons(runs.find_runs(tmp_path))
    text = "single_frame with block2_features 384, block3_features [384, 256, 256]"
    assert {name: len(found) for name, found in comparison.by_architecture.items()} == {
        "single_frame": 2,
        text: 2,
    }
    assert runs.display_name(text).startswith("Single frame with block2_features 384")
    assert len(compare(comparison, "summed")) == 1
    assert len({runs.file_name(run) for run in comparison.runs}) == 4


def test_seeds_of_unlike_code_are_told(tmp_path):
    for seed in (0, 1):
        code = {"mine.Net": f"digest {seed}"}
        write_run(tmp_path / f"{seed}", answers(4, 5, seed), seed=seed, code=code)
    (comparison,) = comparisons(runs.find_runs(tmp_path))
    (note,) = summary.partial_notes(comparison)
    assert note.startswith("Unlike code: Single frame's seeds 0, 1")


def test_the_same_run_twice_is_refused(tmp_path):
    write_run(tmp_path / "a", answers(2, 2))
    write_run(tmp_path / "b", answers(2, 3))
    with pytest.raises(ValueError, match="same architecture, data, settings and seed"):
        comparisons(runs.find_runs(tmp_path))


def test_comparisons_of_one_title_say_what_differs(tmp_path):
    write_run(tmp_path / "a", answers(2, 2), epochs=3)
    write_run(tmp_path / "b", answers(2, 2), epochs=4)
    write_run(tmp_path / "c", answers(3, 2), epochs=4, checksum="decafbad99")
    write_run(tmp_path / "d", answers(3, 2), data="other")
    assert [c.label for c in comparisons(runs.find_runs(tmp_path))] == [
        "other",
        "synthetic (epochs 3, 2 subjects, data c0ffee)",
        "synthetic (epochs 4, 2 subjects, data c0ffee)",
        "synthetic (epochs 4, 3 subjects, data decafbad)",
    ]


def test_names_in_a_sentence():
    assert [
        runs.in_sentence(runs.display_name(n)) for n in ("late_fusion", "rnn", "conv3d", "ResNet")
    ] == [
        "late fusion",
        "RNN",
        "3D convolution",
        "ResNet",
    ]
