"""People and performances: neutral to apex, in time, calm faces, and neutral faces that resemble an expression."""

import itertools

import numpy as np
import pytest

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.calm import EXPRESSIVE, MOUTH_UNITS
from stfer.data.synthetic.continuous import perform_in_turn
from stfer.data.synthetic.expressions import (
    FRAME_RATE,
    INTENSITIES,
    MIN_REACH,
    NEUTRAL,
    ONSET_TIMES,
    UNIT_LIMIT,
    UNIT_LIMITS,
    apex_weights,
    draw_onsets,
    group_of,
    perform,
    rise,
    wander,
)
from stfer.data.synthetic.head import load_head
from stfer.data.synthetic.identities import RESTING, draw_identity
from stfer.data.synthetic.recipes import VARIANTS, both_sides, mirrored

LIDS = ("eyeBlink", "eyeLook")
WAYS = [(emotion, way) for emotion, ways in VARIANTS.items() for way in ways]


def rng(seed):
    return np.random.default_rng(seed)


def ten_to_ninety(times, curve):
    """Seconds from a tenth to nine tenths of a rising curve's last value, by linear interpolation."""
    share = np.maximum.accumulate(curve - curve[0]) / (curve[-1] - curve[0])
    first, last = (np.interp(level, share, times) for level in (0.1, 0.9))
    return last - first


def test_both_sides_and_mirrored():
    assert both_sides({"jawOpen": 0.5, "browDown*": 1}) == {
        "jawOpen": 0.5,
        "browDownLeft": 1,
        "browDownRight": 1,
    }
    one_sided = {"jawOpen": 0.5, "mouthSmileLeft": 1, "mouthSmileRight": 0.2}
    assert mirrored(one_sided) == {"jawOpen": 0.5, "mouthSmileRight": 1, "mouthSmileLeft": 0.2}


@pytest.mark.parametrize("emotion", EMOTIONS_6)
def test_every_emotion_has_at_least_five_ways_that_look_unlike_each_other(emotion):
    ways = [both_sides(recipe) for recipe in VARIANTS[emotion].values()]
    assert len(ways) >= 5
    shapes = [load_head().displacement(way).ravel() for way in ways]
    for first in range(len(ways)):
        assert np.linalg.norm(shapes[first]) > 0.3
        for second in range(first):
            apart = np.linalg.norm(shapes[first] - shapes[second])
            assert apart > 0.15 * np.linalg.norm(shapes[first]), (first, second)


def test_the_ways_that_the_literature_tells_apart_are_there():
    smiles = [both_sides(recipe) for recipe in VARIANTS["happiness"].values()]
    assert any("mouthUpperUpLeft" not in s and "jawOpen" not in s for s in smiles)  # Closed.
    assert any(s.get("mouthLowerDownLeft", 0) > 0.5 for s in smiles)  # Both rows of teeth.
    assert any(s["mouthSmileLeft"] > 1.9 * s["mouthSmileRight"] for s in smiles)  # One-sided.
    angers = VARIANTS["anger"].values()
    assert any(a.get("jawOpen", 0) > 0.3 for a in angers)
    assert any("mouthPress*" in a and "jawOpen" not in a for a in angers)
    sadness = VARIANTS["sadness"].values()
    assert any("browInnerUp" not in s for s in sadness)
    assert any(s.get("mouthFrown*", 0) < 0.3 for s in sadness)
    jaws = [s.get("jawOpen", 0) for s in VARIANTS["surprise"].values()]
    assert min(jaws) < 0.1 < 0.5 < max(jaws)
    assert any("tongueOut" in d for d in VARIANTS["disgust"].values())


@pytest.mark.parametrize("group", ONSET_TIMES)
def test_onsets_take_as_long_as_measured(group):
    times = np.linspace(-3, 0, 6001)
    least, most = ONSET_TIMES[group]
    spans = []
    for seed in range(200):
        onsets = draw_onsets(rng(seed), {"mouthSmileLeft": 1, "browInnerUp": 1, "jawOpen": 1})
        curve = rise(times, onsets[group])
        assert curve[0] == 0
        assert curve[-1] == 1
        spans.append(ten_to_ninety(times, curve))
    assert least - 2e-3 <= min(spans) < least + 0.25 * (most - least)
    assert most + 2e-3 >= max(spans) > most - 0.35 * (most - least)


@pytest.mark.slow
def test_the_rise_measured_from_performed_weights_is_the_onset_time():
    """Frame by frame, on units that neither speech nor blinks move."""
    spans = {"mouth": [], "brow": []}
    for seed in range(60):
        for emotion in EMOTIONS_6:
            performance = perform(rng(seed), emotion, {}, intensity=0.7)
            times = np.arange(len(performance)) / FRAME_RATE
            for unit, curve in zip(performance.units, performance.weights.T, strict=True):
                if curve[-1] > 0.3 and unit.startswith(EXPRESSIVE):
                    spans[group_of(unit)].append(ten_to_ninety(times, curve))
    for group, values in spans.items():
        least, most = ONSET_TIMES[group]
        assert len(values) > 100
        # A frame is 0.067 s, and a tremor of a few percent lies on the curves.
        inside = [least - 0.07 <= value <= most + 0.07 for value in values]
        assert np.mean(inside) > 0.97, group


@pytest.mark.slow
def test_fifteen_frames_before_the_apex_most_faces_are_calm():
    progress = [
        perform(rng(seed), emotion, {}).progress[-15]
        for seed in range(60)
        for emotion in EMOTIONS_6
    ]
    assert np.median(progress) < 0.01
    assert np.mean(progress) < 0.08
    assert max(progress) < 0.6


def test_wander_starts_at_zero_and_scales():
    paths = [wander(rng(seed), 25, 2, 0.1) for seed in range(200)]
    assert all(path.shape == (25, 2) and not path[0].any() for path in paths)
    assert 0.05 < np.std([path[-1] for path in paths]) < 0.15


@pytest.mark.parametrize("emotion", EMOTIONS_6)
def test_performance_goes_from_the_resting_face_to_the_apex(emotion):
    resting = {"browDownLeft": 0.3, "mouthFrownRight": 0.2}
    lengths = set()
    for seed in range(60):
        performance = perform(rng(seed), emotion, resting)
        frames = len(performance)
        lengths.add(frames)
        for moving in (performance.rotation, performance.shift, performance.gaze):
            assert len(moving) == frames
        assert performance.progress[0] == 0
        assert performance.progress[-1] == pytest.approx(1, abs=1e-5)
        assert (np.diff(performance.progress) >= 0).all()
        ((name, way, intensity, apex),) = performance.apexes
        assert (name, apex) == (emotion, frames - 1)
        assert way in VARIANTS[emotion]
        assert INTENSITIES[0] <= intensity <= INTENSITIES[1]
        for unit, curve in zip(performance.units, performance.weights.T, strict=True):
            stem = unit.removesuffix("Left").removesuffix("Right")
            assert 0 <= curve.min() <= curve.max() <= UNIT_LIMITS.get(stem, UNIT_LIMIT) + 1e-6
            if not unit.startswith(LIDS):
                assert curve[0] == pytest.approx(resting.get(unit, 0.0), abs=1e-6), unit
    assert min(lengths) == 15
    assert 26 <= max(lengths) <= 30


@pytest.mark.parametrize(("emotion", "way"), WAYS)
def test_every_apex_moves_the_skin_enough_to_be_seen(emotion, way):
    head = load_head()
    skin = np.unique(head.triangles[head.part("skin")])
    for seed in range(10):
        weights, named, intensity = apex_weights(rng(seed), emotion, way, INTENSITIES[0])
        assert named == way
        assert intensity >= INTENSITIES[0]
        moved = np.linalg.norm(head.displacement(weights)[skin], axis=1)
        assert moved.max() > 0.95 * MIN_REACH


@pytest.mark.slow
def test_most_apexes_are_clear_and_some_weak():
    apexes = [apex_weights(rng(s), EMOTIONS_6[s % 6])[2] for s in range(1500)]
    weak = np.mean(np.array(apexes) < 0.6)
    assert 0.15 < weak < 0.35
    assert min(apexes) < 0.4
    assert max(apexes) > 1.05


@pytest.mark.slow
def test_apexes_vary_in_way_mix_and_symmetry():
    apexes = [apex_weights(rng(seed), "happiness") for seed in range(300)]
    assert {way for _, way, _ in apexes} == set(VARIANTS["happiness"])
    closed = [apex_weights(rng(s), "happiness", "closed", 1.0)[0] for s in range(200)]
    left, right, cheek = (
        np.array([apex[unit] for apex in closed])
        for unit in ("mouthSmileLeft", "mouthSmileRight", "cheekSquintLeft")
    )
    assert left.std() > 0.1
    assert np.abs(left - right).mean() > 0.03
    assert (left / cheek).std() > 0.1


def test_a_neutral_performance_never_expresses_but_moves():
    resting = {"browDownLeft": 0.3, "browDownRight": 0.3, "mouthSmileLeft": 0.1}
    moved = {"blink": 0, "mouth": 0, "gaze": 0}
    for seed in range(150):
        performance = perform(rng(seed), NEUTRAL, resting)
        assert performance.apexes == ()
        assert not performance.progress.any()
        curves = dict(zip(performance.units, performance.weights.T, strict=True))
        for unit, curve in curves.items():
            if unit.startswith(EXPRESSIVE):
                np.testing.assert_allclose(curve, resting.get(unit, 0.0), atol=0.06, err_msg=unit)
        moved["blink"] += curves["eyeBlinkLeft"].max() > 0.5
        moved["mouth"] += max(np.ptp(curves[unit]) for unit in MOUTH_UNITS) > 0.08
        moved["gaze"] += np.ptp(performance.gaze, axis=0).max() > np.radians(5)
        assert max(curves[unit].max() for unit in MOUTH_UNITS) < 0.7
    for name, count in moved.items():
        assert count > 30, name
        assert count < 149, name


@pytest.mark.slow
def test_calm_beginnings_move_at_times_and_apexes_are_not_blinked_away():
    blinked, spoke = 0, 0
    for seed in range(300):
        performance = perform(rng(seed), "sadness", {}, variant="corners only")
        curves = dict(zip(performance.units, performance.weights.T, strict=True))
        calm = performance.progress < 0.05
        blinked += curves["eyeBlinkLeft"][calm].max() > 0.5
        spoke += max(curves[unit][calm].max() for unit in MOUTH_UNITS) > 0.08
        assert curves["eyeBlinkLeft"][-1] < 0.35
    assert 15 < blinked < 200
    assert 15 < spoke < 200


@pytest.mark.slow
def test_heads_turn_with_a_tail_to_twenty_degrees():
    poses = [perform(rng(s), "fear", {}).rotation[0] for s in range(600)]
    degrees = np.abs(np.degrees(poses))
    assert (degrees.max(0) <= [14 + 1e-4, 20 + 1e-4, 20 + 1e-4]).all()
    assert degrees[:, 1].max() > 15
    assert np.median(degrees[:, 1]) < 4
    asked = [np.degrees(perform(rng(s), "fear", {}, turn=20.0).rotation[0, 1]) for s in range(20)]
    np.testing.assert_allclose(np.abs(asked), 20, rtol=1e-5)
    assert min(asked) < 0 < max(asked)


def test_several_expressions_in_one_take_come_in_turn_with_calm_between():
    performance = perform_in_turn(rng(4), EMOTIONS_6, {"browDownLeft": 0.2}, rate=30.0)
    assert [emotion for emotion, *_ in performance.apexes] == list(EMOTIONS_6)
    moments = [moment for *_, moment in performance.apexes]
    assert performance.progress[0] == 0
    np.testing.assert_allclose(performance.progress[moments], 1, atol=1e-5)
    assert performance.progress[-1] == 0
    for first, second in itertools.pairwise(moments):
        assert performance.progress[first:second].min() == 0
        assert 1.5 * 30 < second - first < 5 * 30
    for emotion, way, _, moment in performance.apexes:
        shown = dict(zip(performance.units, performance.weights[moment], strict=True))
        strongest = max(
            (unit for unit in both_sides(VARIANTS[emotion][way]) if not unit.startswith(LIDS)),
            key=both_sides(VARIANTS[emotion][way]).get,
        )
        assert shown[strongest] > 0.12, (emotion, way)


def test_most_neutral_faces_resemble_an_expression():
    people = [draw_identity(np.random.default_rng(seed)) for seed in range(300)]
    assert np.mean([bool(person.resting) for person in people]) > 0.75
    assert {name for person in people for name in person.resting_names} == set(RESTING)
    # What a resting face shows is a part of what expressions show: that is what makes it a confound.
    shown = {u for v in VARIANTS.values() for recipe in v.values() for u in both_sides(recipe)}
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
