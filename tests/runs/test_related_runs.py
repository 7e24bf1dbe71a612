"""The systems of section III through a whole cross-validation: they learn, stop, go on, and pool their folds."""

import csv

import numpy as np
import pytest

import stfer.runs.crossval as crossval
from stfer.data.sequence import EMOTIONS_6
from stfer.data.shards import load_shards, write_shards
from stfer.models.related import RELATED
from stfer.runs import Launch, cross_validate
from stfer.runs.plan import needed_streams, prepare
from stfer.training.config import preset
from stfer.training.stages import stages_of

SIZE = 28
# Small variants: all layers, few features.
FIELDS = {
    "dtan": {"size": 24, "conv_features": (3, 4), "appearance_features": (8, 8)},
    "dtgn": {"geometry_features": (8, 8)},
    "dtagn": {
        "size": 24,
        "conv_features": (3, 4),
        "appearance_features": (8, 8),
        "geometry_features": (8, 8),
    },
    "cnn_irnn": {"size": 28, "crop": 24, "conv_features": (3, 4, 4), "units": 6, "frames": 4},
    "inception": {"size": 32, "divide": 16},
    "inception_resnet_crf": {"size": 75, "divide": 32, "head": "global", "frames": 3},
    "dap3d": {"size": 36, "generic_features": 2, "filters": 1, "frames": 5},
    "strnn": {"size": 16, "hidden": 4, "merged": 4, "temporal_hidden": 4, "frames": 4},
}
CLASSES = EMOTIONS_6[:3]


def sequences():
    """Three people, three expressions: a bright band and a group of points that move with the class."""
    random = np.random.default_rng(0)
    base = random.uniform(0.2, 0.8, (49, 2))
    for person in range(3):
        for number, label in enumerate(CLASSES):
            grow = np.linspace(0, 1, 15)
            frames = random.integers(0, 120, (15, SIZE, SIZE, 3))
            frames[:, 8 * number : 8 * number + 6] += (120 * grow).astype(int)[:, None, None, None]
            points = base + random.normal(0, 0.005, (15, 49, 2))
            points[:, 15 * number : 15 * number + 15, 1] += 0.3 * grow[:, None]
            streams = {"landmarks": points.astype(np.float32)}
            yield f"S{person}/{number}", f"S{person}", label, frames.astype(np.uint8), streams


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    return load_shards(write_shards(folder, sequences(), classes=CLASSES, name="pointed"))


def settings(name, **more):
    return {"model": FIELDS[name], "epochs": 2, "batch_size": 4, "learning_rate": 1e-3} | more


def probabilities(folder):
    with open(folder / "predictions.csv") as file:
        return [[row[name] for name in CLASSES] for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("name", RELATED)
def test_a_stopped_run_goes_on_to_the_bit(name, shards, tmp_path):
    plans = [
        prepare(preset("demo", name, **settings(name)), "loso", shards, tmp_path / place)
        for place in ("whole", "stopped")
    ]
    names = [crossval.select_folds(plan, None, 2) for plan in plans]
    # One fold after another is traced sooner; folds side by side are tried with DTAN alone.
    launch = Launch() if name == "dtan" else Launch(parallel="none")
    outcome = crossval.run(plans[0], names[0], launch)
    assert outcome.result["folds_done"] == 2
    stages = len(stages_of(plans[0].config))
    rounds = 0
    while crossval.run(plans[1], names[1], launch, should_stop=Patience(3 * stages)).stopped:
        rounds += 1
        assert rounds < 50
    assert rounds > 0
    whole, stopped = (probabilities(plan.folder.path) for plan in plans)
    assert len(whole) == 12  # six sequences, two votes
    assert whole == stopped


class Patience:
    """Says stop after it was asked some times."""

    def __init__(self, times):
        self.times = times

    def __call__(self):
        self.times -= 1
        return self.times < 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("dtgn", {"epochs": 60, "learning_rate": 1e-2}),
        ("strnn", {"epochs": 40, "learning_rate": 1e-2}),
        ("dtan", {"epochs": 60, "learning_rate": 3e-3}),
    ],
)
def test_what_the_set_shows_is_learned(name, more, shards, tmp_path):
    calm = {} if name == "strnn" else {"dropout": 0.0}  # eight units are few to drop half of
    fields = FIELDS[name] | calm
    result = cross_validate(
        name, shards, tmp_path, preset="paper", **settings(name, **more, model=fields)
    )
    assert result["votes"]["summed"]["accuracy"] > 0.8


def test_streams_that_a_training_needs():
    needs = {name: needed_streams(preset("demo", name)) for name in RELATED}
    assert needs.pop("dtgn") == {"landmarks"}
    with_points = {name for name, streams in needs.items() if "landmarks" in streams}
    assert with_points == {"dtagn", "inception"}
    assert all("frames" in streams for streams in needs.values())


def test_a_set_without_points_is_refused_in_one_sentence(tmp_path):
    rows = [row[:4] for row in sequences()]
    shards = load_shards(write_shards(tmp_path / "set", rows, classes=CLASSES))
    with pytest.raises(ValueError, match="no stream 'landmarks'"):
        cross_validate("dtgn", shards, tmp_path, preset="demo", **settings("dtgn"))
