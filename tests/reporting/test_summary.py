"""What is said of a comparison, against counts made by hand."""

import pytest

from run_folders import CLASSES, answers, sequences, write_run
from stfer.evaluation.significance import Pair
from stfer.reporting import runs, scores, summary


def comparison_of(folder):
    (comparison,) = runs.comparisons(runs.find_runs(folder))
    return comparison


def pair(**changes):
    return Pair(
        **{
            "better": "Late fusion",
            "worse": "RNN",
            "sequences": 72,
            "subjects": 12,
            "difference": 0.12,
            "interval": [0.06, 0.18],
            "permutation": 0.0123,
            "mcnemar": 0.01,
            "only_better": 12,
            "only_worse": 3,
            "permutation_raw": 0.004,
            "mcnemar_raw": 0.003,
        }
        | changes
    )


def test_sentences():
    assert summary.pair_sentence(pair()) == (
        "Late fusion above RNN by 12 points (95 % interval 6 to 18, p = 0.012, Holm-corrected)."
    )
    assert summary.pair_sentence(pair(worse="Single frame", permutation=0.0001)) == (
        "Late fusion above single frame by 12 points (95 % interval 6 to 18, p < 0.001, Holm-corrected)."
    )
    assert "12 points apart, which is not established (" in summary.pair_sentence(
        pair(permutation=0.2)
    )
    alone = pair(permutation=None, interval=None)
    assert summary.pair_sentence(alone).endswith("of one subject, from which nothing follows.")


def test_headline_names_the_best_the_order_and_what_is_partial(tmp_path):
    write_run(tmp_path / "a", answers(10, 6), architecture="late_fusion")
    write_run(tmp_path / "b", answers(10, 50), architecture="rnn", folds_total=12)
    comparison = comparison_of(tmp_path)
    pairs = scores.compare(comparison, "summed")
    sentences = summary.headline(comparison, "summed", pairs)
    assert sentences == [
        "Highest: late fusion with 90 % of sequences right (95 % interval 80 to 100 %), on 60 sequences, "
        "10 of 10 folds.",
        "In order: late fusion 90 %, RNN 17 % (10 of 12 folds).",
        "The difference holds at the 5 % level after correction.",
        "Not clearly above chance (the interval reaches it): RNN.",
    ]
    assert summary.partial_notes(comparison) == ["Partial: RNN, seed 0, stands on 10 of 12 folds."]
    table = summary.summary_table(comparison, "summed", "s")
    assert [row[:4] for row in table.rows] == [
        ("Late fusion", "10 of 10", 60, pytest.approx(0.9)),
        ("RNN", "10 of 12", 60, pytest.approx(1 / 6)),
    ]
    assert "leave one subject out" in table.title


def test_too_few_subjects_are_said(tmp_path):
    write_run(tmp_path / "a", answers(4, 1), architecture="late_fusion")
    write_run(tmp_path / "b", answers(4, 22), architecture="rnn")
    comparison = comparison_of(tmp_path)
    pairs = scores.compare(comparison, "summed")
    sentence = (
        "With 4 subjects and 1 pair no difference can be established, however large (the smallest p-value "
        "possible is 0.125): more subjects are needed."
    )
    assert sentence in summary.headline(comparison, "summed", pairs)


def test_seeds_are_averaged_and_spread(tmp_path):
    for seed, wrong in enumerate((6, 12, 18)):
        write_run(tmp_path / str(seed), answers(4, wrong, seed=seed), seed=seed)
    write_run(tmp_path / "other", answers(4, 2), architecture="rnn")
    comparison = comparison_of(tmp_path)
    ours = scores.score(comparison.by_architecture["single_frame"], "summed")
    # 18, 12 and 6 of 24 right.
    assert ours.accuracy == pytest.approx(0.5)
    assert ours.deviation == pytest.approx(0.25)
    assert (ours.lowest, ours.highest, ours.seeds) == (0.25, 0.75, 3)
    assert ours.interval[0] <= 0.5 <= ours.interval[1]
    table = summary.seed_table(comparison, "summed", "seeds")
    assert [row[:2] for row in table.rows] == [("Single frame", "0, 1, 2")]
    (found,) = scores.compare(comparison, "summed")
    assert found.difference == pytest.approx(22 / 24 - 0.5)


def test_one_seed_has_no_spread(run_folder):
    assert summary.seed_table(comparison_of(run_folder), "summed", "seeds") is None


def test_pairs_of_a_partial_run_stand_on_what_both_have(tmp_path):
    write_run(tmp_path / "a", answers(6, 5), architecture="late_fusion")
    write_run(tmp_path / "b", answers(4, 5), architecture="rnn", folds_total=6)
    (found,) = scores.compare(comparison_of(tmp_path), "summed")
    assert (found.sequences, found.subjects) == (24, 4)


def test_seeds_that_disagree_on_a_label_are_refused(tmp_path):
    write_run(tmp_path / "a", answers(2, 1))
    folder = write_run(tmp_path / "b", answers(2, 1), seed=1)
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text.replace(",S002,fear,", ",S001,fear,"))
    with pytest.raises(ValueError, match="different subjects or labels"):
        scores.outcomes(comparison_of(tmp_path).runs, "summed")


def test_hardest_subjects_and_confused_pairs(tmp_path):
    right = {name: name.split("_")[1] for name in sequences(3)}
    # S002 is wrong on four classes of six; S003 on one. Fear is taken for surprise twice.
    wrong = {
        "S002_fear": "surprise",
        "S002_anger": "disgust",
        "S002_sadness": "anger",
        "S002_surprise": "fear",
    }
    write_run(tmp_path / "a", right | wrong | {"S003_fear": "surprise"})
    comparison = comparison_of(tmp_path)
    hardest = summary.hardest_subjects(comparison, "summed")
    assert list(hardest.index) == ["S002", "S003", "S001"]
    assert hardest["accuracy"].tolist() == pytest.approx([2 / 6, 5 / 6, 1])
    first, *rest = summary.confused_pairs(comparison, "summed")
    assert (first.label, first.predicted, first.count, first.total) == ("fear", "surprise", 2, 3)
    assert {(p.label, p.predicted) for p in rest} == {
        ("anger", "disgust"),
        ("sadness", "anger"),
        ("surprise", "fear"),
    }
    assert list(summary.misclassified(comparison, "summed", first).index) == [
        "S002_fear",
        "S003_fear",
    ]


def test_all_right_has_no_confused_pair(tmp_path):
    write_run(tmp_path / "a", {name: name.split("_")[1] for name in sequences(2)})
    assert summary.confused_pairs(comparison_of(tmp_path), "summed") == []


def test_classes_of_the_writer_are_the_projects():
    from stfer.data.sequence import EMOTIONS_6

    assert CLASSES == EMOTIONS_6
