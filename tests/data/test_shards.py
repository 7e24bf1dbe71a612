"""Shards: what is written comes back, and nothing damaged or hostile is loaded."""

import csv
import json
import os

import numpy as np
import pytest

from stfer.data.sequence import EMOTIONS_6, EMOTIONS_7, Dropped
from stfer.data.shards import ShardWriter, load_data, load_shards, write_shards
from stfer.data.shards.format import header_checksum
from stfer.data.sources import Source
from stfer.data.synthetic import default
from stfer.storage.locks import LockedError

SIZE = 9


def frames(seed: int, length: int = 15) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (length, SIZE, SIZE, 3), np.uint8)


def sequences(count: int = 4, prefix: str = "s") -> list:
    return [
        (f"{prefix}{i}", f"p{i % 2}", EMOTIONS_6[i % 6], frames(i, 15 + i)) for i in range(count)
    ]


def options(**changes) -> dict:
    fields = {"name": "a", "population": "a", "classes": EMOTIONS_6, "size": SIZE, "crop": {}}
    return fields | changes


@pytest.fixture
def folder(tmp_path):
    return write_shards(tmp_path / "a", sequences(), name="a")


def test_what_is_written_comes_back(folder):
    shards = load_shards(folder)
    assert len(shards) == 4
    assert shards.name == "a"
    assert shards.classes == EMOTIONS_6
    assert shards.size == SIZE
    assert shards.ids == ("s0", "s1", "s2", "s3")
    assert shards.subjects == ("p0", "p1", "p0", "p1")
    assert (shards.labels.dtype, shards.labels.tolist()) == (np.int32, [0, 1, 2, 3])
    assert (shards.lengths.dtype, shards.lengths.tolist()) == (np.int32, [15, 16, 17, 18])
    for i, (*_, pixels) in enumerate(sequences()):
        np.testing.assert_array_equal(shards.frames(i), pixels)
    with pytest.raises(ValueError, match="read-only"):
        shards.frames(0)[0] = 0


def test_files_are_plain_csv_json_and_npy(folder):
    """Read without our loader: csv, json and numpy.load without pickle."""
    rows = list(csv.DictReader((folder / "sequences.csv").read_text().splitlines()))
    assert rows[1] == {
        "sequence": "s1", "subject": "p1", "label": "disgust",
        "file": "frames-00000.npy", "offset": "15", "frames": "16",
    }  # fmt: skip
    pixels = np.load(folder / "frames-00000.npy", mmap_mode="r", allow_pickle=False)
    assert pixels.shape == (15 + 16 + 17 + 18, SIZE, SIZE, 3)
    np.testing.assert_array_equal(pixels[15:31], frames(1, 16))
    header = json.loads((folder / "header.json").read_text())
    assert header["format"] == 2
    assert header["counts"] == {"sequences": 4, "subjects": 2, "frames": 66, "dropped": 0}
    assert header["versions"]["numpy"] == np.__version__
    assert os.listdir(folder.parent) == ["a"]


def test_several_frame_files(tmp_path):
    with ShardWriter(tmp_path / "a", **options(), shard_bytes=40 * SIZE * SIZE * 3) as writer:
        for sequence in sequences(5):
            writer.add(*sequence)
        writer.finish()
    assert sorted(p.name for p in (tmp_path / "a").glob("*.npy")) == [
        "frames-00000.npy", "frames-00001.npy", "frames-00002.npy",
    ]  # fmt: skip
    shards = load_shards(tmp_path / "a")
    for i, (*_, pixels) in enumerate(sequences(5)):
        np.testing.assert_array_equal(shards.frames(i), pixels)


def test_a_killed_writer_goes_on_and_gives_the_same_bytes(tmp_path, folder):
    with ShardWriter(tmp_path / "b", **options()) as writer:
        writer.add(*sequences()[0], note=[1])
        writer.drop(Dropped("x", "p", "fear", "no face"))
        writer.add(*sequences()[1])
        journal = writer.staging / "journal.jsonl"
        with pytest.raises(LockedError, match="another process is writing"):
            ShardWriter(tmp_path / "b", **options())
    assert not (tmp_path / "b").exists()
    with pytest.raises(FileNotFoundError):
        load_shards(writer.staging)
    # What a kill leaves: half a line of the journal, and frames that no line names.
    journal.write_bytes(journal.read_bytes() + b'{"kept": true, "seq')
    with open(writer.staging / "frames-00000.npy", "ab") as file:
        file.write(b"torn")
    with ShardWriter(tmp_path / "b", **options()) as writer:
        assert [(e["sequence"], e["kept"]) for e in writer.entries] == [
            ("s0", True), ("x", False), ("s1", True),
        ]  # fmt: skip
        assert writer.entries[0]["note"] == [1]
        for sequence in sequences()[2:]:
            writer.add(*sequence)
        writer.finish({"notes.txt": b"hello"})
    for name in ("frames-00000.npy", "sequences.csv"):
        assert (tmp_path / "b" / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(os.listdir(tmp_path / "b")) == [
        "frames-00000.npy", "header.json", "notes.txt", "sequences.csv",
    ]  # fmt: skip
    assert load_shards(tmp_path / "b").header["counts"]["dropped"] == 1


def test_lost_frames_are_written_again(tmp_path):
    with ShardWriter(tmp_path / "b", **options()) as writer:
        for sequence in sequences(2):
            writer.add(*sequence)
    with open(writer.staging / "frames-00000.npy", "r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(b"\0\0\0\0\0")
    with ShardWriter(tmp_path / "b", **options()) as writer:
        assert [entry["sequence"] for entry in writer.entries] == ["s0"]


def test_other_settings_begin_anew(tmp_path):
    with ShardWriter(tmp_path / "b", **options()) as writer:
        writer.add(*sequences()[0])
    with ShardWriter(tmp_path / "b", **options(crop={"margin": 0.5})) as writer:
        assert writer.entries == []
        assert os.listdir(writer.staging) == ["journal.jsonl"]


def test_an_existing_folder_is_not_overwritten(folder):
    before = sorted((p.name, p.read_bytes()) for p in folder.iterdir())
    with pytest.raises(FileExistsError, match="exists already"):
        write_shards(folder, sequences())
    assert sorted((p.name, p.read_bytes()) for p in folder.iterdir()) == before


def test_nothing_to_write(tmp_path):
    with pytest.raises(ValueError, match="no sequence is left"):
        write_shards(tmp_path / "a", [])
    with (
        ShardWriter(tmp_path / "b", **options()) as writer,
        pytest.raises(ValueError, match="no seq"),
    ):
        writer.finish()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "bad", [np.zeros((3, SIZE, SIZE), np.uint8), np.zeros((3, SIZE, SIZE, 3)), frames(0)[:0]]
)
def test_wrong_frames_are_refused(tmp_path, bad):
    with ShardWriter(tmp_path / "b", **options()) as writer, pytest.raises(ValueError, match="s9"):
        writer.add("s9", "p", "anger", bad)


@pytest.mark.parametrize("name", ["frames-00000.npy", "sequences.csv", "header.json"])
@pytest.mark.parametrize("change", ["flip", "cut", "grow", "remove"])
def test_any_changed_file_is_named(folder, name, change):
    path = folder / name
    data = bytearray(path.read_bytes())
    if change == "flip":
        # The last but one byte: a pixel, a digit of the table, the end of the header's checksum.
        position = data.rindex(b'"') - 1 if name == "header.json" else len(data) - 2
        data[position] ^= 1
    elif change == "cut":
        data = data[:-7]
    else:
        data += b"0"
    if change == "remove":
        path.unlink()
    else:
        path.write_bytes(data)
    with pytest.raises((ValueError, FileNotFoundError), match=name.replace(".", r"\.")):
        load_shards(folder)


def test_every_pixel_counts(folder):
    """A flip anywhere in the frames is found, also in the first and last byte."""
    path = folder / "frames-00000.npy"
    original = path.read_bytes()
    for position in (128, len(original) // 2, len(original) - 1):
        data = bytearray(original)
        data[position] ^= 128
        path.write_bytes(data)
        with pytest.raises(ValueError, match="was changed after it was written"):
            load_shards(folder)
        load_shards(folder, verify=False)


def rewrite_header(folder, consistent: bool = True, **changes):
    """Change fields as an attacker would: with a checksum that fits."""
    header = json.loads((folder / "header.json").read_text()) | changes
    if consistent:
        header["checksum"] = header_checksum(header)
    (folder / "header.json").write_text(json.dumps(header))


SHA = "0" * 64


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 3}, "shard format 3, this stfer reads up to 2: upgrade stfer"),
        ({"format": "1"}, "'format' is missing"),
        ({"format": 0}, "formats count from 1"),
        ({"size": 0}, "'size' is 0"),
        ({"size": 10**9}, "'size' is 1000000000"),
        ({"size": 10}, "not uint8"),
        ({"size": True}, "'size' is missing or no int"),
        ({"streams": []}, "'streams' is missing or no dict"),
        ({"streams": {"../x": {"dtype": "int8", "shape": []}}}, "no stream's name"),
        ({"streams": {"frames": {"dtype": "int8", "shape": []}}}, "no stream's name"),
        ({"streams": {"a": 3}}, "'a' must have a dtype and a shape"),
        ({"streams": {"a": {"dtype": "object", "shape": []}}}, "has the type 'object'"),
        ({"streams": {"a": {"dtype": None, "shape": []}}}, "has the type None"),
        ({"streams": {"a": {"dtype": "int8", "shape": [0]}}}, "lengths are whole and above 0"),
        ({"streams": {"a": {"dtype": "int8", "shape": [10**9] * 8}}}, "too large"),
        ({"streams": {"a": {"dtype": "int8", "shape": []}}}, "lists no a-00000.npy"),
        ({"frame_rate": 0}, "frame rate 0"),
        ({"frame_rate": float("nan")}, "frame rate nan"),
        ({"frame_rate": 10**400}, "frame rate 1000"),
        ({"frame_rate": "25"}, "frame rate 25"),
        ({"classes": []}, "'classes'"),
        ({"classes": ["anger", "anger"]}, "'classes'"),
        ({"classes": ["anger"]}, "not one of the header's classes"),
        ({"files": {"../../etc/passwd": SHA}}, "no plain file name"),
        ({"files": {"/etc/passwd": SHA}}, "no plain file name"),
        ({"files": {"..": SHA}}, "no plain file name"),
        ({"files": {"a\\b": SHA}}, "no plain file name"),
        ({"files": {"sequences.csv": "abc"}}, "no SHA-256"),
        ({"files": {"frames-00000.npy": SHA}}, "lists no sequences.csv"),
        ({"files": {"sequences.csv": SHA, "frames-00009.npy": SHA}}, "frames-00009.npy is missing"),
    ],
)
def test_hostile_headers(folder, changes, sentence):
    rewrite_header(folder, **changes)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        load_shards(folder)


def test_a_header_changed_by_hand_is_found(folder):
    rewrite_header(folder, consistent=False, crop={"margin": 9})
    with pytest.raises(ValueError, match="was changed"):
        load_shards(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_headers_that_are_none(folder, content):
    (folder / "header.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"header\.json"):
        load_shards(folder)


def test_links_are_refused(folder, tmp_path):
    outside = tmp_path / "outside.npy"
    path = folder / "frames-00000.npy"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(ValueError, match=r"frames-00000\.npy is refused.*no links"):
        load_shards(folder)


def test_absurd_and_pickled_arrays(folder):
    path = folder / "frames-00000.npy"

    def load():
        with pytest.raises(ValueError, match=r"frames-00000\.npy"):
            load_shards(folder, verify=False)

    with open(path, "wb") as file:
        shape = (2**61, SIZE, SIZE, 3)
        fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, fields)
    load()
    with open(path, "wb") as file:
        np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    load()
    for wrong in (
        np.zeros((66, SIZE, SIZE, 3), np.float32),
        np.zeros((0, SIZE, SIZE, 3), np.uint8),
    ):
        np.save(path, wrong)
        load()


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("s9,p,anger,frames-00000.npy,60,15", "ends at frame 75"),
        ("s9,p,anger,../x.npy,0,15", "no frame file"),
        ("s9,p,anger,frames-00000.npy,-1,15", "whole numbers"),
        ("s9,p,anger,frames-00000.npy,0,0", "without frames"),
        ("s9,p,anger,frames-00000.npy,0", "5 fields"),
        ("s9,p,rage,frames-00000.npy,0,15", "'rage'"),
        ("s0,p,anger,frames-00000.npy,0,15", "same id"),
        ('s9,"p,anger,frames-00000.npy,0,15', "line"),
    ],
)
def test_damaged_tables(folder, row, sentence):
    with open(folder / "sequences.csv", "a") as file:
        file.write(row + "\n")
    with pytest.raises(ValueError, match=rf"(sequences\.csv).*{sentence}|{sentence}"):
        load_shards(folder, verify=False)


def test_no_shard_folder(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="is no shard folder"):
            load_shards(path)
    with pytest.raises(ValueError, match="no shard folder is named"):
        load_data(" , ")


def test_names_are_data_never_paths(tmp_path):
    names = ["../../evil", "/abs", 'quo"te', "comma,line\nbreak", "Zoë", "", "a/../b"]
    given = [(name or "empty", name, "anger", frames(i)) for i, name in enumerate(names)]
    shards = load_shards(write_shards(tmp_path / "deep" / "a", given))
    assert shards.subjects == tuple(names)
    assert os.listdir(tmp_path) == ["deep"]


def test_several_sets_keep_their_subjects_apart(tmp_path):
    write_shards(tmp_path / "ck", sequences(2), name="ck")
    write_shards(tmp_path / "x", sequences(3), name="x")
    both = load_data(f"{tmp_path}/ck,{tmp_path}/x")
    assert both.name == "ck+x"
    assert both.ids == ("ck:s0", "ck:s1", "x:s0", "x:s1", "x:s2")
    assert both.subjects == ("ck:p0", "ck:p1", "x:p0", "x:p1", "x:p0")
    assert both.lengths.tolist() == [15, 16, 15, 16, 17]
    np.testing.assert_array_equal(both.frames(4), frames(2, 17))
    single = load_data(f"{tmp_path}/ck")
    assert single.subjects == ("p0", "p1")
    swapped = load_data(f"{tmp_path}/x,{tmp_path}/ck")
    assert len({single.checksum, both.checksum, swapped.checksum}) == 3


def test_one_population_in_several_folders_is_one_set_of_subjects(tmp_path):
    """Oulu-CASIA P001 in strong and in weak light is one subject, also from two folders."""
    for light in ("strong", "weak"):
        given = sequences(2, prefix=light)
        write_shards(tmp_path / light, given, name=light, population="oulu_casia")
    both = load_data(f"{tmp_path}/strong,{tmp_path}/weak")
    assert both.subjects == ("p0", "p1", "p0", "p1")
    with pytest.raises(ValueError, match="strong0 is in more than one"):
        load_data(f"{tmp_path}/strong,{tmp_path}/strong")


def test_sets_that_do_not_fit_together(tmp_path):
    write_shards(tmp_path / "a", sequences(1), name="a", crop={"detector": "lbp", "margin": 0.3})
    others = {
        "margin": {"crop": {"detector": "lbp", "margin": 0.2}},
        "detector": {"crop": {"detector": "none", "margin": 0.3}},
        "classes": {"crop": {"detector": "lbp", "margin": 0.3}, "classes": EMOTIONS_7},
    }
    for name, fields in others.items():
        write_shards(tmp_path / name, sequences(1), name=name, **fields)
        with pytest.raises(ValueError, match=f"do not fit together.*{name}"):
            load_data(f"{tmp_path}/a,{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("crop", "end"),
    [
        ({"detector": "lbp", "margin": 0.35}, "; give --synthetic_size=9 --synthetic_margin=0.35 "),
        ({"detector": "none", "margin": 0.35}, r"is lbp and none$"),
    ],
)
@pytest.mark.parametrize("order", ["synthetic,other", "other, synthetic"])
def test_a_synthetic_set_that_does_not_fit_is_told_with_which_flags_it_would(
    tmp_path, monkeypatch, crop, end, order
):
    """Where flags can make it fit: they cannot change the detector."""
    made = write_shards(
        tmp_path / "made", sequences(1), name="made", crop={"detector": "lbp", "margin": 0.15}
    )
    write_shards(tmp_path / "other", sequences(1, prefix="b"), name="other", crop=crop)
    monkeypatch.setattr(default, "ensure", lambda *given, **more: made)
    monkeypatch.chdir(tmp_path)
    source = Source(order, cache_dir=str(tmp_path))
    turned = end if order.startswith("synthetic") else end.replace("lbp and none", "none and lbp")
    with pytest.raises(ValueError, match=f"do not fit together: .*{turned}"):
        source.load()
