"""CK+ trees written by hand, with the quirks of the real zips."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfer.data.readers import ck_plus
from stfer.data.sequence import EMOTIONS_6, EMOTIONS_7, select


def reasons(dropped) -> dict[str, str]:
    return {d.sequence: d.reason for d in dropped}


@pytest.mark.parametrize(
    "images", ["cohn-kanade-images", "extended-cohn-kanade-images/cohn-kanade-images"]
)
@pytest.mark.parametrize("labels", ["Emotion", "Emotion_labels/Emotion"])
def test_every_nesting(tmp_path, ck_sequence, images, labels):
    ck_sequence(tmp_path, images=images, labels=labels, frames=3)
    sequences, dropped = ck_plus.read(tmp_path)
    assert dropped == []
    (sequence,) = sequences
    assert (sequence.id, sequence.subject, sequence.label) == ("S005_001", "S005", "disgust")
    assert [os.path.basename(f.path) for f in sequence.frames] == [
        "S005_001_00000001.png", "S005_001_00000002.png", "S005_001_00000003.png",
    ]  # fmt: skip


def test_root_may_be_the_image_folder_itself(tmp_path, ck_sequence):
    images = "extended-cohn-kanade-images/cohn-kanade-images"
    ck_sequence(tmp_path, images=images, frames=2)
    for root in (tmp_path / images, (tmp_path / images).parent):
        assert len(ck_plus.read(root)[0]) == 1


def test_the_seven_codes_and_the_unlabelled(tmp_path, ck_sequence):
    names = ["anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"]
    for code in range(1, 8):
        ck_sequence(tmp_path, f"S{code:03d}", frames=15, label=f"   {code}.0000000e+00\n".encode())
    ck_sequence(tmp_path, "S999", "002", frames=2, label=None)
    ck_sequence(tmp_path, "S895", frames=2, label=None)
    (tmp_path / "Emotion/S895/001").rmdir()
    sequences, dropped = ck_plus.read(tmp_path)
    assert [s.label for s in sequences] == names
    assert reasons(dropped) == {"S999_002": "unlabelled", "S895_001": "unlabelled"}
    kept, unfit = select(sequences, EMOTIONS_6, 15)
    assert len(kept) == 6
    assert [d.kind for d in unfit] == ["contempt"]


def test_stray_files_everywhere_and_unsorted_order(tmp_path, ck_sequence):
    folder = ck_sequence(tmp_path, numbers=[10, 2, 1, 9, 3, 4, 5, 6, 7, 8], label=None)
    (tmp_path / "Emotion/S005/001/S005_001_00000010_emotion.txt").write_text("1")
    for place in (
        tmp_path,
        folder,
        folder.parent,
        folder.parent.parent,
        tmp_path / "Emotion/S005/001",
    ):
        for stray in (
            ".DS_Store",
            "._S005_001_00000001.png",
            "Thumbs.db",
            "._S005_001_00000010_emotion.txt",
        ):
            (place / stray).write_bytes(b"\0\0")
    (folder.parent.parent / "__MACOSX").mkdir()
    (folder / "ReadMe.txt").write_text("not an image")
    (sequence,), dropped = ck_plus.read(tmp_path)
    assert dropped == []
    assert [int(f.path[-12:-4]) for f in sequence.frames] == list(range(1, 11))


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"0.0", "neutral"),
        (b"8.0000000e+00", "codes go from 1 to 7"),
        (b"3.5", "codes go from 1 to 7"),
        (b"3.0 4.0", "holds 2 values"),
        (b"happy", "no number"),
        (b"nan", "no number"),
        (b"-3", "no number"),
        (b"\xff\xfe\x00", "not text"),
    ],
)
def test_wrong_labels_are_rows_of_the_dropped_table(tmp_path, ck_sequence, label, reason):
    ck_sequence(tmp_path, label=label, frames=2)
    ck_sequence(tmp_path, "S010", frames=2)
    sequences, dropped = ck_plus.read(tmp_path)
    assert [s.subject for s in sequences] == ["S010"]
    (drop,) = dropped
    assert (drop.sequence, drop.kind) == ("S005_001", "wrong label")
    assert reason in drop.reason
    assert "S005_001_00000002_emotion.txt" in drop.reason


def test_two_label_files(tmp_path, ck_sequence):
    ck_sequence(tmp_path, frames=2)
    (tmp_path / "Emotion/S005/001/S005_001_00000001_emotion.txt").write_text("1")
    assert "2 label files" in ck_plus.read(tmp_path)[1][0].reason


def test_missing_frames(tmp_path, ck_sequence):
    ck_sequence(tmp_path, "S001", numbers=[1, 2, 3, 7, 8])
    ck_sequence(tmp_path, "S002", numbers=[1, 2, 4])
    os.remove(ck_sequence(tmp_path, "S003", frames=4) / "S003_001_00000004.png")
    os.remove(ck_sequence(tmp_path, "S004", frames=1) / "S004_001_00000001.png")
    folder = ck_sequence(tmp_path, "S006", frames=3)
    (folder / "S006_001_00000002.jpg").write_bytes(b"again")
    sequences, dropped = ck_plus.read(tmp_path)
    assert [s.missing for s in sequences] == [
        "frames 4 to 6 missing",
        "frame 3 missing",
        "the label is of frame 4, the last image is 3",
        "frame 2 is there twice",
    ]
    assert reasons(dropped) == {"S004_001": "no image files"}
    assert [d.kind for d in select(sequences, EMOTIONS_6, 1)[1]] == ["incomplete"] * 4


def test_link_loops_and_locked_folders(tmp_path, ck_sequence):
    folder = ck_sequence(tmp_path, frames=2)
    (folder.parent / "loop").symlink_to(folder.parent)
    (folder.parent / "self").symlink_to("self")
    (folder / "S005_001_00000003.png").symlink_to("S005_001_00000003.png")
    sequences, dropped = ck_plus.read(tmp_path)
    assert [s.id for s in sequences] == ["S005_001"]
    assert reasons(dropped) == {"S005_loop": "unlabelled"}


def test_a_locked_folder_is_a_row(public_folder, as_nobody, ck_sequence):
    folder = ck_sequence(public_folder, frames=2)
    folder.chmod(0)
    with as_nobody():
        dropped = ck_plus.read(public_folder)[1]
    folder.chmod(0o755)
    assert reasons(dropped) == {"S005_001": "unreadable folder: Permission denied"}


def test_names_that_are_no_ascii(tmp_path, ck_sequence):
    ck_sequence(tmp_path / "données 顔", frames=2)
    sequences, _ = ck_plus.read(tmp_path / "données 顔")
    assert len(sequences) == 1


def test_ck48_is_refused_with_an_explanation(tmp_path):
    for root in (tmp_path / "CK+48", tmp_path / "other"):
        for name in ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise"):
            (root / name).mkdir(parents=True)
        with pytest.raises(ValueError, match=r"48x48 'CK\+48' set.*no dynamics"):
            ck_plus.read(root)
    with pytest.raises(ValueError, match="48x48"):
        ck_plus.read(tmp_path)


def test_a_wrong_root_lists_what_was_looked_for_and_found(tmp_path, ck_sequence):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(
        FileNotFoundError,
        match=r"extended-cohn-kanade-images/cohn-kanade-images/ or cohn-kanade-images/ and labels in "
        r"Emotion_labels/Emotion/ or Emotion/; it holds pictures/",
    ):
        ck_plus.read(tmp_path)
    ck_sequence(tmp_path, frames=2, labels="elsewhere")
    with pytest.raises(FileNotFoundError, match="looked for labels in"):
        ck_plus.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ck_plus.read(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        ck_plus.read(tmp_path / "file")


def test_an_empty_image_folder(tmp_path):
    (tmp_path / "cohn-kanade-images/readme").mkdir(parents=True)
    (tmp_path / "Emotion").mkdir()
    with pytest.raises(
        FileNotFoundError, match="no subject folders such as S005/001; it holds readme/"
    ):
        ck_plus.read(tmp_path)


@given(st.integers(1, 7), st.text(" \t\r\n", max_size=5), st.text(" \t\r\n", max_size=5))
def test_any_way_of_writing_a_code(code, before, after):
    names = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    for text in (f"{code}", f"{code}.0", f"{code:.7e}", f"{code:.7E}", f"0{code}"):
        assert ck_plus.parse_label(f"{before}{text}{after}".encode()) == names[code - 1]


@given(
    st.one_of(
        st.binary(max_size=40), st.text("0123456789.eE+-nainf \n_", max_size=12).map(str.encode)
    )
)
def test_any_bytes_are_a_label_or_a_value_error(data):
    try:
        label = ck_plus.parse_label(data)
    except ValueError:
        return
    # Only a whole number from 1 to 7 is a label.
    assert label in EMOTIONS_7
    assert float(data.decode("utf-8-sig")) in range(1, 8)


def test_the_frame_rate_is_the_sets_own(tmp_path, ck_sequence):
    """30 a second, or what a set that was made in this layout says of itself."""
    ck_sequence(tmp_path)
    for text, rate in (
        (None, 30.0), ('{"frames_per_second": 15.0}', 15.0), ("{}", None), ("[", None), ("[]", None),
        ('{"frames_per_second": -1}', None),
    ):  # fmt: skip
        if text is not None:
            (tmp_path / "synthetic.json").write_text(text)
        assert [s.rate for s in ck_plus.read(tmp_path)[0]] == [rate]
