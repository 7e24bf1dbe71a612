"""From sequences to shards: dropped rows for bad frames, the same bytes whatever the interruption."""

import csv
import dataclasses
import io
import multiprocessing
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest

from stfer.data import overview, preprocess
from stfer.data.cropping import Work, crop_group, crop_sequence
from stfer.data.faces import DETECTORS, CropSettings, lbp
from stfer.data.readers import READERS
from stfer.data.sequence import EMOTIONS_6, Dropped, FrameSource, Sequence
from stfer.data.shards import load_shards

NONE = CropSettings("none", size=16)
LBP = CropSettings(size=32)
INTERPOLATE = CropSettings(size=32, missing_faces="interpolate")


def sequence(name: str, paths, label: str = "anger", **fields) -> Sequence:
    return Sequence(
        name, f"subject {name}", label, tuple(FrameSource(str(p)) for p in paths), **fields
    )


@pytest.fixture
def make(tmp_path, png):
    """Writes images as one sequence's frames."""

    def write(name: str, images, label: str = "anger") -> Sequence:
        paths = [tmp_path / "raw" / name / f"{i:03d}.png" for i in range(len(images))]
        for path, image in zip(paths, images, strict=True):
            png(path, image)
        return sequence(name, paths, label)

    return write


def plain(count: int, seed: int = 0, shape=(20, 20, 3)) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8))


def run(sequences, out, settings=NONE, **options):
    return preprocess.preprocess(sequences, out, settings, name="t", population="t", **options)


def rows(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


def test_pixels_labels_and_tables(tmp_path, make):
    images = [plain(15, seed, (16, 16, 3)) for seed in range(2)]
    given = [make("a", images[0], "fear"), make("b", images[1], "surprise")]
    gone = Dropped("z", "S9", "contempt", "contempt: not one of the 6 classes")
    seen = []
    result = run(given, tmp_path / "out", dropped=[gone], progress=seen.append)
    assert seen == [15, 15]
    shards = load_shards(result.folder)
    assert [EMOTIONS_6[label] for label in shards.labels] == ["fear", "surprise"]
    assert shards.subjects == ("subject a", "subject b")
    assert shards.crop == {"detector": "none", "margin": 0.0, "size": 16, "missing_faces": "drop"}
    for i in range(2):
        # OpenCV wrote the images, so their channels are BGR.
        np.testing.assert_array_equal(shards.frames(i), np.stack(images[i])[..., ::-1])
    assert rows(result.folder / "dropped.csv") == [
        {"sequence": "z", "subject": "S9", "label": "contempt", "reason": gone.reason}
    ]
    boxes = rows(result.folder / "faces.csv")
    assert len(boxes) == 30
    assert boxes[16] == {
        "sequence": "b", "frame": "1", "left": "0.00", "top": "0.00", "width": "16.00",
        "height": "16.00", "roll": "0.00", "found": "near",
    }  # fmt: skip


def test_every_bad_sequence_is_a_row_and_the_good_ones_stay(tmp_path, make):
    good = make("good", plain(15))
    empty, text, cut, size, gone = (
        make(name, plain(15)) for name in ("empty", "text", "cut", "size", "gone")
    )
    files = [s.frames[7].path for s in (empty, text, cut, gone)]
    open(files[0], "wb").close()
    with open(files[1], "w") as file:
        file.write("not an image")
    os.truncate(files[2], os.path.getsize(files[2]) // 2)
    os.remove(files[3])
    cv2.imwrite(size.frames[7].path, plain(1, shape=(20, 24, 3))[0])
    kinds = [
        make("grey", plain(15, shape=(20, 20))),
        make("alpha", plain(15, shape=(20, 20, 4))),
        make("deep", [image.astype(np.uint16) * 257 for image in plain(15)]),
    ]
    result = run([empty, text, good, cut, size, *kinds, gone], tmp_path / "out")
    assert load_shards(result.folder).ids == ("good", "grey", "alpha", "deep")
    assert {d.sequence: d.reason for d in result.dropped} == {
        "empty": "unreadable file: 007.png is empty",
        "text": "unreadable file: 007.png is no image that OpenCV reads",
        "cut": "unreadable file: 007.png is cut short",
        "size": "frame sizes differ: 20x20, and 24x20 in 007.png",
        "gone": "unreadable file: 007.png, No such file or directory",
    }


def test_nothing_left_is_an_error_and_writes_nothing(tmp_path, make):
    with pytest.raises(
        ValueError,
        match=r"all 1 were dropped; the first: a, no face in frame 1: 000\.png, and in 14",
    ):
        run([make("a", plain(15))], tmp_path / "out", LBP)
    assert not (tmp_path / "out").exists()


def faces_with(face, missing) -> list[np.ndarray]:
    """Sixteen frames of a face that moves 2 pixels a frame; without it where `missing` says."""
    return [
        np.full((100, 140), 120, np.uint8) if t in missing else face(100, 140, 55 + 2 * t, 50, 66)
        for t in range(16)
    ]


def test_a_frame_without_a_face_drops_its_sequence(make, face):
    found = crop_sequence(make("a", faces_with(face, ())), LBP)
    assert {how for _, how in found.faces} <= {"near", "whole"}
    assert crop_sequence(make("b", faces_with(face, (7,))), LBP) == "no face in frame 8: 007.png"
    reason = crop_sequence(make("c", faces_with(face, (0, 3, 15))), LBP)
    assert reason == "no face in frame 1: 000.png, and in 2 more"


def test_missing_faces_are_interpolated_between_their_neighbours(make, face):
    whole = crop_sequence(make("a", faces_with(face, ())), LBP)
    found = crop_sequence(make("b", faces_with(face, (4, 7, 8))), INTERPOLATE)
    assert [t for t, (_, how) in enumerate(found.faces) if how == "interpolated"] == [4, 7, 8]
    x = [box.x for box, _ in found.faces]
    assert x[7] == pytest.approx(x[6] + (x[9] - x[6]) / 3)
    assert abs(x[7] - whole.faces[7].face.x) < 6
    assert found.crops[7].any()
    reason = crop_sequence(make("c", [np.full((100, 140), 9, np.uint8)] * 15), INTERPOLATE)
    assert reason.startswith("no face in frame 1")


def test_what_interpolation_does_not_fill(make, face):
    """Nothing before the first face or after the last, and at most a share of the frames."""
    for name, missing in (("a", (0,)), ("b", (15,))):
        reason = crop_sequence(make(name, faces_with(face, missing)), INTERPOLATE)
        assert reason.endswith("interpolation fills only between faces")
    many = make("c", faces_with(face, (4, 6, 8, 10, 12)))
    assert crop_sequence(many, INTERPOLATE) == (
        "no face in frame 5: 004.png, and in 4 more; interpolation fills at most 25% of the frames, "
        "and 31% lack a face"
    )
    [found] = crop_group([many], Work(INTERPOLATE, missing_share=0.4))
    assert [how for _, how in found.faces].count("interpolated") == 5


def test_the_first_frames_are_sought_from_the_next_ones(make, face, monkeypatch):
    """A face that only the fine search finds, before any other was found."""
    given = make("a", faces_with(face, ()))
    real, calls = lbp.search, []

    def blind_at_first(frame, near, fine=False):
        calls.append(fine)
        return [] if not fine and len(calls) <= 2 else real(frame, near, fine)

    blind = dataclasses.replace(DETECTORS["lbp"], search=blind_at_first)
    monkeypatch.setitem(DETECTORS._entries, "lbp", blind)
    found = crop_sequence(given, LBP)
    assert [how for _, how in found.faces[:3]] == ["fine", "fine", "whole"]
    for t in (0, 1):
        box = found.faces[t].face
        assert abs(box.x + box.width / 2 - (55 + 2 * t)) < 8


def test_videos(tmp_path, face):
    path = str(tmp_path / "v.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 25, (140, 100))
    for t in range(16):
        writer.write(cv2.cvtColor(face(100, 140, 55 + 2 * t, 50, 66), cv2.COLOR_GRAY2BGR))
    writer.release()
    sources = tuple(FrameSource(path, number) for number in range(20))
    found = crop_sequence(Sequence("v", "p", "fear", sources, open_end=True), LBP, 15)
    assert found.crops.shape == (16, 32, 32, 3)
    reason = crop_sequence(Sequence("v", "p", "fear", sources, open_end=True), LBP, 17)
    assert reason.startswith("too short: 16 frames")
    reason = crop_sequence(Sequence("v", "p", "fear", sources), LBP, 15)
    assert reason == "unreadable file: the video ends before frame 16"


def test_too_long_a_sequence_is_not_read():
    sources = (FrameSource("absent.png"),) * 5000
    assert crop_sequence(Sequence("a", "p", "fear", sources), NONE).startswith(
        "too long: 5000 frames"
    )


@pytest.mark.slow
def test_processes_give_the_same_bytes_as_one(tmp_path, make):
    given = [make(f"s{i}", plain(15, i)) for i in range(5)]
    os.truncate(given[2].frames[3].path, 30)
    one = run(given, tmp_path / "one").folder
    two = run(given, tmp_path / "two", workers=2).folder
    assert multiprocessing.active_children() == []
    for name in sorted(os.listdir(one)):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


SCRIPT = """
import os, signal, sys
from stfer.data import preprocess
from stfer.data.faces import CropSettings
from stfer.data.sequence import FrameSource, Sequence

root, out, kill_after = sys.argv[1], sys.argv[2], int(sys.argv[3])
sequences = [
    Sequence(f"s{i}", "p", "fear", tuple(FrameSource(f"{root}/s{i}/{t:03d}.png") for t in range(15)))
    for i in range(5)
]
done = []
def progress(frames):
    done.append(frames)
    if len(done) == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)
read = []
real = preprocess.crop_group
def counted(sequences, *rest):
    read.extend(sequence.id for sequence in sequences)
    return real(sequences, *rest)
preprocess.crop_group = counted
preprocess.preprocess(
    sequences, out, CropSettings("none", size=16), name="t", population="t", progress=progress)
print(",".join(read))
"""


@pytest.mark.slow
def test_killed_and_started_again(tmp_path, make):
    """A real SIGKILL: the second run reads only what the first had not written, to the same bytes."""
    for i in range(5):
        make(f"s{i}", plain(15, i))

    def start(out, kill_after):
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "raw"), str(tmp_path / out), str(kill_after)],
            capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": os.getcwd()},
        )  # fmt: skip

    assert start("a", 3).returncode == -signal.SIGKILL
    assert not (tmp_path / "a").exists()
    again = start("a", -1)
    assert again.stdout.strip() == "s3,s4", again.stderr
    assert start("b", -1).stdout.strip() == "s0,s1,s2,s3,s4"
    for name in ("frames-00000.npy", "sequences.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not list(tmp_path.glob(".*partial"))


def test_the_data_room_does_not_import_jax():
    code = (
        "import sys, stfer.data.preprocess, stfer.data.shards, stfer.data.overview, stfer.data.readers.manifest, "
        "stfer.data.faces.yunet, stfer.data.clips; sys.exit('jax' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_largest_jump_by_hand():
    boxes = np.array(
        [[0, 0, 10, 10], [1, 0, 10, 10], [1, 0, 10, 10], [4, 4, 10, 10], [4, 4, 16, 16]], float
    )
    frame, jump = overview.largest_jump(boxes)
    # From box 4 to 5: centre moves (3, 3), side grows 6 of 10; from 3 to 4: (3, 4) of 10.
    assert (frame, jump) == (4, pytest.approx(0.6))
    assert overview.largest_jump(boxes[:1]) == (0, 0.0)


def test_contact_sheets_show_the_worst_first():
    calm = [[0, 0, 10, 10, 0, "near"]] * 3
    wild = [[0, 0, 10, 10, 0, "near"], [50, 0, 10, 10, 0, "whole"], [50, 0, 10, 10, 0, "near"]]
    crops = {
        name: np.full((3, 20, 20, 3), grey, np.uint8)
        for name, grey in (("calm", 50), ("wild", 200))
    }
    sheets = overview.contact_sheets([("calm", crops["calm"], calm), ("wïld", crops["wild"], wild)])
    assert list(sheets) == ["preview-001.jpg"]
    page = cv2.imdecode(np.frombuffer(sheets["preview-001.jpg"], np.uint8), cv2.IMREAD_COLOR)
    middle = overview.TILE // 2 + 16
    assert abs(int(page[middle, 40, 0]) - 200) < 8
    assert abs(int(page[middle, 4 * overview.TILE + 8 + 40, 0]) - 50) < 8
    many = overview.contact_sheets([(str(i), crops["calm"], calm) for i in range(73)])
    assert list(many) == ["preview-001.jpg", "preview-002.jpg"]


def test_class_distribution_is_a_png():
    data = overview.draw_class_distribution(["fear", "fear", "anger"], EMOTIONS_6, "a $set_1")
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[2] == 3


def test_counts_stand_beside_the_complete_set():
    one = sequence("a", ["x.png"])
    complete_ck = READERS["ck_plus"].complete_counts()
    table = {
        what: (found, complete)
        for what, found, complete in overview.complete_counts(complete_ck, [one], [], [])
    }
    assert table["sequences"] == (1, 593)
    assert table["labelled"] == (1, 327)
    assert table["without contempt"] == (1, 309)
    assert table["anger"] == (1, 45)
    assert complete_ck["the paper's"] == 198
    counts = READERS["oulu_casia"].complete_counts
    three = counts(lights=["strong", "weak", "dark"])
    oulu = {what: complete for what, _, complete in overview.complete_counts(three, [one], [], [])}
    assert (oulu["sequences"], oulu["subjects"], oulu["anger"]) == (1440, 80, 240)
    assert counts(lights=["strong"], modality="vl")["the paper's"] == 445
    for lights, modality in ((["dark"], "vl"), (["strong"], "ni"), (["strong", "weak"], "vl")):
        assert "the paper's" not in counts(lights=lights, modality=modality)
    anything = overview.complete_counts({}, [one], [], [one])
    assert anything == [
        ("subjects", 1, None),
        ("sequences", 1, None),
        (one.label, 1, None),
        ("left before face detection", 1, None),
    ]
