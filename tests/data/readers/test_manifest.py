"""Manifests: folders and videos, every mistake with its line, and any bytes at all."""

import csv
import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfer.data.labels import load_synonyms
from stfer.data.readers import manifest
from stfer.data.sequence import EMOTIONS_7

SYNONYMS = load_synonyms()


def write_video(path, frames=12, size=(32, 24), rate=25):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, size)
    assert video.isOpened()
    for number in range(frames):
        video.write(np.full((size[1], size[0], 3), 10 * number, np.uint8))
    video.release()


@pytest.fixture
def root(tmp_path, png):
    for number in (1, 2, 3, 10, 11):
        png(tmp_path / f"clips/ana smile/f{number}.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "clips/ana smile/notes.txt").write_text("")
    write_video(tmp_path / "bo.avi")
    return tmp_path


def read(root, text: str | bytes, **options):
    path = root / "set.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return manifest.read(path, **options)


def test_folders_and_videos(root):
    elsewhere = root / "clips/ana smile"
    text = (
        "path,subject,emotion,start,end,sequence\n"
        "clips/ana smile,Ana,HAP,,,smile\n"
        f"{elsewhere},Ana,happy,1,3,\n"
        "\n"
        "bo.avi,Bo,Angry,2,6,\n"
        "bo.avi,Bo,sad,4,,rest\n"
    )
    sequences, dropped = read(root, text)
    assert dropped == []
    assert [(s.id, s.subject, s.label, len(s), s.open_end) for s in sequences] == [
        ("smile", "Ana", "happiness", 5, False),
        (f"{elsewhere}[1:3]", "Ana", "happiness", 2, False),
        ("bo.avi[2:6]", "Bo", "anger", 4, False),
        ("rest", "Bo", "sadness", 8, True),
    ]
    # Numeric order: f3 before f10; start and end count files from 0.
    assert [f.path[-7:] for f in sequences[0].frames] == [
        "/f1.png",
        "/f2.png",
        "/f3.png",
        "f10.png",
        "f11.png",
    ]
    assert [f.path[-6:] for f in sequences[1].frames] == ["f2.png", "f3.png"]
    assert sequences[0].missing == "frames 4 to 9 missing"
    assert [f.number for f in sequences[2].frames] == [2, 3, 4, 5]


def test_columns_in_any_order_with_a_byte_order_mark(root):
    sequences, _ = read(root, "\ufeffEmotion, subject ,path\r\nfear,Zoë,bo.avi\r\n")
    assert [(s.subject, s.label, len(s)) for s in sequences] == [("Zoë", "fear", 12)]


def test_every_mistake_at_once_with_its_line(root):
    text = (
        "path,subject,emotion,start,end\n"  # 1
        "bo.avi,Bo,rage,,\n"  # 2
        ",,happy,,\n"  # 3
        "bo.avi,Bo,happy,-1,x\n"  # 4
        "bo.avi,Bo,happy,5,5\n"  # 5
        "gone.avi,Bo,happy,,\n"  # 6
        "bo.avi,Bo,happy,0,13\n"  # 7
        "clips/ana smile,Ana,happy,5,\n"  # 8
        "bo.avi,Bo,happy\n"  # 9
        '"bo.avi","B\no",happy,0,3\n'  # 10, 11
        "bo.avi,Bo,happy,0,3\n"  # 12
    )
    with pytest.raises(manifest.ManifestError) as caught:
        read(root, text)
    assert [error.split(":")[0] for error in caught.value.errors] == [
        f"line {n}" for n in (2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 12)
    ]
    message = str(caught.value)
    for part in (
        "set.csv has 11 mistakes",
        "line 2: emotion 'rage' is unknown",
        "line 3: path is empty; line 3: subject is empty",
        "line 4: start '-1' is no whole number from 0; line 4: end 'x'",
        "line 5: end 5 must be greater than start 5",
        "line 6: path gone.avi does not exist",
        "line 7: end 13 lies beyond the 12 frames of bo.avi",
        "line 8: start 5 lies beyond the 5 images of clips/ana smile",
        "line 9: 3 fields instead of 5",
        "line 12: the sequence 'bo.avi[0:3]' is in line 10 already",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: the file is empty"),
        ("\n\n", "the file is empty"),
        ("path,emotion\nbo.avi,happy\n", "no column subject"),
        ("path:subject:emotion\n", "no column path.*with commas"),
        ("path,subject,emotion,strat\n", "unknown column 'strat'"),
        ("path,path,subject,emotion\n", "named twice"),
        ('path,subject,emotion\nbo.avi,"Bo,happy\n', "line 2: not CSV"),
        (b"path,subject,emotion\nbo.avi,Zo\xeb,happy\n", "line 2: not UTF-8"),
    ],
)
def test_wrong_files(root, text, sentence):
    with pytest.raises(manifest.ManifestError, match=sentence):
        read(root, text)


def test_no_rows_and_no_file(root):
    with pytest.raises(ValueError, match="a header and no rows"):
        read(root, "path,subject,emotion\n")
    with pytest.raises(FileNotFoundError, match="--root is the CSV manifest"):
        manifest.read(root)


def test_what_cannot_be_used_is_dropped_with_its_reason(root):
    (root / "text.mp4").write_text("no video")
    (root / "zero.mp4").write_bytes(b"")
    (root / "empty").mkdir()
    sequences, dropped = read(
        root,
        "path,subject,emotion\ntext.mp4,A,happy\nzero.mp4,A,happy\nempty,A,happy\nbo.avi,A,neutral\n",
    )
    assert sequences == []
    assert {d.sequence: d.kind for d in dropped} == {
        "text.mp4": "unreadable file",
        "zero.mp4": "unreadable file",
        "empty": "no image files",
        "bo.avi": "neutral",
    }


def test_a_users_synonyms(root):
    (root / "codes.json").write_text('{"surprise": ["08"]}')
    text = "path,subject,emotion\nbo.avi,Bo,08\n"
    assert read(root, text, synonyms_file=root / "codes.json")[0][0].label == "surprise"


def test_loops_and_zero_bytes(root):
    (root / "loop").symlink_to("loop")
    with pytest.raises(
        manifest.ManifestError, match="line 2: path loop does not exist; line 3: path holds a"
    ):
        read(root, b"path,subject,emotion\nloop,A,happy\na\0b,A,happy\n")


def table(root, text, encoding="utf-8", **options):
    return read(root, text.encode(encoding), **options)[0]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_spreadsheets_delimiters_and_encodings(root, encoding, delimiter):
    text = "Path,Subject,Emotion,Start,End\r\nbo.avi,Zoë,fear,2,9\r\n".replace(",", delimiter)
    (found,) = table(root, text, encoding)
    assert (found.subject, len(found)) == ("Zoë", 7)


def test_what_spreadsheets_add(root):
    text = (
        'sep=;\r\n"path";"subject";"emotion";;\r\n"bo.avi";"\u00a0Bo ";"fear";;\r\n;;;;\r\n;;\r\n'
    )
    (found,) = table(root, text)
    assert (found.id, found.subject, found.more) == ("bo.avi", "Bo", {})
    with pytest.raises(manifest.ManifestError, match="save it as CSV"):
        read(root, b"PK\x03\x04 an Excel file")


def test_what_pandas_writes(root):
    """Whole numbers as floats beside empty cells, an index column, NaN as text, further columns."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "path": ["bo.avi", "bo.avi"],
            "subject": ["A", "B"],
            "emotion": ["happy", "sad"],
            "start": [2.0, np.nan],
            "end": [7.0, np.nan],
            "age": [31, 40],
            "camera": ["left", "right"],
            "sequence": ["one", None],
        }
    )
    for options in ({}, {"na_rep": "nan"}, {"na_rep": "NaN", "sep": ";", "decimal": ","}):
        one, two = table(root, frame.to_csv(**options))
        assert (one.id, len(one), one.frames[0].number) == ("one", 5, 2)
        assert (two.id, len(two), two.open_end) == ("bo.avi", 12, True)
        assert one.more == {"age": "31", "camera": "left"}


@pytest.mark.parametrize("start", ["2.5", "-1", "1e1", "0x1", "2.0.0", "zwei"])
def test_numbers_that_are_not_whole(root, start):
    with pytest.raises(manifest.ManifestError, match="is no whole number from 0"):
        table(root, f"path,subject,emotion,start\nbo.avi,A,fear,{start}\n")


def test_a_column_that_is_nearly_known_is_asked_about(root):
    for name, meant in (("starts", "start"), ("emotoin", "emotion"), ("ends", "end")):
        with pytest.raises(manifest.ManifestError, match=f"'{name}': is '{meant}' meant"):
            table(root, f"path,subject,emotion,{name}\nbo.avi,A,fear,1\n")


def test_paths_from_windows_and_from_home(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root))
    text = "path,subject,emotion,sequence\nclips\\ana smile,A,fear,a\n~/bo.avi,A,fear,b\n"
    one, two = table(root, text)
    assert (len(one), len(two)) == (5, 12)
    with pytest.raises(manifest.ManifestError, match="is a place on a Windows machine"):
        table(root, "path,subject,emotion\nC:\\data\\a.avi,A,fear\n")


def test_stills(root):
    (found,) = table(root, "path,subject,emotion\nclips/ana smile/f3.png,A,fear\n")
    assert [(f.path[-6:], f.number) for f in found.frames] == [("f3.png", None)]


def test_frames_of_another_rate_are_taken_by_time(root):
    """Every second frame of 50 a second, counted back from the last; all of a video of 25."""
    write_video(root / "fast.avi", frames=21, rate=50)
    text = "path,subject,emotion,end\nfast.avi,A,fear,\nbo.avi,A,fear,\nfast.avi,A,fear,20\n"
    fast, same, part = table(root, text, rate=25.0)
    assert [f.number for f in fast.frames] == list(range(0, 21, 2))
    assert [f.number for f in same.frames] == list(range(12))
    assert [f.number for f in part.frames] == list(range(1, 20, 2))
    assert (fast.rate, same.rate) == (25, 25)
    assert table(root, text)[0].rate == pytest.approx(50)


def test_a_slow_video_repeats_frames():
    seconds = np.arange(4) / 10
    assert manifest.at_rate(seconds, 30).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    assert manifest.at_rate(np.zeros(1), 20).tolist() == [0]


@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_mistakes(data):
    _, errors = manifest.parse(data, SYNONYMS)
    lines = data.count(b"\n") + data.count(b"\r") + 1
    assert all(1 <= line <= lines for line, _ in errors)


cells = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
)
names = cells.filter(lambda text: text == text.strip().strip("\ufeff\u200b"))
spans = st.one_of(st.just(("", "")), st.tuples(st.integers(0, 99), st.integers(100, 999)))


@given(
    st.lists(st.tuples(names, names, st.sampled_from(EMOTIONS_7), spans), min_size=1, max_size=5)
)
def test_what_the_csv_module_writes_is_read_back(rows):
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["path", "subject", "emotion", "start", "end", "sequence"])
    for number, (path, subject, label, span) in enumerate(rows):
        writer.writerow([path, subject, label, *span, f"s{number}"])
    found, errors = manifest.parse(text.getvalue().encode(), SYNONYMS)
    assert errors == []
    assert [(r.path, r.subject, r.label, r.sequence) for r in found] == [
        (path, subject, label, f"s{number}")
        for number, (path, subject, label, _) in enumerate(rows)
    ]
    for row, (*_, (start, end)) in zip(found, rows, strict=True):
        assert (row.start, row.end) == (start or 0, end or None)


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=3, max_size=3),
    st.integers(0, 5),
)
def test_a_wrong_row_is_reported_at_its_own_line(cells, before):
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["path", "subject", "emotion"])
    for number in range(before):
        writer.writerow([f"good{number}", "A", "fear"])
    writer.writerow([cells[0], cells[1], "no such emotion " + cells[2]])
    rows, errors = manifest.parse(text.getvalue().encode(), SYNONYMS)
    assert len(rows) == before
    assert {line for line, _ in errors} == {before + 2}
