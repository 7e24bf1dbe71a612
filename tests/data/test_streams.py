"""Named streams beside the frames: they come back, resume to the same bytes, and join where they fit."""

import csv
import doctest
import hashlib
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties import examples
from stfer.data.sequence import EMOTIONS_6, Dropped
from stfer.data.shards import ShardWriter, from_arrays, load_data, load_shards, write_shards
from stfer.storage.journal import Journal

SIZE = 9


@pytest.fixture(scope="module", autouse=True)
def _no_waiting_for_the_disk():
    """Hundreds of sets are written here, and no power is cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


POINTS = {"landmarks": (np.float32, (49, 2)), "intensity": (np.int16, ())}


def arrays(seed, length, streams=POINTS):
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (length, SIZE, SIZE, 3), np.uint8)
    return frames, {
        name: (100 * random.random((length, *shape))).astype(dtype)
        for name, (dtype, shape) in streams.items()
    }


def rows(lengths, streams=POINTS, prefix="s"):
    return [
        (f"{prefix}{i}", f"p{i % 2}", EMOTIONS_6[i % 6], *arrays(i, length, streams))
        for i, length in enumerate(lengths)
    ]


def options(**changes):
    fields = {"name": "a", "population": "a", "classes": EMOTIONS_6, "size": SIZE, "crop": {}}
    return fields | {"streams": POINTS} | changes


def assert_same(shards, expected):
    assert shards.ids == tuple(row[0] for row in expected)
    for i, (*_, frames, streams) in enumerate(expected):
        np.testing.assert_array_equal(shards.frames(i), frames)
        np.testing.assert_array_equal(shards.stream("frames", i), frames)
        for name, values in streams.items():
            found = shards.stream(name, i)
            assert found.dtype == values.dtype
            np.testing.assert_array_equal(found, values)


def test_streams_come_back_and_are_plain_npy_files(tmp_path):
    given_rows = rows([3, 1, 5])
    folder = write_shards(tmp_path / "a", given_rows, frame_rate=25)
    shards = load_shards(folder)
    assert_same(shards, given_rows)
    assert dict(shards.streams) == {
        "frames": (np.uint8, (SIZE, SIZE, 3)),
        "landmarks": (np.float32, (49, 2)),
        "intensity": (np.int16, ()),
    }
    assert shards.frame_rate == 25.0
    with pytest.raises(ValueError, match="read-only"):
        shards.stream("landmarks", 0)[0] = 0
    points = np.load(folder / "landmarks-00000.npy", allow_pickle=False)
    np.testing.assert_array_equal(points, np.concatenate([r[4]["landmarks"] for r in given_rows]))
    header = json.loads((folder / "header.json").read_text())
    assert header["streams"] == {
        "landmarks": {"dtype": "float32", "shape": [49, 2]},
        "intensity": {"dtype": "int16", "shape": []},
    }
    for name in ("landmarks-00000.npy", "intensity-00000.npy"):
        assert header["files"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_the_docstrings_example_runs():
    results = doctest.testmod(from_arrays)
    assert (results.failed, results.attempted) == (0, 5)


def test_a_set_of_format_1_is_read_and_has_the_checksum_that_it_had(tmp_path):
    """The header and its checksum as the first format had them, made here by hand."""
    folder = write_shards(tmp_path / "a", [row[:4] for row in rows([3, 4])])
    header = json.loads((folder / "header.json").read_text())
    content = {key: header[key] for key in ("classes", "size", "crop", "files")}
    old = {key: value for key, value in header.items() if key not in ("streams", "frame_rate")}
    old |= {
        "format": 1,
        "checksum": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
    }
    assert old["checksum"] == header["checksum"]
    (folder / "header.json").write_text(json.dumps(old))
    shards = load_shards(folder)
    assert list(shards.streams) == ["frames"]
    assert shards.frame_rate is None
    np.testing.assert_array_equal(shards.frames(1), arrays(1, 4)[0])


@pytest.mark.parametrize(
    ("streams", "sentence"),
    [
        ({}, "s9 has frames, and the set has frames, landmarks, intensity"),
        ({"landmarks": (np.float32, (49, 2))}, "s9 has frames, landmarks, and the set has"),
        (POINTS | {"other": (np.int8, ())}, "s9 has .*other"),
        (
            POINTS | {"landmarks": (np.float64, (49, 2))},
            r"s9: landmarks are float64 \(4, 49, 2\), not float32 \[frames, 49, 2\] with 4 frames",
        ),
        (POINTS | {"landmarks": (np.float32, (68, 2))}, "s9: landmarks"),
    ],
)
def test_streams_that_do_not_fit_are_refused(tmp_path, streams, sentence):
    frames, further = arrays(0, 4, streams)
    with (
        ShardWriter(tmp_path / "a", **options()) as writer,
        pytest.raises(ValueError, match=sentence),
    ):
        writer.add("s9", "p", "anger", frames, streams=further)
    short = {name: values[1:] for name, values in arrays(0, 4)[1].items()}
    with (
        ShardWriter(tmp_path / "b", **options()) as writer,
        pytest.raises(ValueError, match="with 4 frames"),
    ):
        writer.add("s9", "p", "anger", frames, streams=short)


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("Landmarks", (np.float32, (2,)), "no stream's name"),
        ("frames", (np.float32, (2,)), "no stream's name"),
        ("a", ("O", ()), "has the type 'O'; use one of bool"),
        ("a", ("complex64", ()), "complex64"),
        ("a", ("int8", (0,)), "above 0"),
    ],
)
def test_impossible_streams(tmp_path, name, kind, sentence):
    with pytest.raises(ValueError, match=sentence):
        ShardWriter(tmp_path / "a", **options(streams={name: kind}))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf"), "25", True])
def test_impossible_frame_rates(tmp_path, rate):
    with pytest.raises(ValueError, match="frame rate"):
        ShardWriter(tmp_path / "a", **options(frame_rate=rate))


def test_a_changed_stream_is_found_at_load(tmp_path):
    folder = write_shards(tmp_path / "a", rows([3]))
    path = folder / "landmarks-00000.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"landmarks-00000\.npy was changed"):
        load_shards(folder)
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"landmarks-00000\.npy is damaged"):
        load_shards(folder, verify=False)
    np.save(path, np.zeros((2, 49, 2), np.float32))
    with pytest.raises(ValueError, match=r"ends at frame 3 of landmarks-00000\.npy, which has 2"):
        load_shards(folder, verify=False)


def test_sets_join_where_their_streams_fit(tmp_path):
    for name in ("a", "b"):
        write_shards(tmp_path / name, rows([2, 3], prefix=name), name=name, frame_rate=25)
    landmarks = {"landmarks": (np.float32, (49, 2))}
    write_shards(tmp_path / "c", rows([4], landmarks, "c"), name="c", frame_rate=30)
    other = {"landmarks": (np.float32, (68, 2))}
    write_shards(tmp_path / "d", rows([4], other, "d"), name="d")
    together = load_data(f"{tmp_path}/a,{tmp_path}/b")
    assert list(together.streams) == ["frames", "landmarks", "intensity"]
    assert together.frame_rate == 25
    np.testing.assert_array_equal(together.stream("landmarks", 3), arrays(1, 3)[1]["landmarks"])
    three = load_data(f"{tmp_path}/a,{tmp_path}/b,{tmp_path}/c")
    assert three.frame_rate is None
    three.check_streams(["frames", "landmarks"])
    np.testing.assert_array_equal(
        three.stream("landmarks", 4), arrays(0, 4, landmarks)[1]["landmarks"]
    )
    with pytest.raises(ValueError, match=r"'intensity' is not in every set: .*/c lacks it"):
        three.stream("intensity", 0)
    unlike = load_data(f"{tmp_path}/a,{tmp_path}/d")
    assert len(unlike.frames(2)) == 4
    sentence = r"differs between the sets: float32 \[frames, 49, 2\] in .*/a, float32 \[frames, 68"
    with pytest.raises(ValueError, match=sentence):
        unlike.check_streams(["landmarks"])
    sentence = "a has no stream 'depth'; it has frames, landmarks, intensity"
    with pytest.raises(ValueError, match=sentence):
        load_shards(tmp_path / "a").stream("depth", 0)


kinds = st.tuples(
    st.sampled_from(["bool", "uint8", "int16", "int64", "float16", "float32", "float64"]),
    st.lists(st.integers(1, 4), max_size=3).map(tuple),
)


@examples(25)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    streams=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True), kinds, max_size=3
    ),
    per_file=st.integers(1, 20),
    dropped=st.sets(st.integers(0, 5)),
)
def test_any_lengths_and_streams_come_back(tmp_path_factory, lengths, streams, per_file, dropped):
    streams.pop("frames", None)
    folder = tmp_path_factory.mktemp("any") / "a"
    expected = rows(lengths, streams)
    bytes_per_frame = 3 * SIZE * SIZE
    with ShardWriter(
        folder, **options(streams=streams), shard_bytes=per_file * bytes_per_frame
    ) as writer:
        for i, (*about, frames, further) in enumerate(expected):
            if i in dropped:
                writer.drop(Dropped("x", "p", "fear", "no face"))
            writer.add(*about, frames, note=i, streams=further)
            np.testing.assert_array_equal(writer.frames(writer.entries[-1]), frames)
        writer.finish()
    shards = load_shards(folder)
    assert_same(shards, expected)
    assert shards.lengths.tolist() == lengths
    with open(folder / "sequences.csv", newline="") as file:
        assert [int(row["frames"]) for row in csv.DictReader(file)] == lengths


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished set, and what lay in the hidden folder just before it was finished."""
    top = tmp_path_factory.mktemp("whole")
    with ShardWriter(top / "a", **options(), shard_bytes=7000) as writer:
        for *about, frames, further in rows([3, 9, 2, 4]):
            writer.add(*about, frames, streams=further)
        writer.close()
        left = {path.name: path.read_bytes() for path in writer.staging.iterdir()}
    with ShardWriter(top / "a", **options(), shard_bytes=7000) as writer:
        assert len(writer.entries) == 4
        writer.finish()
    return top / "a", left


@pytest.mark.slow
@examples(40)
@given(data=st.data())
def test_a_kill_at_any_byte_goes_on_to_the_same_bytes(tmp_path_factory, whole, data):
    """The journal cut anywhere, and any of the arrays cut or longer than it says."""
    finished, left = whole
    staging = tmp_path_factory.mktemp("cut") / ".a.partial"
    staging.mkdir()
    for name, content in left.items():
        longest = len(content) if name == "journal.jsonl" else len(content) + 50
        cut = data.draw(st.integers(0, longest), label=name)
        (staging / name).write_bytes((content + bytes(50))[:cut])
    folder = staging.parent / "a"
    expected = rows([3, 9, 2, 4])
    with ShardWriter(folder, **options(), shard_bytes=7000) as writer:
        done = len(writer.entries)
        assert [entry["sequence"] for entry in writer.entries] == [r[0] for r in expected[:done]]
        for *about, frames, further in expected[done:]:
            writer.add(*about, frames, streams=further)
        writer.finish()
    for path in finished.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    assert sorted(os.listdir(folder)) == sorted(os.listdir(finished))


entries = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(), max_size=3))


@examples(60)
@given(wanted=entries, data=st.data())
def test_a_journal_cut_at_any_byte_keeps_its_whole_lines(tmp_path_factory, wanted, data):
    path = tmp_path_factory.mktemp("journal") / "journal"
    journal = Journal(path)
    journal.begin({"work": 1})
    ends = [path.stat().st_size]
    for entry in wanted:
        journal.append(entry)
        ends.append(path.stat().st_size)
    journal.close()
    cut = data.draw(st.integers(0, ends[-1]))
    os.truncate(path, cut)
    journal = Journal(path)
    found = journal.resume({"work": 1}, lambda entry: True)
    if cut < ends[0]:
        assert found is None
    else:
        whole_lines = sum(end <= cut for end in ends[1:])
        assert found == wanted[:whole_lines]
        assert path.stat().st_size == ends[whole_lines]
        journal.append({"more": True})
    journal.close()
    if cut >= ends[0]:
        journal = Journal(path)
        assert journal.resume({"work": 1}, lambda entry: True) == [*found, {"more": True}]
        assert journal.resume({"work": 2}, lambda entry: True) is None
        journal.close()
