"""Training examples with several clips a sequence: where they lie, what they hold, how they are drawn."""

import dataclasses

import numpy as np
import pytest

from stfer.data.clips import last_frames, sliding
from stfer.data.examples import training_examples
from stfer.data.shards import load_shards, write_shards


@pytest.fixture
def shards(tmp_path):
    """Two sequences of 3 and 2 frames; every pixel of frame t of sequence s is 10 s + t."""
    rows = [
        (f"S{s}/1", f"S{s}", label, np.stack([np.full((8, 8, 3), 10 * s + t) for t in range(n)]))
        for s, label, n in ((0, "fear", 3), (1, "anger", 2))
    ]
    rows = [(*row[:3], row[3].astype(np.uint8)) for row in rows]
    return load_shards(write_shards(tmp_path / "set", rows, name="set"))


def test_further_clips_follow_the_own_ones(shards):
    rule = dataclasses.replace(sliding(1), random=True, apex=3)
    found = training_examples(shards, {"frames": rule})
    # Own clips: frame 2 of sequence 0, frame 1 of sequence 1; then 0 and 1 of the first, 0 of the second.
    assert found.draws.counts.tolist() == [3, 2]
    rows = np.arange(len(found.labels))
    assert found.gather(rows)["frames"][:, 0, 0, 0, 0].tolist() == [2, 11, 0, 1, 10]
    assert found.sequences(rows).tolist() == [0, 1, 0, 0, 1]
    assert found.labels.tolist() == [shards.labels[s] for s in (0, 1, 0, 0, 1)]
    assert found.nbytes == 5 * 8 * 8 * 3


def test_a_draw_finds_each_of_a_sequences_clips(shards):
    rule = dataclasses.replace(sliding(1), random=True, apex=3)
    draws = training_examples(shards, {"frames": rule}).draws
    rows = np.array([0, 0, 0, 1, 1])
    assert draws.places(rows, np.array([0.1, 0.4, 0.9, 0.2, 0.7])).tolist() == [0, 2, 3, 1, 4]


def test_without_random_clips_an_example_is_a_sequence(shards):
    found = training_examples(shards, {"frames": sliding(1)})
    assert found.draws is None
    assert found.labels.tolist() == shards.labels.tolist()


def test_streams_of_unlike_rules_are_refused(shards):
    rules = {"frames": sliding(1), "other": last_frames(2)}
    rules = {name: dataclasses.replace(rule, random=True) for name, rule in rules.items()}
    with pytest.raises(ValueError, match="frames, other give unlike numbers of clips"):
        training_examples(shards, rules)
