"""The class neutral: calm beginnings as sequences of their own."""

import numpy as np
import pytest

import tiny
from stfer.data.folds import folds
from stfer.data.neutral import LENGTH, calm_frames, with_neutral
from stfer.data.shards import load_shards


def test_every_sequence_gives_a_calm_one_of_the_same_person(tmp_path):
    shards = load_shards(tiny.write_set(tmp_path / "set"))
    both = with_neutral(shards)
    count = len(shards)
    assert len(both) == 2 * count
    assert both.classes == (*shards.classes, "neutral")
    assert both.subjects[count:] == shards.subjects
    assert set(both.labels[count:]) == {6}
    assert both.checksum != shards.checksum
    for index in (0, count - 1):
        np.testing.assert_array_equal(both.frames(index), shards.frames(index))
        calm, whole = both.frames(count + index), shards.frames(index)
        assert len(calm) == LENGTH
        np.testing.assert_array_equal(calm[0], whole[0])
        assert all(any(np.array_equal(frame, early) for early in whole[:3]) for frame in calm)
    # A person is held out with both.
    for fold in folds("loso", both.subjects):
        assert {row % count for row in fold.test if row >= count} == {
            r for r in fold.test if r < count
        }
    with pytest.raises(ValueError, match="leave --neutral out"):
        with_neutral(both)


@pytest.mark.parametrize("length", [3, 15, 22, 30, 90])
def test_a_calm_beginning_is_the_first_sixth_and_its_ends_differ(length):
    frames = calm_frames(length)
    assert frames.shape == (LENGTH,)
    assert 0 <= frames.min() <= frames.max() < max(3, round(length / 6))
    assert frames[0] != frames[-1]
    assert set(np.abs(np.diff(frames))) == {1}
