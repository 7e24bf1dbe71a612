"""Compiled programs that test runs share."""

from pathlib import Path

import programs


def test_a_run_begins_with_the_programs_of_the_one_before(tmp_path):
    kept = tmp_path / "cache" / "programs"
    first = Path(programs.folder(kept))
    assert list(first.iterdir()) == []
    (first / "one").write_bytes(b"1234567890")
    assert not kept.exists()
    programs.keep(str(first), kept)
    second = Path(programs.folder(kept))
    assert second != first
    assert [(file.name, file.read_bytes()) for file in second.iterdir()] == [("one", b"1234567890")]


def test_too_many_are_not_kept(tmp_path):
    kept = tmp_path / "programs"
    kept.mkdir()
    (kept / "old").write_bytes(b"12345")
    made = tmp_path / "run"
    made.mkdir()
    (made / "new").write_bytes(b"123456")
    programs.keep(str(made), kept, most=11)
    assert {file.name for file in kept.iterdir()} == {"old", "new"}
    (made / "newer").write_bytes(b"1")
    programs.keep(str(made), kept, most=11)
    assert {file.name for file in kept.iterdir()} == {"new", "newer"}


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "cache").write_text("a file")
    made = programs.folder(tmp_path / "cache" / "programs")
    Path(made, "one").write_bytes(b"1")
    programs.keep(made, tmp_path / "cache" / "programs")
    assert (tmp_path / "cache").read_text() == "a file"
