"""Pairs of frames of synthetic people: what is in them, and that they are the same each time."""

from collections import Counter

import numpy as np
import pytest

from stfer.data.faces import CropSettings
from stfer.data.labels import NEUTRAL
from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.conditions import Conditions
from stfer.data.synthetic.pairs import CLASSES, person_pairs

CROP = CropSettings(size=64)


@pytest.fixture(scope="module")
def pairs():
    return person_pairs(3, 2, CROP, Conditions(intensity=0.9))


@pytest.mark.slow
def test_every_emotion_has_an_apex_and_a_third_of_the_pairs_is_neutral(pairs):
    kinds = Counter(name.rsplit("/")[-1] for name, *_ in pairs)
    assert kinds == {"apex": 6, "way": 6, "back": 2, "calm": 1, "1": 1, "2": 1, "3": 1}
    labels = Counter(label for _, _, label, _ in pairs)
    assert labels == dict.fromkeys(EMOTIONS_6, 2) | {NEUTRAL: 6}
    assert set(labels) == set(CLASSES)
    assert {subject for _, subject, _, _ in pairs} == {"S002"}
    assert len({name for name, *_ in pairs}) == len(pairs)


@pytest.mark.slow
def test_a_pair_back_is_an_apex_pair_the_other_way_round(pairs):
    frames = {name: pair for name, _, _, pair in pairs}
    backs = [name for name in frames if name.endswith("/back")]
    for name in backs:
        apex = frames[name.replace("/back", "/apex")]
        assert (frames[name] == apex[::-1]).all()
        assert np.abs(apex[0].astype(int) - apex[1]).mean() > 1  # The face did something.


@pytest.mark.slow
def test_the_same_person_is_the_same_bytes_again(pairs):
    again = person_pairs(3, 2, CROP, Conditions(intensity=0.9))
    assert all(a[:3] == b[:3] and (a[3] == b[3]).all() for a, b in zip(pairs, again, strict=True))


@pytest.mark.slow
def test_what_is_too_weak_to_be_named_is_not_shown():
    weak = {name for name, *_ in person_pairs(3, 2, CROP, Conditions(intensity=0.4))}
    assert "S002/anger/apex" in weak
    assert "S002/anger/way" not in weak  # 0.65 of 0.4 is below 0.3.
