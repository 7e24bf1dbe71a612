"""Selecting sequences: every rule of the paper's subset, with its reason in words."""

from stfer.data.sequence import (
    EMOTIONS_6,
    EMOTIONS_7,
    FrameSource,
    Sequence,
    alike_subjects,
    alike_warning,
    readable,
    select,
)


def sequence(name: str, label: str = "anger", frames: int = 15, **fields) -> Sequence:
    sources = tuple(FrameSource(f"{i}.png") for i in range(frames))
    return Sequence(name, "S1", label, sources, **fields)


def test_selects_the_papers_subset_and_says_why_the_rest_goes():
    kept, dropped = select(
        [
            sequence("a"),
            sequence("b", "contempt"),
            sequence("c", frames=14),
            sequence("d", missing="frame 3 missing"),
            sequence("e"),
            sequence("e"),
        ],
        EMOTIONS_6,
        15,
    )
    assert [s.id for s in kept] == ["a"]
    assert [(d.sequence, d.kind) for d in dropped] == [
        ("b", "contempt"),
        ("c", "too short"),
        ("d", "incomplete"),
        ("e", "duplicate id"),
        ("e", "duplicate id"),
    ]
    assert "14 frames" in dropped[1].reason
    assert "frame 3 missing" in dropped[2].reason


def test_seven_classes_keep_contempt_and_gaps_can_be_kept():
    both = [sequence("b", "contempt"), sequence("d", missing="frame 3 missing")]
    kept, dropped = select(both, EMOTIONS_7, 15, keep_gaps=True)
    assert (len(kept), dropped) == (2, [])


def test_readable_takes_any_file_name():
    assert readable("Zoë") == "Zoë"
    assert readable(b"S\xff1".decode("utf-8", "surrogateescape")) == "S\\xff1"


def test_subjects_that_look_like_one_person():
    subjects = [
        "1",
        "001",
        "p2",
        "P2",
        "P2 ",
        "10",
        "P10",
        "S010",
        "S10",
        "0",
        "00",
        "a0b",
        "a00b",
        "é",
        "É",
        "x",
    ]
    assert alike_subjects(subjects) == [
        ("0", "00"),
        ("001", "1"),
        ("P2", "P2 ", "p2"),
        ("S010", "S10"),
        ("a00b", "a0b"),
        ("É", "é"),
    ]
    assert alike_warning(["a", "b", "a"]) == ""
    warning = alike_warning(["1", "001"])
    assert "'001' and '1'" in warning
    assert "write one name in the manifest" in warning
