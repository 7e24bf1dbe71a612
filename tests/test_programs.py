"""The folder of compiled programs that test runs share."""

from pathlib import Path

import programs


def test_programs_are_kept_until_they_are_too_many(tmp_path):
    kept = tmp_path / "cache" / "programs"
    assert programs.folder(kept, 10) == str(kept)
    (kept / "one").write_bytes(b"1234567890")
    assert programs.folder(kept, 10) == str(kept)
    assert (kept / "one").exists()
    (kept / "two").write_bytes(b"1")
    assert programs.folder(kept, 10) == str(kept)
    assert list(kept.iterdir()) == []


def test_where_nothing_can_be_kept_a_run_has_a_folder_of_its_own(tmp_path):
    (tmp_path / "cache").write_text("a file")
    made = Path(programs.folder(tmp_path / "cache" / "programs"))
    assert made.is_dir()
    assert tmp_path not in made.parents
