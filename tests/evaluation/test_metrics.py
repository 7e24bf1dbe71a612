"""The metrics against values worked by hand and against a bootstrap written out in full."""

import json

import numpy as np
import pytest

from stfer.evaluation import metrics

# Three subjects: A has 4 sequences (3 right), B has 2 (0 right), C has 2 (2 right).
LABELS = np.array([0, 0, 1, 2, 0, 1, 2, 2])
PREDICTED = np.array([0, 0, 1, 0, 1, 0, 2, 2])
SUBJECTS = ["A", "A", "A", "A", "B", "B", "C", "C"]


def test_figures_worked_by_hand():
    summary = metrics.summarise(LABELS, PREDICTED, SUBJECTS, 3)
    assert summary["accuracy"] == pytest.approx(5 / 8)
    assert summary["subject_mean_accuracy"] == pytest.approx((3 / 4 + 0 + 1) / 3)
    # Recalls: class 0 2 of 3, class 1 1 of 2, class 2 2 of 3.
    assert summary["unweighted_average_recall"] == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    # F1 = 2 TP / (predicted + true): class 0 4/7, class 1 2/4, class 2 4/5.
    assert summary["macro_f1"] == pytest.approx((4 / 7 + 2 / 4 + 4 / 5) / 3)
    assert summary["confusion_matrix"] == [[2, 1, 0], [1, 1, 0], [1, 0, 2]]
    assert summary["chance"] == pytest.approx(3 / 8)  # Classes 0 and 2 have three sequences each.


def test_an_absent_class_counts_neither_for_nor_against():
    # Class 3 does not occur at all; class 2 is predicted but never true.
    summary = metrics.summarise([0, 0, 1, 1], [0, 2, 1, 1], ["A", "B", "A", "B"], 4)
    assert summary["unweighted_average_recall"] == pytest.approx((1 / 2 + 1) / 2)
    assert summary["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert np.shape(summary["confusion_matrix"]) == (4, 4)
    assert np.sum(summary["confusion_matrix"]) == 4


def test_interval_agrees_with_a_bootstrap_of_whole_sequences_by_subject():
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(20), rng.integers(1, 7, 20))
    right = rng.random(len(subjects)) < rng.random(20)[subjects]
    accuracies = []
    for _ in range(4000):
        drawn = rng.integers(0, 20, 20)
        accuracies.append(np.concatenate([right[subjects == s] for s in drawn]).mean())
    expected = np.percentile(accuracies, [2.5, 97.5])

    summary = metrics.summarise(
        np.zeros(len(subjects), int), np.where(right, 0, 1), subjects.astype(str), 2, resamples=4000
    )
    np.testing.assert_allclose(summary["accuracy_interval"], expected, atol=0.015)


def test_interval_is_wider_when_errors_come_by_subject():
    """The same 50 %: errors spread within every subject, or whole subjects right or wrong."""
    subjects = np.repeat(np.arange(10), 6).astype(str)
    truth = np.zeros(60, int)
    spread = metrics.summarise(truth, np.tile([0, 1], 30), subjects, 2)["accuracy_interval"]
    clustered = metrics.summarise(truth, np.repeat([0, 1], 30), subjects, 2)["accuracy_interval"]
    assert spread == [0.5, 0.5]
    assert clustered[1] - clustered[0] > 0.4


def test_same_seed_same_interval():
    first = metrics.summarise(LABELS, PREDICTED, SUBJECTS, 3, seed=5)
    again = metrics.summarise(LABELS, PREDICTED, SUBJECTS, 3, seed=5)
    assert first == again
    assert json.loads(json.dumps(first)) == first


def test_one_subject_has_no_interval():
    assert metrics.summarise([0, 1], [0, 0], ["A", "A"], 2)["accuracy_interval"] is None


def test_all_right():
    summary = metrics.summarise([0, 1, 2], [0, 1, 2], ["A", "B", "C"], 3)
    assert summary["accuracy_interval"] == [1.0, 1.0]
    assert summary["macro_f1"] == 1.0


@pytest.mark.parametrize(
    ("labels", "predicted", "subjects", "message"),
    [
        ([], [], [], "not empty"),
        ([0, 1], [0], ["A", "B"], "equally long"),
        ([0, 1], [0, 1], ["A"], "equally long"),
        ([0, 3], [0, 1], ["A", "B"], "labels must lie in 0 ... 2"),
        ([0, 1], [-1, 1], ["A", "B"], "predicted must lie in 0 ... 2"),
        ([0.0, 1.0], [0, 1], ["A", "B"], "class numbers"),
    ],
)
def test_wrong_input_is_refused(labels, predicted, subjects, message):
    with pytest.raises(ValueError, match=message):
        metrics.summarise(labels, predicted, subjects, 3)
