"""People and performances: neutral to apex, in time, and neutral faces that resemble an expression."""

import numpy as np
import pytest

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.expressions import (
    UNIT_LIMIT,
    VARIANTS,
    apex_weights,
    both_sides,
    onset_curve,
    perform,
    wander,
)
from stfer.data.synthetic.identities import RESTING, draw_identity

LIDS = ("eyeBlink", "eyeLook")


def test_both_sides():
    assert both_sides({"jawOpen": 0.5, "browDown*": 1}) == {
        "jawOpen": 0.5,
        "browDownLeft": 1,
        "browDownRight": 1,
    }


@pytest.mark.parametrize("frames", [15, 22, 30])
def test_onset_rises_from_neutral_to_apex_within_the_last_ten_frames(frames):
    tenth = []
    for seed in range(100):
        curve = onset_curve(np.random.default_rng(seed), frames)
        assert curve.shape == (frames,)
        assert curve[0] == 0
        assert curve[-1] == pytest.approx(1)
        assert (np.diff(curve) >= 0).all()
        tenth.append(curve[-10])
    # A clip of the last ten frames must show most of the movement.
    assert np.mean(tenth) < 0.35
    assert max(tenth) < 0.75


def test_wander_starts_at_zero_and_scales():
    paths = [wander(np.random.default_rng(seed), 25, 2, 0.1) for seed in range(200)]
    assert all(path.shape == (25, 2) and not path[0].any() for path in paths)
    assert 0.05 < np.std([path[-1] for path in paths]) < 0.15


@pytest.mark.parametrize("emotion", EMOTIONS_6)
def test_performance_goes_from_the_resting_face_to_the_apex(emotion):
    resting = {"browDownLeft": 0.3, "mouthFrownRight": 0.2}
    lengths = set()
    for seed in range(60):
        performance = perform(np.random.default_rng(seed), emotion, resting)
        weights = dict(zip(performance.units, performance.weights.T, strict=True))
        frames = len(performance.weights)
        lengths.add(frames)
        for moving in (performance.rotation, performance.shift, performance.gaze):
            assert len(moving) == frames
        assert (performance.weights >= 0).all()
        assert (performance.weights <= UNIT_LIMIT).all()
        for unit, curve in weights.items():
            if not unit.startswith(LIDS):
                assert curve[0] == pytest.approx(resting.get(unit, 0.0), abs=1e-6), unit
        strongest = [
            unit
            for unit in both_sides(VARIANTS[emotion][0])
            if all(unit in both_sides(variant) for variant in VARIANTS[emotion])
        ]
        rise = [weights[unit][-1] - weights[unit][0] for unit in strongest]
        assert max(rise) > 0.35
    assert min(lengths) == 15
    assert max(lengths) == 30


def test_apexes_vary_in_strength_mix_and_symmetry():
    apexes = [apex_weights(np.random.default_rng(seed), "happiness") for seed in range(200)]
    left = np.array([apex["mouthSmileLeft"] for apex in apexes])
    right = np.array([apex["mouthSmileRight"] for apex in apexes])
    assert left.std() > 0.1
    assert np.abs(left - right).mean() > 0.03
    ratio = left / np.array([apex["cheekSquintLeft"] for apex in apexes])
    assert ratio.std() > 0.1
    assert any("jawOpen" in apex for apex in apexes)
    assert not all("jawOpen" in apex for apex in apexes)


def test_most_neutral_faces_resemble_an_expression():
    people = [draw_identity(np.random.default_rng(seed)) for seed in range(300)]
    assert np.mean([bool(person.resting) for person in people]) > 0.75
    assert {name for person in people for name in person.resting_names} == set(RESTING)
    # What a resting face shows is a part of what expressions show: that is what makes it a confound.
    shown = {unit for v in VARIANTS.values() for recipe in v for unit in both_sides(recipe)}
    for name, recipe in RESTING.items():
        assert shown & set(both_sides(recipe)), name


def test_macro_targets_sum_to_one_and_people_differ():
    people = [draw_identity(np.random.default_rng(seed)) for seed in range(100)]
    for person in people:
        mix = [
            weight
            for name, weight in person.shape.items()
            if name.startswith(("african-", "asian-", "caucasian-"))
        ]
        assert sum(mix) == pytest.approx(1)
        assert all(weight >= 0 for weight in person.shape.values())
    for trait in ("male", "age", "melanin", "african", "asian", "caucasian"):
        values = [getattr(person, trait) for person in people]
        assert 0 <= min(values) < 0.15, trait
        assert 0.55 < max(values) <= 1, trait
