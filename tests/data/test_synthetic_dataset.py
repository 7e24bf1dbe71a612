"""The set as files, and its cache: layout, labels, sameness of bytes, interruptions, two at once."""

import re
import shutil
import threading

import cv2
import numpy as np
import pytest

from stfer.data.readers import ck_plus
from stfer.data.sequence import EMOTIONS_6
from stfer.data.shards import load_shards
from stfer.data.synthetic import dataset, default, generate

SEED = 3
CODES = {1: "anger", 3: "disgust", 4: "fear", 5: "happiness", 6: "sadness", 7: "surprise"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """One subject, drawn by two processes."""
    out = tmp_path_factory.mktemp("synthetic") / "set"
    assert generate(out, subjects=1, seed=SEED, workers=2, progress=False) == out
    return out


@pytest.mark.slow
def test_layout_and_labels_are_those_of_ck_plus(tree):
    images = sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*.png"))
    pattern = r"cohn-kanade-images/S001/(00[1-6])/S001_\1_\d{8}\.png"
    assert all(re.fullmatch(pattern, name) for name in images)
    found = set()
    for label in tree.rglob("*.txt"):
        assert re.fullmatch(r"   \d\.0000000e\+00\n", label.read_text())
        last = label.name.removesuffix("_emotion.txt")
        frames = sorted((tree / "cohn-kanade-images/S001" / label.parent.name).iterdir())
        assert frames[-1].name == f"{last}.png"
        assert [int(f.stem[-8:]) for f in frames] == list(range(1, len(frames) + 1))
        assert 15 <= len(frames) <= 30
        found.add(CODES[int(float(label.read_text()))])
    assert found == set(EMOTIONS_6)


@pytest.mark.slow
def test_the_ck_plus_reader_reads_it(tree):
    sequences, dropped = ck_plus.read(tree)
    assert not dropped
    assert sorted(s.label for s in sequences) == sorted(EMOTIONS_6)
    assert {s.subject for s in sequences} == {"S001"}


@pytest.mark.slow
def test_frame_counts_are_known_before_drawing(tree):
    drawn = {p.name: len(list(p.iterdir())) for p in (tree / "cohn-kanade-images/S001").iterdir()}
    counts = [dataset.frame_count(SEED, 1, emotion) for emotion in EMOTIONS_6]
    assert [drawn[f"{take:03d}"] for take in range(1, 7)] == counts


@pytest.mark.slow
def test_same_seed_gives_the_same_pixels_in_any_process_and_any_set(tree):
    # Drawn here, alone, without the other sequences.
    shortest = min(EMOTIONS_6, key=lambda emotion: dataset.frame_count(SEED, 1, emotion))
    take = f"{EMOTIONS_6.index(shortest) + 1:03d}"
    files = sorted((tree / f"cohn-kanade-images/S001/{take}").iterdir())
    for path, frame in zip(files, dataset.render_sequence(SEED, 1, shortest), strict=True):
        stored = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
        np.testing.assert_array_equal(stored, frame)


def test_another_seed_and_another_subject_are_other_people():
    shapes = [
        dataset.identity_of(seed, subject).shape for seed, subject in ((0, 1), (0, 2), (1, 1))
    ]
    assert shapes[0] != shapes[1]
    assert shapes[0] != shapes[2]
    assert dataset.identity_of(0, 1).shape == shapes[0]


@pytest.mark.slow
def test_the_face_moves_from_first_to_last_frame(tree):
    for folder in (tree / "cohn-kanade-images/S001").iterdir():
        files = sorted(folder.iterdir())
        first, second, last = (
            cv2.GaussianBlur(cv2.imread(str(f), cv2.IMREAD_GRAYSCALE).astype(np.float32), (0, 0), 2)
            for f in (files[0], files[1], files[-1])
        )
        assert np.abs(last - first).max() > 25
        assert np.abs(second - first).mean() < np.abs(last - first).mean()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"subjects": 0}, "subjects=0"),
        ({"subjects": 1000}, "subjects=1000"),
        ({"seed": -1}, "seed=-1"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        generate(tmp_path / "out", **{"subjects": 1, "progress": False, **arguments})
    assert not any(tmp_path.iterdir())


def test_a_folder_in_use_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        generate(tmp_path, subjects=1, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(out, task):
        (out / "half").write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(dataset, "_write_sequence", fail)
    with pytest.raises(OSError, match="disk full"):
        generate(tmp_path / "out", subjects=1, workers=1, progress=False)
    assert not any(tmp_path.iterdir())


@pytest.fixture
def instead(monkeypatch):
    """Let `ensure` take a tree instead of drawing one; returns what sets the tree and gives the list of calls."""
    calls = []

    def take(make):
        def generate(out, subjects, seed, workers, progress):
            calls.append((subjects, seed))
            make(out)
            return out

        monkeypatch.setattr(default, "generate", generate)
        return calls

    return take


@pytest.fixture
def copied(tree, instead):
    """`ensure` copies the drawn tree."""
    return instead(lambda out: shutil.copytree(tree, out))


@pytest.fixture
def sketched(ck_sequence, face, instead):
    """`ensure` gets the same simple face in all frames of the six sequences."""

    def sketch(out):
        for take, code in enumerate(CODES, start=1):
            label = f"   {code}.0000000e+00\n".encode()
            ck_sequence(out, "S001", f"{take:03d}", 15, label, face(120, 160))

    return instead(sketch)


@pytest.mark.slow
def test_ensure_makes_shards_with_every_face_found_and_keeps_no_frames(tmp_path, copied):
    folder = default.ensure(tmp_path, subjects=1, seed=SEED, workers=1, progress=False)
    shards = load_shards(folder)
    assert len(shards) == 6  # The cascade found the face in every frame: nothing was dropped.
    assert sorted(shards.classes[label] for label in shards.labels) == sorted(EMOTIONS_6)
    assert shards.frames(0).shape[1:] == (170, 170, 3)
    assert not list(tmp_path.rglob("cohn-kanade-images"))
    assert "," not in str(folder.relative_to(tmp_path))
    # Found again, not made again; another seed is another set.
    assert default.ensure(tmp_path, subjects=1, seed=SEED, workers=1, progress=False) == folder
    assert copied == [(1, SEED)]
    assert default.shard_folder(tmp_path, 1, SEED + 1) != folder


@pytest.mark.slow
def test_ensure_makes_a_damaged_set_again(tmp_path, copied):
    folder = default.ensure(tmp_path, subjects=1, seed=SEED, workers=1, progress=False)
    checksum = load_shards(folder).checksum
    frames = next(folder.glob("*.npy"))
    data = bytearray(frames.read_bytes())
    data[-1000] ^= 255
    frames.write_bytes(data)
    again = default.ensure(tmp_path, subjects=1, seed=SEED, workers=1, progress=False)
    assert again == folder
    assert load_shards(again).checksum == checksum
    assert len(copied) == 2


def test_an_interrupted_ensure_is_not_taken_for_a_finished_one(tmp_path, sketched, monkeypatch):
    sketch = default.generate

    def interrupted(out, *rest):
        leftover = out.with_name(f".{out.name}.partial-abc")
        leftover.mkdir(parents=True)
        (leftover / "half.png").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(default, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        default.ensure(tmp_path, subjects=1, seed=SEED, workers=1, progress=False)
    folder = default.shard_folder(tmp_path, 1, SEED)
    assert not folder.exists()
    monkeypatch.setattr(default, "generate", sketch)
    assert default.ensure(tmp_path, subjects=1, seed=SEED, workers=1, progress=False) == folder
    assert not list(tmp_path.rglob("half.png"))
    assert len(load_shards(folder)) == 6
    assert default.ensure(tmp_path, subjects=1, seed=SEED, workers=1, progress=False) == folder
    assert sketched == [(1, SEED)], "found again, not made again"


@pytest.mark.slow
def test_two_at_once_make_the_set_once(tmp_path, copied):
    folders = []

    def call():
        folders.append(default.ensure(tmp_path, 1, SEED, workers=1, progress=False))

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders[0] == folders[1]
    assert copied == [(1, SEED)]
