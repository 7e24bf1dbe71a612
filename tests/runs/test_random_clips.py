"""Training clips drawn anew each epoch: resumed to the bit, streamed as resident; pairs that vote, on trained folds."""

import numpy as np
import pytest

import tiny
from stfer.data.clips import ClipRule
from stfer.data.shards import load_shards
from stfer.runs import Launch, cross_validate, pair_votes, prepare, run
from stfer.training.config import TrainConfig, identity

CONFIG = TrainConfig(
    "tiny", epochs=3, batch_size=4, learning_rate=1e-2, clips="random", pair_distance=6
)
ALONE = Launch("none")  # One fold after the other, as on one device.


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return load_shards(tiny.write_set(tmp_path_factory.mktemp("data") / "set", subjects=3))


def predictions(plan):
    return [plan.folder.read_fold(name).predictions for name in plan.fold_names]


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_bits(shards, tmp_path):
    whole = prepare(CONFIG, "loso", shards, tmp_path / "whole")
    run(whole, whole.fold_names, ALONE)
    stopped = prepare(CONFIG, "loso", shards, tmp_path / "stopped")
    sittings = 0
    while not stopped.is_whole():
        asked = iter(range(1000))
        outcome = run(stopped, stopped.fold_names, ALONE, lambda: next(asked) == 12)  # noqa: B023
        sittings += 1
        assert bool(outcome.stopped) or outcome.is_whole
    assert sittings >= 3
    assert predictions(stopped) == predictions(whole)


@pytest.mark.slow
def test_random_clips_train_otherwise_than_the_papers_and_a_resident_set_as_a_streamed_one(
    shards, tmp_path
):
    plans = {}
    ways = (("paper", "paper", None), ("here", "random", True), ("read", "random", False))
    for name, clips, resident in ways:
        plans[name] = prepare(CONFIG.replace(clips=clips), "loso", shards, tmp_path / name)
        run(plans[name], ["S000"], Launch("none", resident))
    losses = {
        name: [row["train_loss"] for row in plan.folder.read_fold("S000").history]
        for name, plan in plans.items()
    }
    assert losses["here"] == losses["read"] != losses["paper"]


def test_the_defaults_change_no_run_that_was_made_before():
    assert TrainConfig("tiny", clips="paper") == TrainConfig("tiny")
    settings = TrainConfig("tiny").to_dict()
    old = {k: v for k, v in settings.items() if k not in ("pairs", "pair_distance", "apex_frames")}
    assert identity(old) == identity(settings)


@pytest.mark.slow
def test_trained_folds_vote_again_over_other_pairs(shards, tmp_path):
    config = CONFIG.replace(clips="")
    plan = prepare(config, "loso", shards, tmp_path)
    run(plan, plan.fold_names[:2], ALONE)
    found = pair_votes.vote_again(plan, plan.fold_names, ("last", "all"), distance=1, apex=3)
    kept = [p for name in plan.fold_names[:2] for p in plan.folder.read_fold(name).predictions]
    assert found["last"] == kept
    assert [p.sequence for p in found["all"]] == [p.sequence for p in kept]
    assert found["all"] != kept
    # Shares of a vote by heads are counts over the number of pairs: (apart by 1 or more, three ends).
    length = int(shards.lengths[shards.ids.index(kept[0].sequence)])
    count = sum(end for end in range(length - 3, length))
    heads = np.array(found["all"][0].probabilities["maximum"]) * count
    np.testing.assert_allclose(heads, np.round(heads), atol=1e-6)
    config = config.replace(pairs="all", pair_distance=1, apex_frames=3)
    trained_so = prepare(config, "loso", shards, tmp_path / "all")
    run(trained_so, plan.fold_names[:2], ALONE)
    assert predictions_of(trained_so, plan.fold_names[:2]) == found["all"]


def predictions_of(plan, names):
    return [p for name in names for p in plan.folder.read_fold(name).predictions]


def test_pairs_of_an_architecture_without_pairs_are_refused(shards, tmp_path):
    with pytest.raises(ValueError, match=r"--pairs=all is for .* two frames.*conv3d takes 5"):
        cross_validate("conv3d", shards, tmp_path, pairs="all")
    with pytest.raises(FileNotFoundError, match=r"no fold in .* is finished"):
        pair_votes.vote_again(prepare(CONFIG, "loso", shards, tmp_path), ["S000"])


def test_a_models_card_keeps_its_votes():
    from stfer.inference.folder import describe, inputs

    rule = ClipRule((-15, -1), pairs="all", distance=7, apex=4)
    crop = {"detector": "none", "margin": 0.0, "size": 16, "missing_faces": "drop"}
    card = describe("late_fusion", ("a", "b"), rule, crop)
    assert inputs(card)["frames"].rule == rule
    plain = describe("late_fusion", ("a", "b"), ClipRule((-15, -1)), crop)
    assert plain["clips"] == {"offsets": [-15, -1], "slide": False}
