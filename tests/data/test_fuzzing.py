"""Thousands of damaged files of many formats: a sentence or a whole result, no crash, no hang, nothing half-written."""

import os
from collections import Counter
from pathlib import Path

import mutations
import numpy as np
import pytest
from mutations import PICTURES, SHARDS, TABLES, VIDEOS, damaged, make_valid, try_many

from stfer.data import preprocess
from stfer.data.faces import CropSettings
from stfer.data.pictures import read_image
from stfer.data.readers import manifest
from stfer.data.sequence import UnreadableFrameError
from stfer.data.shards import load_shards
from stfer.data.workers import Died, run

FORMATS = (*PICTURES, *VIDEOS, *TABLES, *SHARDS)
TRIES = {"slow": 160, "quick": 4}
LONGEST = 5.0  # processor seconds


def nothing():
    # A worker that writes core files or asks for all memory would be no fair judge.
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")
    make_valid(folder)
    return folder


def outcomes(valid: Path, kinds, tries: int) -> Counter:
    """What damaged files came to, each read in a process of its own kind that may die."""
    items = [(str(valid), kind, seed) for kind in kinds for seed in range(tries)]
    groups = [items[start : start + 20] for start in range(0, len(items), 20)]
    workers = max(1, len(os.sched_getaffinity(0)))
    counts: Counter = Counter()
    for item, result in zip(items, run(try_many, groups, workers, nothing), strict=True):
        assert not isinstance(result, Died), f"{item[1:]}: {result}"
        outcome, seconds = result
        assert outcome in ("sentence", "whole"), f"{item[1:]}: {outcome}"
        assert seconds < LONGEST, f"{item[1:]}: {seconds:.1f} s"
        counts[item[1], outcome] += 1
    return counts


def test_there_are_formats_enough():
    assert len(FORMATS) >= 12
    assert len(FORMATS) * TRIES["slow"] >= 2000


def test_valid_files_are_whole(valid, monkeypatch):
    monkeypatch.setattr(mutations, "damaged", lambda data, seed: data)
    for kind in FORMATS:
        assert try_many([(str(valid), kind, 0)])[0][0] == "whole", kind


@pytest.mark.slow
def test_a_few_damaged_files_of_every_format(valid):
    outcomes(valid, FORMATS, TRIES["quick"])


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [tuple(PICTURES), tuple(VIDEOS), TABLES, SHARDS])
def test_damaged_files(valid, kinds):
    counts = outcomes(valid, kinds, TRIES["slow"])
    for kind in kinds:
        assert counts[kind, "sentence"] > 0, "damage that no reader notices is no test"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tiff", "webp", "pgm", "avif"])
def test_no_cut_picture_is_filled(valid, tmp_path, kind):
    """Cut anywhere, a picture is a sentence, or what was cut off was behind its pixels."""
    data = (valid / f"valid.{kind}").read_bytes()
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    whole = read_image(str(path))
    for length in sorted(
        {*range(1, len(data), max(1, len(data) // 60)), *range(len(data) - 8, len(data))}
    ):
        path.write_bytes(data[:length])
        try:
            found = read_image(str(path))
        except UnreadableFrameError:
            continue
        np.testing.assert_array_equal(found, whole)


@pytest.mark.slow
def test_no_half_written_folder(valid, tmp_path):
    """Damaged manifests and videos, all the way to shards: a whole folder or none."""
    made = 0
    for seed in range(60):
        place = tmp_path / str(seed)
        place.mkdir()
        (place / "frames").symlink_to(valid / "frames")
        table = (valid / "valid.csv").read_bytes()
        (place / "a.csv").write_bytes(damaged(table, seed) if seed % 2 else table)
        video = (valid / "valid.mp4").read_bytes()
        (place / "clip.mp4").write_bytes(video if seed % 2 else damaged(video, seed))
        try:
            sequences, dropped = manifest.read(place / "a.csv")
            preprocess.preprocess(
                sequences, place / "out", CropSettings("none", size=16), name="t", population="t",
                dropped=dropped, min_frames=1,
            )  # fmt: skip
        except (ValueError, OSError):
            assert not (place / "out").exists()
        else:
            made += 1
            assert len(load_shards(place / "out")) >= 1
    assert 5 < made < 60
