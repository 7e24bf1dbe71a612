"""Oulu-CASIA trees written by hand."""

import os

import pytest

from stfer.data.readers import oulu_casia

EXPRESSIONS = {
    "Anger": "anger", "Disgust": "disgust", "Fear": "fear",
    "Happiness": "happiness", "Sadness": "sadness", "Surprise": "surprise",
}  # fmt: skip


def write(folder, subjects=("P001",), frames=3, expressions=tuple(EXPRESSIONS)):
    for subject in subjects:
        for expression in expressions:
            for number in range(frames):
                path = folder / subject / expression / f"{number:03d}.jpeg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"not read here")


@pytest.mark.parametrize(
    "nesting", ["OriginalImg/VL/Strong", "B_OriginalImg/OriginalImg/VL/Strong"]
)
def test_original_frames(tmp_path, nesting):
    write(tmp_path / nesting)
    sequences, dropped = oulu_casia.read(tmp_path)
    assert dropped == []
    assert {s.id: s.label for s in sequences} == {
        f"P001_{folder}_VL_Strong": label for folder, label in EXPRESSIONS.items()
    }
    assert [os.path.basename(f.path) for f in sequences[0].frames] == [
        "000.jpeg",
        "001.jpeg",
        "002.jpeg",
    ]
    assert not oulu_casia.find_layout(tmp_path).cropped


@pytest.mark.parametrize("name", ["PreProcess_Img", "PreProcessImg", "PreProcess"])
def test_cropped_frames(tmp_path, name):
    write(tmp_path / name / "NI_Acropped/Dark")
    sequences, _ = oulu_casia.read(tmp_path, ["dark"], "ni")
    assert sequences[0].id == "P001_Anger_NI_Dark"
    assert oulu_casia.find_layout(tmp_path, "ni").cropped
    with pytest.raises(FileNotFoundError, match="VL frames"):
        oulu_casia.read(tmp_path, ["dark"], "vl")


def test_original_frames_come_before_cropped_ones(tmp_path):
    write(tmp_path / "PreProcess_Img/VL_Acropped/Strong")
    write(tmp_path / "OriginalImg/VL/Strong")
    assert oulu_casia.find_layout(tmp_path).folder == tmp_path / "OriginalImg/VL"


def test_root_may_be_inside(tmp_path):
    write(tmp_path / "B_OriginalImg/OriginalImg/VL/Strong")
    inside = tmp_path / "B_OriginalImg/OriginalImg"
    for root in (tmp_path / "B_OriginalImg", inside, inside / "VL"):
        assert len(oulu_casia.read(root)[0]) == 6


def test_a_subject_is_one_person_in_every_light(tmp_path):
    for light in ("Strong", "Weak", "Dark"):
        write(tmp_path / "OriginalImg/VL" / light, ("P001", "P002"), expressions=("Fear",))
    sequences, _ = oulu_casia.read(tmp_path, ["strong", "weak", "dark", "weak"])
    assert [(s.id, s.subject) for s in sequences] == [
        ("P001_Fear_VL_Strong", "P001"),
        ("P002_Fear_VL_Strong", "P002"),
        ("P001_Fear_VL_Weak", "P001"),
        ("P002_Fear_VL_Weak", "P002"),
        ("P001_Fear_VL_Dark", "P001"),
        ("P002_Fear_VL_Dark", "P002"),
    ]


def test_a_subject_is_one_person_however_its_folder_is_spelled(tmp_path):
    write(tmp_path / "OriginalImg/VL/Strong", ("P001",), expressions=("Fear",))
    write(tmp_path / "OriginalImg/VL/weak", ("p001",), expressions=("fear",))
    sequences, _ = oulu_casia.read(tmp_path, ["strong", "weak"])
    assert [s.subject for s in sequences] == ["P001", "P001"]


def test_quirks_are_rows(tmp_path):
    folder = tmp_path / "OriginalImg/VL/Strong"
    write(folder, expressions=("Fear", "Yawn"))
    (folder / "P001/Anger").mkdir()
    (folder / ".DS_Store").write_bytes(b"")
    (folder / "P001/Fear/._000.jpeg").write_bytes(b"")
    os.remove(folder / "P001/Fear/001.jpeg")
    sequences, dropped = oulu_casia.read(tmp_path)
    # Frames 0 and 2 step evenly; with a third one the hole shows.
    assert sequences[0].missing == ""
    (folder / "P001/Fear/003.jpeg").write_bytes(b"")
    assert oulu_casia.read(tmp_path)[0][0].missing == "frame 1 missing"
    assert {d.sequence: d.reason for d in dropped} == {
        "P001_Anger_VL_Strong": "no image files",
        "P001_Yawn_VL_Strong": "wrong label: folder Yawn is no expression",
    }


def test_wrong_roots_and_choices(tmp_path):
    (tmp_path / "zip").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"looked for B_OriginalImg/OriginalImg/VL.*it holds zip/"
    ):
        oulu_casia.read(tmp_path)
    write(tmp_path / "OriginalImg/VL/Strong")
    with pytest.raises(FileNotFoundError, match="no folder Dark; it holds Strong/"):
        oulu_casia.read(tmp_path, ["dark"])
    with pytest.raises(ValueError, match="light 'dim' is unknown: use strong, weak, dark"):
        oulu_casia.read(tmp_path, ["dim"])
    with pytest.raises(ValueError, match="no light"):
        oulu_casia.read(tmp_path, [])
    with pytest.raises(ValueError, match="modality"):
        oulu_casia.read(tmp_path, ["strong"], "rgb")
