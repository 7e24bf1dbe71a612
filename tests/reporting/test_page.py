"""The whole report, and its page read by an HTML parser."""

import base64
import json
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from matplotlib import colors

from run_folders import CLASSES, answers, sequences, write_run
from speed_figures import figures as figures_of_a_card
from stfer.evaluation import voting
from stfer.reporting import (
    comparison_figures,
    figures,
    page,
    report,
    runs,
    speed,
    voting_example,
)
from stfer.reporting.comparisons import comparisons

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Reader(HTMLParser):
    """Collects tags, addresses, ids and text, and checks that tags close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.links, self.ids, self.alts = [], [], [], [], []
        self.text = ""
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "link":
            assert attrs == {"rel": "icon", "href": "data:,"}, "no icon is asked of a server"
            return
        self.addresses += [attrs[name] for name in ("src", "srcset") if name in attrs]
        if "href" in attrs:
            self.links.append(attrs["href"])
        if "id" in attrs:
            self.ids.append(attrs["id"])
        if tag == "img":
            self.alts.append(attrs.get("alt"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def read(path):
    reader = Reader()
    reader.feed(path.read_text())
    assert not reader.open
    reader.text = " ".join(reader.text.split())
    return reader


@pytest.fixture(autouse=True)
def _svg_alone(monkeypatch):
    """Leave the PNGs, which take most of the time, to the tests of single figures."""
    monkeypatch.setattr(figures, "FORMATS", ("svg",))


@pytest.fixture
def workdir(tmp_path):
    write_run(tmp_path / "runs" / "a", answers(8, 4), architecture="late_fusion", everybody=10)
    write_run(tmp_path / "runs" / "b", answers(8, 40), architecture="rnn", folds_total=10)
    write_run(tmp_path / "runs" / "c", answers(4, 3), data="<set> & co", protocol="kfold")
    return tmp_path / "runs"


@pytest.mark.slow
def test_the_report_is_whole_and_needs_nothing_else(workdir, tmp_path):
    out = tmp_path / "report"
    given = []

    def frames(comparison, sequence):
        if comparison.data != "synthetic":
            return None
        given.append(sequence)
        return np.zeros((15, 20, 20, 3), np.uint8)

    shown, paths = report.write_report(
        comparisons(runs.find_runs(workdir)),
        out,
        frames=frames,
        unfinished=[(workdir / "d", 3)],
        speed=speed.table(figures_of_a_card()),
    )
    assert paths[0] == out / "index.html"
    assert all(path.is_file() for path in paths)
    names = [table.name for table in shown]
    assert len(set(names)) == len(names)
    assert {f"table_{i}" for i in range(1, 9)} < set(names)
    assert {path.name for path in (out / "tables").iterdir()} == {
        f"{name}.{ending}" for name in names for ending in ("txt", "csv", "md", "tex")
    }

    html = read(paths[0])
    assert "script" not in html.tags
    assert all(address.startswith("data:image/") for address in html.addresses)
    assert all(link.startswith("#") and link[1:] in html.ids for link in html.links)
    assert len(set(html.ids)) == len(html.ids)
    assert all(html.alts)
    pictures = [address for address in html.addresses if address.startswith("data:image/jpeg")]
    assert len(pictures) == 4 * len(given) > 0
    for text in (
        "Late fusion above RNN by",
        "Partial: RNN, seed 0, stands on 8 of 10 folds.",
        f"Not in this report: {workdir / 'd'} has no finished result (3 folds are done).",
        "<set> & co, 10 subject-disjoint folds, ids ascending, every tenth",
        "Mollahosseini et al. 2016",
        "Speed on a card: a batch of 32 clips",
        "posed expression is not a felt emotion",
        "--arch=late_fusion --data=synthetic --synthetic_subjects=8 --preset=demo --epochs=",
    ):
        assert text in html.text


@pytest.mark.slow
def test_without_pictures_no_face_is_in_the_page(workdir, tmp_path):
    found = comparisons(runs.find_runs(workdir))
    _, paths = report.write_report(found, tmp_path / "report")
    html = read(paths[0])
    assert all(address.startswith("data:image/svg") for address in html.addresses)
    assert "Without pictures" in html.text


@pytest.mark.slow
def test_finished_figures_are_copied_and_old_ones_drawn_anew(run_folder, tmp_path):
    figures.draw_run(run_folder)
    own = run_folder / "figures" / "training.svg"
    own.write_text("<svg/>")
    found = comparisons(runs.find_runs(run_folder))
    report.write_report(found, tmp_path / "one")
    copied = tmp_path / "one" / "figures" / "synthetic_loso" / "single_frame_seed0" / "training.svg"
    assert copied.read_text() == "<svg/>"
    (run_folder / "result.json").write_text((run_folder / "result.json").read_text())
    report.write_report(found, tmp_path / "two")
    drawn = tmp_path / "two" / copied.relative_to(tmp_path / "one")
    assert len(drawn.read_text()) > 1000


@pytest.mark.slow
def test_two_comparisons_of_one_name_keep_apart(tmp_path):
    write_run(tmp_path / "runs" / "a", answers(2, 2))
    write_run(tmp_path / "runs" / "b", answers(2, 3), checksum="beef")
    shown, _ = report.write_report(comparisons(runs.find_runs(tmp_path / "runs")), tmp_path / "out")
    names = [table.name for table in shown if table.name.startswith("summary")]
    assert names == [
        "summary_synthetic_loso_summed",
        "summary_synthetic_loso_maximum",
        "summary_synthetic_loso_v2_summed",
        "summary_synthetic_loso_v2_maximum",
    ]


def test_film_strip_shows_first_to_apex_in_true_colours():
    frames = np.zeros((15, 40, 40, 3), np.uint8)
    frames[:, :, :, 0] = np.arange(15)[:, None, None] * 10  # Red grows to the apex.
    strip = page._film_strip(frames)
    data = [np.frombuffer(base64.b64decode(s.split(",")[1]), np.uint8) for s in strip]
    reds = [cv2.imdecode(d, cv2.IMREAD_COLOR).mean(axis=(0, 1)) for d in data]
    # Frames 0, 5, 9 and 14 of 15, in OpenCV's blue, green, red.
    np.testing.assert_allclose([r[2] for r in reds], [0, 50, 90, 140], atol=6)
    np.testing.assert_allclose([r[0] for r in reds], 0, atol=6)
    assert len(page._film_strip(frames[:2])) == 2


def test_worked_voting_example_disagrees_and_adds_up():
    example = voting_example.worked_example()
    assert (example.summed, example.maximum) == ("surprise", "fear")
    assert example.choices == ("fear", "fear", "fear", "surprise", "surprise")
    # By hand: .40 + .45 + .50 + .10 + .05, and so on.
    assert example.sums == pytest.approx((1.5, 0.7, 2.8))
    assert example.counts == (3, 0, 2)
    assert all(sum(row) == pytest.approx(1) for row in example.probabilities)
    assert set(voting.vote(example.probabilities)) == {"summed", "maximum"}


def test_accuracy_figure_shows_what_was_measured(tmp_path):
    write_run(tmp_path / "a", answers(4, 6), maximum=answers(4, 12), data="ck_plus", everybody=9)
    write_run(tmp_path / "b", answers(4, 18), architecture="rnn", data="ck_plus", folds_total=9)
    (comparison,) = comparisons(runs.find_runs(tmp_path))
    (axes,) = comparison_figures.accuracy_figure(comparison).axes
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in ("o", "s")]
    assert points == pytest.approx([0.75, 0.5, 0.25, 0.25])
    published = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "X"]
    assert published == [[0.379, 0.383], [0.29]]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["Single frame", "RNN\n(4 of 9 folds)"]


def test_subject_figure_puts_the_hardest_first_and_marks_the_untested(tmp_path):
    right = {name: name.split("_")[1] for name in sequences(3)}
    write_run(tmp_path / "a", right | {"S003_fear": "anger"})
    without = {n: c for n, c in right.items() if "S003" not in n}
    write_run(tmp_path / "b", without, architecture="rnn", everybody=3)
    (comparison,) = comparisons(runs.find_runs(tmp_path))
    axes = comparison_figures.subject_figure(comparison, "summed").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["S003", "S001", "S002"]
    values = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(values, [[5 / 6, 1, 1], [np.nan, 1, 1]])


def test_distribution_counts_every_tested_sequence_once(tmp_path):
    write_run(tmp_path / "a", answers(3, 1))
    write_run(tmp_path / "b", answers(5, 1), data="other")
    figure = comparison_figures.distribution_figure(comparisons(runs.find_runs(tmp_path)))
    heights = [[bar.get_height() for bar in bars] for bars in figure.axes[0].containers]
    assert sorted(heights) == [[3] * 6, [5] * 6]


def test_distribution_puts_every_bar_over_its_class(tmp_path):
    """A set of seven classes beside one of six: contempt stands second and is no disgust."""
    write_run(tmp_path / "six", answers(2, 0))
    write_run(tmp_path / "seven", answers(3, 0), data="more", folds_total=4)
    result = tmp_path / "seven" / "result.json"
    seven = ["anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"]
    result.write_text(json.dumps(json.loads(result.read_text()) | {"classes": seven}))
    figure = comparison_figures.distribution_figure(comparisons(runs.find_runs(tmp_path)))
    (axes,) = figure.axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]
    for bars in axes.containers:
        over = [ticks[round(bar.get_x() + bar.get_width() / 2)] for bar in bars]
        heights = dict(zip(over, (bar.get_height() for bar in bars), strict=True))
        assert heights.pop("contempt", 0) == 0
        assert heights in (dict.fromkeys(CLASSES, 2), dict.fromkeys(CLASSES, 3))
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["more (18 sequences, 3 of 4 folds)", "synthetic (12 sequences)"]


def test_time_figure_has_plain_numbers(tmp_path):
    write_run(tmp_path / "a", answers(2, 1), seconds=3.0)
    write_run(tmp_path / "b", answers(2, 1), architecture="rnn", seconds=90.0)
    (comparison,) = comparisons(runs.find_runs(tmp_path))
    figure = comparison_figures.time_figure(comparison, "summed")
    figure.draw_without_rendering()
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert {"5", "10", "20", "50"} <= set(shown)


def test_colours_differ_in_lightness_from_white():
    """Every colour keeps a contrast of at least 2 to 1 on white paper, the palette's darkest uses far more."""
    for colour in figures.COLOURS:
        rgb = np.array(colors.to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) > 2
