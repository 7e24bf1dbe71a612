"""What is said of a comparison, against counts made by hand."""

import pytest

from run_folders import CLASSES, answers, sequences, write_run
from stfer.evaluation.significance import Pair
from stfer.reporting import runs, scores, summary
from stfer.reporting.comparisons import comparisons


def comparison_of(folder):
    (comparison,) = comparisons(runs.find_runs(folder))
    return comparison


def of_subjects(tmp_path, number):
    """A comparison on a set of so many people."""
    write_run(tmp_path / "run", answers(2, 1), folds_total=number)
    return comparison_of(tmp_path)


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


def test_sentences(tmp_path):
    comparison = of_subjects(tmp_path, 12)
    assert summary.pair_sentence(pair(), comparison, 15) == (
        "Late fusion above RNN by 12 points (95 % interval of this pair 6 to 18; p = 0.012 after Holm's correction "
        "for 15 pairs)."
    )
    # An end that rounds to nothing has no sign; a single pair needs no correction.
    few = pair(worse="Single frame", permutation=0.0001, interval=[-0.003, 0.18])
    assert summary.pair_sentence(few, comparison, 1) == (
        "Late fusion above single frame by 12 points (95 % interval of this pair 0 to 18; p < 0.001)."
    )
    unsure = summary.pair_sentence(pair(permutation=0.2), comparison, 1)
    assert "12 points apart, which is not established (" in unsure
    close = summary.pair_sentence(pair(permutation=0.9, difference=0.0139), comparison, 1)
    assert close.startswith("Late fusion and RNN: 1 point apart, which")
    alone = pair(permutation=None, interval=None)
    assert summary.pair_sentence(alone, comparison, 1).endswith(
        "of one subject, from which nothing follows."
    )


def test_a_sentence_on_part_of_the_people_says_so(tmp_path):
    sentence = summary.pair_sentence(pair(), of_subjects(tmp_path, 118), 1)
    assert "by 12 points (12 of 118 subjects; 95 % interval" in sentence


def test_headline_names_the_best_the_order_and_what_is_partial(tmp_path):
    write_run(tmp_path / "a", answers(10, 6), architecture="late_fusion", everybody=12)
    write_run(tmp_path / "b", answers(10, 50), architecture="rnn", folds_total=12)
    comparison = comparison_of(tmp_path)
    pairs = scores.compare(comparison, "summed")
    sentences = summary.headline(comparison, "summed", pairs)
    assert sentences == [
        "Highest: late fusion with 90 % of sequences right (95 % interval 80 to 100 %), on 60 sequences, "
        "10 of 10 folds.",
        "In order: late fusion 90 %, RNN 17 % (10 of 12 folds).",
        "The difference holds at the 5 % level after correction.",
        "Not clearly above always naming the commonest class (the interval reaches that share): RNN (17 %).",
    ]
    assert summary.partial_notes(comparison) == ["Partial: RNN, seed 0, stands on 10 of 12 folds."]
    table = summary.summary_table(comparison, "summed", "s")
    assert [column.title for column in table.columns][5:8] == [
        "Mean over subjects",
        "Unweighted recall",
        "Macro F1",
    ]
    assert [row[:4] + row[5:8] for row in table.rows] == [
        ("Late fusion", "10 of 10", 60, *map(pytest.approx, (0.9, 0.89, 0.88, 0.87))),
        (
            "RNN",
            "10 of 12",
            60,
            *map(pytest.approx, (1 / 6, 1 / 6 - 0.01, 1 / 6 - 0.02, 1 / 6 - 0.03)),
        ),
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


def test_a_seed_that_lacks_folds_is_left_out_of_the_means(tmp_path):
    write_run(tmp_path / "whole", answers(12, 29))
    write_run(tmp_path / "part", answers(2, 0), seed=1, folds_total=12)
    write_run(tmp_path / "other", answers(12, 60), architecture="rnn")
    comparison = comparison_of(tmp_path)
    ours = scores.score(comparison.by_architecture["single_frame"], "summed")
    assert (ours.seeds, ours.folds, ours.accuracy) == (1, "12 of 12", pytest.approx(43 / 72))
    (found,) = scores.compare(comparison, "summed")
    assert (found.subjects, found.holds) == (12, True)
    assert summary.partial_notes(comparison) == [
        "Partial: Single frame, seed 1, stands on 2 of 12 folds; fewer than another seed, so it is left out."
    ]
    # Nor do its mistakes count: the 29 of the whole run and the RNN's 60 do.
    wrong = sum(pair.count for pair in summary.confused_pairs(comparison, "summed", number=99))
    assert wrong == 29 + 60


def test_seeds_of_the_same_folds_are_averaged_though_folds_are_lacking(tmp_path):
    for seed, wrong in enumerate((0, 12)):
        write_run(tmp_path / str(seed), answers(4, wrong), seed=seed, folds_total=12)
    comparison = comparison_of(tmp_path)
    ours = scores.score(comparison.runs, "summed")
    assert (ours.seeds, ours.folds, ours.accuracy) == (2, "4 of 12", 0.75)
    assert summary.seed_table(comparison, "summed", "seeds").rows[0][1] == "0, 1"


def test_an_order_over_other_sequences_is_provisional(tmp_path):
    write_run(tmp_path / "a", answers(12, 6), architecture="late_fusion")
    write_run(tmp_path / "b", answers(10, 50), architecture="rnn", folds_total=12)
    comparison = comparison_of(tmp_path)
    sentences = summary.headline(comparison, "summed", scores.compare(comparison, "summed"))
    assert sentences[2].startswith("They were not all tested on the same sequences, so this order")


def test_chance_is_the_commonest_class_of_what_was_tested(tmp_path):
    """Five of ten sequences show surprise: guessing it is right half of the time, not a sixth."""
    names = [f"S{n:03d}_{label}" for n in range(5) for label in ("surprise", "fear")]
    names[1] = "S000_anger"
    write_run(tmp_path / "run", dict.fromkeys(names, "surprise"))
    comparison = comparison_of(tmp_path)
    assert comparison.chance == 0.5
    (_, low) = summary.headline(comparison, "summed", [])
    assert low.endswith("(the interval reaches that share): single frame (50 %).")


def test_disjoint_runs_are_not_compared(tmp_path):
    write_run(tmp_path / "a", answers(2, 1), folds_total=4)
    write_run(tmp_path / "b", answers(2, 1, first=3), architecture="rnn", folds_total=4)
    comparison = comparison_of(tmp_path)
    pairs = scores.compare(comparison, "summed")
    assert pairs == []
    assert (
        "No two of them were tested on the same sequences, so none can be compared."
        in summary.headline(comparison, "summed", pairs)
    )


def test_seeds_that_disagree_on_a_label_are_refused(tmp_path):
    write_run(tmp_path / "a", answers(2, 1))
    folder = write_run(tmp_path / "b", answers(2, 1), seed=1)
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text.replace(",S002,fear,", ",S001,fear,"))
    with pytest.raises(ValueError, match="different sequences, subjects or labels"):
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
