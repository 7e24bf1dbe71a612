"""Sequences as they are asked for: chosen moments, takes, conditions, calm faces, one take of all expressions."""

import json

import cv2
import numpy as np
import pytest

from stfer.data.readers import ck_plus
from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic import Conditions, dataset, generate, stage, stage_in_turn
from stfer.data.synthetic.dataset import VERSION
from stfer.data.synthetic.moments import check_moments, frames_at, parse_moments
from stfer.data.synthetic.recipes import VARIANTS
from stfer.data.synthetic.takes import identity_of, performance_of

SEED = 5
TWO_TAKES = {"moments": (0, 0.5, "apex"), "takes": 2, "progress": False}


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """Two takes of one person, three moments each."""
    out = tmp_path_factory.mktemp("moments") / "set"
    return generate(out, 1, SEED, workers=2, **TWO_TAKES)


@pytest.mark.slow
def test_moments_are_the_frames_of_the_whole_sequence_to_the_byte(chosen):
    for emotion in EMOTIONS_6[:3]:
        number = EMOTIONS_6.index(emotion) + 1
        take = stage(SEED, 1, emotion)
        files = sorted((chosen / f"cohn-kanade-images/S001/{number:03d}").iterdir())
        progress = take.performance.progress
        half = next(frame for frame in range(len(take)) if progress[frame] >= 0.5)
        assert len(files) == 3
        # Drawn here in another order, after frames that the set does not hold.
        for frame, path in ((len(take) - 1, files[2]), (1, None), (half, files[1]), (0, files[0])):
            drawn = take.frame(frame)
            if path is not None:
                np.testing.assert_array_equal(read(path), drawn)


@pytest.mark.slow
def test_a_set_of_moments_is_read_as_ck_plus(chosen):
    sequences, dropped = ck_plus.read(chosen)
    assert not dropped
    assert sorted(s.label for s in sequences) == sorted([*EMOTIONS_6, *EMOTIONS_6])
    assert {len(s) for s in sequences} == {3}


def test_the_record_tells_how_each_sequence_is_played(tmp_path, monkeypatch):
    """It does not depend on what is drawn, so nothing is."""
    monkeypatch.setattr(dataset, "_write_sequence", lambda out, task: 3)
    drawn = generate(tmp_path / "set", 1, SEED, workers=1, **TWO_TAKES)
    record = json.loads((drawn / "synthetic.json").read_text())
    assert record["generator_version"] == VERSION == 5
    assert record["frames_per_second"] == 15
    assert set(record["sequences"]) == {f"S001/{number:03d}" for number in range(1, 13)}
    first, second = (record["sequences"][f"S001/{number}"] for number in ("004", "010"))
    assert first["emotion"] == second["emotion"] == EMOTIONS_6[3]
    assert (first["variant"], first["intensity"]) != (second["variant"], second["intensity"])
    for sequence in record["sequences"].values():
        assert sequence["variant"] in VARIANTS[sequence["emotion"]]
        assert 0.3 <= sequence["intensity"] <= 1.15
        assert sequence["moments"][0] == 0
        assert sequence["moments"][-1] == sequence["frames"] - 1
        assert sequence["progress"][0] == 0
        assert 0.5 <= sequence["progress"][1] < 1
        assert sequence["progress"][2] == 1


def test_another_take_is_another_session_of_the_same_person():
    first, second = stage(SEED, 1, "fear").portrait, stage(SEED, 1, "fear", take=2).portrait
    np.testing.assert_array_equal(first.vertices, second.vertices)
    assert first.session.exposure != second.session.exposure


def test_moments_by_hand():
    progress = np.array([0, 0, 0, 0.1, 0.3, 0.6, 0.9, 1, 1])
    assert frames_at(None, progress) == list(range(9))
    assert frames_at((0, "apex"), progress) == [0, 8]
    assert frames_at(("apex", 0.5, 0, -1), progress) == [0, 5, 8]
    assert frames_at((0.1, 0.3, 1.0, -3), progress) == [3, 4, 6, 7]
    # Nothing is expressed: a share is how far on in the sequence.
    assert frames_at((0, 0.5, "apex"), np.zeros(9)) == [0, 4, 8]


def test_moments_as_typed():
    assert parse_moments(["0", "-15", "0.5", "apex"]) == (0, -15, 0.5, "apex")
    for texts, words in (
        (["middle"], "moments=middle"),
        (["15"], "moments=15"),
        (["-16"], "moments=-16"),
        (["1.5"], "moments=1.5"),
        (["0.0"], "moments=0.0"),
        ([], "none are given"),
    ):
        with pytest.raises(ValueError, match=words):
            parse_moments(texts)
    with pytest.raises(ValueError, match="apexes"):
        check_moments(["apexes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"takes": 0}, "takes=0"),
        ({"takes": 167}, "takes=167"),
        ({"moments": (99,)}, "moments=99"),
        ({"conditions": Conditions(variant="closed")}, "variant=closed"),
    ],
)
def test_what_a_set_cannot_hold_is_named(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        generate(tmp_path / "out", subjects=1, progress=False, **arguments)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"light": "moon"}, "light='moon'"),
        ({"variant": "grin"}, "variant='grin'"),
        ({"turn": 45.0}, "turn=45"),
        ({"intensity": 2.0}, "intensity=2"),
        ({"jpeg": 101}, "jpeg=101"),
    ],
)
def test_conditions_that_cannot_be_met_are_named(asked, words):
    with pytest.raises(ValueError, match=words):
        Conditions(**asked)


def test_what_is_not_asked_for_stays_the_same():
    drawn, asked = (
        performance_of(SEED, 2, "sadness", conditions=conditions)
        for conditions in (Conditions(), Conditions(turn=20.0))
    )
    np.testing.assert_array_equal(drawn.weights.shape, asked.weights.shape)
    np.testing.assert_array_equal(drawn.progress, asked.progress)
    np.testing.assert_array_equal(drawn.gaze, asked.gaze)
    np.testing.assert_array_equal(drawn.rotation[:, ::2], asked.rotation[:, ::2])
    assert abs(np.degrees(asked.rotation[0, 1])) == pytest.approx(20, rel=1e-5)
    plain, dark, indoors = (
        stage(SEED, 2, "sadness", conditions=Conditions(light=light)).portrait.session
        for light in ("lamp", "dark", "hall")
    )
    assert [s.light.name for s in (plain, dark, indoors)] == ["lamp", "dark", "hall"]
    assert plain.zoom == dark.zoom == indoors.zoom
    assert plain.blur == dark.blur == indoors.blur
    assert dark.exposure < 0.4 * plain.exposure
    assert dark.sensor_noise >= 4


def test_glasses_beard_and_make_up_are_worn_when_asked_for():
    asked = Conditions(glasses=True, beard=True, makeup=True)
    bare = Conditions(glasses=False, beard=False, makeup=False)
    for subject in (1, 2):
        person = identity_of(SEED, subject)
        for wanted, worn in ((asked, True), (bare, False)):
            look = wanted.dress(person).look
            assert [bool(look[w]) for w in ("glasses", "beard", "makeup")] == [worn] * 3
            assert wanted.dress(person).shape == person.shape
    light = {"light": "lamp", "jpeg": 0}
    frames = [
        stage(SEED, 2, "anger", conditions=Conditions(glasses=worn, **light)).frame(0).astype(int)
        for worn in (True, False)
    ]
    changed = np.abs(frames[0] - frames[1]).max(-1) > 40
    rows, columns = np.nonzero(changed)
    assert 200 < changed.sum() < 6000
    assert 80 < np.median(rows) < 140  # Around the eyes, which lie at 46 % of 240 rows.
    assert columns.min() > 60
    assert columns.max() < 260


def test_people_differ_in_what_they_wear():
    looks = [identity_of(0, subject).look for subject in range(1, 201)]
    for worn, least, most in (("glasses", 0.1, 0.3), ("beard", 0.08, 0.4), ("makeup", 0.1, 0.4)):
        assert least < np.mean([bool(look[worn]) for look in looks]) < most, worn


def test_neutral_is_played_without_an_expression():
    take = stage(SEED, 1, "neutral")
    assert not take.performance.progress.any()
    frame = take.frame(len(take) - 1)
    assert frame.dtype == np.uint8
    with pytest.raises(ValueError, match="contempt"):
        stage(SEED, 1, "contempt")


def test_one_take_of_several_expressions_is_drawn_frame_by_frame():
    take = stage_in_turn(SEED, 1, ("happiness", "neutral", "anger"), rate=30.0)
    (first, way, _, smile), (second, *_, frown) = take.performance.apexes
    assert (first, second) == ("happiness", "anger")
    assert way in VARIANTS["happiness"]
    assert 0 < smile < frown < len(take)
    shown = list(take.frames((0, smile)))
    assert shown[0].shape == shown[1].shape
    np.testing.assert_array_equal(shown[1], take.frame(smile))
    with pytest.raises(ValueError, match="contempt"):
        stage_in_turn(SEED, 1, ("contempt",))
