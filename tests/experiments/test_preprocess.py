"""The preprocess command: a whole CK+ and Oulu-CASIA tree, --check, and one sentence for every mistake."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from experiments_run import ROOT, run
from stfer.data.shards import load_data, load_shards

SIDE = 60


def picture(seed: int) -> bytes:
    image = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def write(path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def ck(tmp_path):
    """Three subjects; S003 is too short, S004 contempt, S005 unlabelled."""
    for subject, code, frames in (
        ("S001", 5, 16),
        ("S002", 7, 15),
        ("S003", 1, 14),
        ("S004", 2, 15),
        ("S005", 0, 15),
    ):
        for t in range(1, frames + 1):
            name = f"{subject}_001_{t:08d}"
            write(tmp_path / "ck/cohn-kanade-images" / subject / "001" / f"{name}.png", picture(t))
        if code:
            label = tmp_path / "ck/Emotion" / subject / "001" / f"{name}_emotion.txt"
            write(label, f"   {code}.0000000e+00\n".encode())
    return tmp_path / "ck"


@pytest.fixture
def oulu(tmp_path):
    for light in ("Strong", "Weak"):
        for subject in ("P001", "P002"):
            for t in range(15):
                write(
                    tmp_path / "oulu/OriginalImg/VL" / light / subject / "Fear" / f"{t:03d}.jpeg",
                    picture(t),
                )
    return tmp_path / "oulu"


def command(*flags, **options) -> subprocess.CompletedProcess:
    return run("preprocess", "--workers=1", *flags, cwd=ROOT, **options)


def test_a_set_is_made_without_waiting_for_jax(ck, tmp_path):
    """In a process of its own, as commands in tests else share one that has everything."""
    flags = ["--dataset=ck_plus", f"--root={ck}", f"--out={tmp_path / 'out'}", "--workers=1"]
    done = subprocess.run(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "experiments.preprocess",
            *flags,
            "--detector=none",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (tmp_path / "out").is_dir(), done.stderr[-500:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "cv2" in imported
    assert not {"jax", "sklearn", "pandas"} & imported


def assert_one_sentence(done: subprocess.CompletedProcess, *parts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


def test_ck_plus_to_shards(ck, tmp_path):
    out = tmp_path / "shards"
    done = command(
        "--dataset=ck_plus",
        f"--root={ck}",
        f"--out={out}",
        "--detector=none",
        "--size=16",
        "--preview",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(f"Wrote\n  {out}")
    assert ["happiness", "1", "#" * 20] in [line.split() for line in done.stdout.splitlines()]
    shards = load_shards(out)
    assert shards.ids == ("S001_001", "S002_001")
    assert shards.header["population"] == "ck_plus"
    assert sorted(os.listdir(out)) == [
        "class_distribution.png", "dropped.csv", "faces.csv", "frames-00000.npy", "header.json",
        "preview-001.jpg", "sequences.csv",
    ]  # fmt: skip
    dropped = (out / "dropped.csv").read_text().splitlines()
    assert dropped == [
        "sequence,subject,label,reason",
        "S005_001,S005,,unlabelled",
        'S003_001,S003,anger,"too short: 14 frames, at least 15 are needed"',
        "S004_001,S004,contempt,contempt: not one of the 6 classes",
    ]
    again = command("--dataset=ck_plus", f"--root={ck}", f"--out={out}", "--detector=none")
    assert_one_sentence(again, "exists already")


def test_check_reads_no_pixels_and_writes_nothing(ck, tmp_path):
    for path in ck.rglob("*.png"):
        path.write_bytes(b"no pixels")
    before = sorted(tmp_path.rglob("*"))
    done = command("--dataset=ck_plus", f"--root={ck}", "--check")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["sequences", "5", "593", "differs"] in lines
    assert ["labelled", "4", "327", "differs"] in lines
    assert ["without", "contempt", "3", "309", "differs"] in lines
    assert ["(the", "paper,", "after", "detection)", "198"] in lines
    assert "lengths: 15 to 16 frames" in done.stdout
    assert "e.g. S003_001: too short: 14 frames" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_benchmark_times_frames_and_writes_nothing(ck, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = command("--dataset=ck_plus", f"--root={ck}", "--benchmark=20")
    assert done.returncode == 0, done.stderr
    assert "20 frames, the last of 20x20" in done.stdout
    assert "found: none 20" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_seven_classes_and_shorter_sequences(ck, tmp_path):
    out = tmp_path / "shards"
    flags = ("--detector=none", "--size=16", "--classes=7", "--min_frames=14")
    assert command("--dataset=ck_plus", f"--root={ck}", f"--out={out}", *flags).returncode == 0
    shards = load_shards(out)
    assert [shards.classes[label] for label in shards.labels] == [
        "happiness",
        "surprise",
        "anger",
        "contempt",
    ]


def test_oulu_casia_and_both_sets_as_one(ck, oulu, tmp_path):
    flags = ("--detector=none", "--size=16")
    both = (
        "--light=strong,weak",
        f"--root={oulu}",
        "--dataset=oulu_casia",
        f"--out={tmp_path / 'oc'}",
    )
    done = command(*both, *flags)
    assert done.returncode == 0, done.stderr
    assert "960" in done.stdout
    assert (
        command("--dataset=ck_plus", f"--root={ck}", f"--out={tmp_path / 'ckp'}", *flags).returncode
        == 0
    )
    shards = load_data(f"{tmp_path / 'oc'},{tmp_path / 'ckp'}")
    assert shards.subjects == (
        "oulu_casia:P001", "oulu_casia:P002", "oulu_casia:P001", "oulu_casia:P002", "ck_plus:S001", "ck_plus:S002",
    )  # fmt: skip


def test_a_manifest(oulu, tmp_path):
    folder = oulu / "OriginalImg/VL/Strong"
    (tmp_path / "set.csv").write_text(
        f"path,subject,emotion\n{folder}/P001/Fear,A,FEA\noulu/none,B,rage\n"
    )
    flags = (
        "--dataset=manifest",
        f"--root={tmp_path / 'set.csv'}",
        f"--out={tmp_path / 'out'}",
        "--detector=none",
    )
    assert_one_sentence(command(*flags), "set.csv has 1 mistake: line 3: emotion 'rage' is unknown")
    (tmp_path / "set.csv").write_text(f"path,subject,emotion\n{folder}/P001/Fear,A,FEA\n")
    assert command(*flags).returncode == 0
    assert load_shards(tmp_path / "out").subjects == ("A",)


def test_two_manifests_of_the_same_people(oulu, tmp_path):
    folder = oulu / "OriginalImg/VL"
    for name, frames in (("first", "Strong/P001/Fear"), ("second", "Weak/P001/Fear")):
        row = f"{folder / frames},A,fear"
        (tmp_path / f"{name}.csv").write_text(f"path,subject,emotion\n{row}\n")
        root, out = f"--root={tmp_path / name}.csv", f"--out={tmp_path / name}"
        flags = ("--detector=none", "--size=16", "--population=lab")
        done = command("--dataset=manifest", root, out, *flags)
        assert done.returncode == 0, done.stderr
    together = load_data(f"{tmp_path / 'first'},{tmp_path / 'second'}")
    assert together.subjects == ("A", "A")  # one person, held out together
    assert len(set(together.ids)) == 2


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ((), ("--dataset is needed",)),
        (("--dataset=ck_plus",), ("--root is needed",)),
        (("--dataset=ck_plus", "--root=."), ("--out is needed",)),
        (
            ("--dataset=affectnet", "--root=.", "--check"),
            ("affectnet", "ck_plus, manifest, oulu_casia"),
        ),
        (("--dataset=ck_plus", "--root=/absent", "--check"), ("/absent does not exist",)),
        (
            ("--dataset=ck_plus", "--root=.", "--check"),
            ("is no unpacked CK+", "Emotion_labels/Emotion"),
        ),
        (("--dataset=ck_plus", "--root=.", "--out=x", "--margin=9"), ("margin 9",)),
        (("--dataset=oulu_casia", "--root=.", "--check"), ("no unpacked Oulu-CASIA",)),
        (
            ("--dataset=ck_plus", "--root=.", "--check", "--population=x"),
            ("ck_plus are one population already; --population is for",),
        ),
        (
            ("--dataset=ck_plus", "--root=.", "--check", "--options=depth=3"),
            ("'depth=3' is none of ck_plus, which takes NAME=VALUE with the names none",),
        ),
        (("--dataset=ck_plus", "--root=.", "--check", "--modules=absent_"), ("--modules=absent_",)),
        (("--dataset=ck_plus", "--root=.", "--out=x", "--detector=haar"), ("detector", "lbp")),
        (("--dataset=ck_plus", "--root=.", "--out=x", "--size=nine"), ("size",)),
    ],
)
def test_mistakes_are_one_sentence(flags, parts):
    assert_one_sentence(command(*flags), *parts)
    assert not os.path.exists("x")


MINE = '''
import re
from pathlib import Path

import numpy as np

from stfer.data.faces import Face, register_detector
from stfer.data.readers import register_reader
from stfer.data.sequence import Dropped, FrameSource, Sequence


@register_reader("mine", population="people", complete={"subjects": 3, "sequences": 4, "fear": 2})
def read(root, take="1"):
    """ROOT/SUBJECT_EMOTION_TAKE/*.png"""
    sequences, dropped = [], []
    for folder in sorted(Path(root).iterdir()):
        subject, emotion, number = folder.name.split("_")
        frames = sorted(folder.glob("*.png"), key=lambda file: int(re.search("[0-9]+", file.name)[0]))
        if number != take:
            dropped.append(Dropped(folder.name, subject, emotion, f"another take: {number}"))
            continue
        sources = tuple(FrameSource(str(file)) for file in frames)
        sequences.append(Sequence(folder.name, subject, emotion, sources, rate=50.0))
    return sequences, dropped


@register_detector("corner", margin=0.5)
def search(frame, near, fine=False):
    return [Face(4.0, 4.0, 8.0, 8.0)]
'''


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_reader_and_a_detector_from_outside(tmp_path, workers):
    """Also in worker processes, which have not imported the user's module."""
    (tmp_path / "mine.py").write_text(MINE)
    for name in ("A_fear_1", "B_fear_1", "B_anger_1", "A_anger_2"):
        for t in range(15):
            write(tmp_path / "raw" / name / f"{t}.png", picture(t))
    flags = ("--modules=mine", "--dataset=mine", f"--root={tmp_path / 'raw'}", "--detector=corner")
    flags += (f"--out={tmp_path / 'set'}", "--size=8", f"--workers={workers}")
    done = command(*flags, path=(tmp_path,))
    assert done.returncode == 0, done.stderr
    assert re.search(r"subjects +2 +3 +differs", done.stdout)
    assert re.search(r"fear +2 +2\n", done.stdout)
    assert "another take" in done.stdout
    shards = load_shards(tmp_path / "set")
    assert shards.ids == ("A_fear_1", "B_anger_1", "B_fear_1")
    assert shards.header["population"] == "people"
    assert shards.frame_rate == 50.0
    assert shards.crop["detector"] == "corner"
    # A box of 8 pixels with half of it added on each side is the frame's first 16, shrunk to 8.
    square = cv2.imdecode(np.frombuffer(picture(0), np.uint8), cv2.IMREAD_COLOR)[:16, :16, ::-1]
    expected = square.reshape(8, 2, 8, 2, 3).mean((1, 3))
    assert np.abs(shards.frames(0)[0] - expected).max() <= 0.5
    if workers == 1:
        other = command(*flags[:3], "--check", "--options=take=2", path=(tmp_path,))
        assert re.search(r"anger +1 ", other.stdout), other.stderr


def test_yunet_absent_is_said_before_any_work(ck, tmp_path):
    flags = ("--dataset=ck_plus", f"--root={ck}", f"--out={tmp_path / 'o'}", "--detector=yunet")
    done = command(*flags, f"--yunet_model={tmp_path / 'absent.onnx'}")
    assert_one_sentence(done, "absent.onnx", "does not exist")


def test_a_full_disk_leaves_nothing_loadable_and_goes_on_later(ck, tmp_path):
    """A limit on file sizes fails like a full disk, in the middle of a frame file."""
    out = tmp_path / "out"
    flags = ["--dataset=ck_plus", f"--root={ck}", f"--out={out}", "--detector=none", "--size=64"]
    done = command(*flags, TEST_FILE_LIMIT="250000")
    assert_one_sentence(done, "out.partial", "File too large")
    assert not out.exists()
    assert command(*flags).returncode == 0
    assert len(load_shards(out)) == 2


def test_an_unwritable_place(ck, tmp_path):
    (tmp_path / "file").write_text("")
    flags = ("--dataset=ck_plus", f"--root={ck}", "--detector=none")
    assert_one_sentence(command(*flags, f"--out={tmp_path / 'file' / 'out'}"), "Not a directory")
    assert_one_sentence(command(*flags, f"--out={tmp_path / 'file'}"), "exists already")
    assert_one_sentence(command(*flags, "--out=/proc/out"), "/proc/")
