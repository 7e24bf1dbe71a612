"""A pair network trained on rendered moments of synthetic people, and tested on others."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stfer.data.faces import CropSettings
from stfer.data.folds import Fold
from stfer.data.shards import Shards, load_shards
from stfer.data.synthetic.pairs import OFTEN, ensure_pairs
from stfer.inference.model import TrainedModel
from stfer.runs.final import FinalTraining, held_out_metrics
from stfer.training.config import TrainConfig
from stfer.training.fit import Fitted

TEST_SEED = 1000  # Added to the training people's: the tested people are others.
MARGIN = 0.15  # around the detector's box: from the brows to the chin, so that the mouth is as large as it can be


@dataclass(frozen=True)
class PairSets:
    """Pairs to train on, and pairs of other people to test on."""

    train: Shards
    test: Shards


def pair_sets(
    cache_dir: str | Path,
    people: int,
    seed: int,
    test_people: int,
    size: int,
    workers: int | None = None,
) -> PairSets:
    """Render both sets, or take them from the cache; see `stfer.data.synthetic.pairs`."""
    crop = CropSettings(size=size, margin=MARGIN)
    folders = (
        ensure_pairs(cache_dir, people, seed, crop, workers, takes=OFTEN),
        ensure_pairs(cache_dir, test_people, seed + TEST_SEED, crop, workers),
    )
    return PairSets(*map(load_shards, folders))


def training(config: TrainConfig, sets: PairSets, out: Path) -> FinalTraining:
    """One training on every pair of the training people; nobody of them is held out."""
    everyone = Fold("none", (), np.arange(len(sets.train)), np.empty(0, np.int64))
    people = {"people": len(set(sets.train.subjects)), "test_people": len(set(sets.test.subjects))}
    arguments = {"pairs": sets.train.name} | people
    return FinalTraining(config, sets.train, everyone, out, arguments=arguments)


def write(training: FinalTraining, fitted: Fitted, sets: PairSets) -> tuple[Path, TrainedModel]:
    """Test the model on the other people, and write its folder.

    Returns:
        The folder and the model; its card's metrics are those of the other people, its reference is `auto`.
    """
    model = training.model(fitted)
    metrics, _ = held_out_metrics(model, fitted, sets.test, range(len(sets.test)))
    metrics["people"] = len(set(sets.test.subjects))
    card = dict(model.card) | {"metrics": metrics, "reference": "auto", "frame_rate": None}
    whole = dataclasses.replace(model, card=card)
    return whole.save(training.out), whole
