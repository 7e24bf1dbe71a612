"""What is drawn, read back from the figure's own texts and lines."""

import hashlib

import numpy as np
import pytest

from run_folders import CLASSES
from stfer.reporting import figures, runs


@pytest.mark.slow
def test_draw_run_writes_every_figure_twice(run_folder):
    written = figures.draw_run(run_folder)
    names = {"confusion_summed", "confusion_maximum", "training"}
    assert {path.name for path in written} == {f"{n}.{e}" for n in names for e in ("png", "svg")}
    assert all(path.parent == run_folder / "figures" for path in written)
    for path in written:
        start = path.read_bytes()[:200]
        assert start.startswith(b"\x89PNG") if path.suffix == ".png" else b"<?xml" in start


@pytest.mark.slow
def test_the_same_run_gives_the_same_svg(run_folder):
    def draw():
        written = [path for path in figures.draw_run(run_folder) if path.suffix == ".svg"]
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in written]

    assert draw() == draw()


def test_confusion_matrix_shows_counts_and_row_percentages(run_folder):
    run = runs.read_run(run_folder)
    axes = figures.confusion_figure(run, "maximum").axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    matrix = np.array(run.result["votes"]["maximum"]["confusion_matrix"])
    assert len(texts) == 36
    for row in range(6):
        for column in range(6):
            percent = round(100 * matrix[row, column] / 4)
            assert texts[(column, row)] == f"{matrix[row, column]}\n{percent}%"
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)
    title = axes.get_title(loc="left")
    assert "4 of 4 folds" in title
    assert "accuracy 0.500 of 24" in title


def test_a_class_without_sequences_has_no_percentage(run_folder):
    with figures.canvas(3, 3) as (_, axes):
        figures.draw_confusion(axes[0, 0], np.array([[3, 1], [0, 0]]), ("a", "b"))
    assert [text.get_text() for text in axes[0, 0].texts] == [
        "3\n75%",
        "1\n25%",
        "0\n\N{EN DASH}",
        "0\n\N{EN DASH}",
    ]


def test_curves_are_the_mean_over_folds(run_folder):
    run = runs.read_run(run_folder)
    loss, accuracy = figures.training_figure(run).axes
    curves = {line.get_label(): line.get_xydata() for line in loss.lines}
    # Four subjects i = 0 ... 3 with loss 2.5 / epoch + i / 10: mean 0.15 above.
    np.testing.assert_allclose(curves["held out"], [[e, 2.5 / e + 0.15] for e in (1, 2, 3)])
    np.testing.assert_allclose(curves["training"], [[e, 2 / e] for e in (1, 2, 3)])
    assert accuracy.get_ylim()[1] > 1
    band = loss.collections[1].get_paths()[0].vertices
    # 10th and 90th percentile of 0, .1, .2, .3 are .03 and .27.
    assert band[:, 1].max() == pytest.approx(2.5 + 0.27)
    assert band[:, 1].min() == pytest.approx(2.5 / 3 + 0.03)


@pytest.mark.slow
def test_missing_history_draws_the_rest(run_folder):
    header = (run_folder / "history.csv").read_text().splitlines()[0]
    (run_folder / "history.csv").write_text(header + "\n")
    assert {path.stem for path in figures.draw_run(run_folder)} == {
        "confusion_summed",
        "confusion_maximum",
    }
