"""Files and folders: there whole or not at all, with the modes that the process's umask gives."""

import json
import os
import threading

import pytest

from stfer.storage.files import (
    check_new,
    read_json,
    remove_leftovers,
    staged_folder,
    write_atomically,
    write_json,
)
from stfer.storage.locks import LockedError


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path, monkeypatch):
    file = tmp_path / "result.json"
    write_atomically(file, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(file, "new")
    assert caught.value.filename == str(file)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.json"]


def test_line_ends_and_letters_are_written_as_they_are(tmp_path):
    write_atomically(tmp_path / "a.txt", "Zoë\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"Zo\xc3\xab\r\nb\n"


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_the_umask_decides_the_mode(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", "x")
        with staged_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~mask


def test_another_thread_never_sees_another_umask(tmp_path):
    """A file made by another thread while we write has the mode that the umask gives."""
    modes, done = set(), threading.Event()

    def watch():
        while not done.is_set():
            path = tmp_path / "watched"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
            modes.add(path.stat().st_mode & 0o777)
            path.unlink()

    before = os.umask(0o027)
    watcher = threading.Thread(target=watch)
    try:
        watcher.start()
        for number in range(100):
            write_atomically(tmp_path / "file", str(number))
        with staged_folder(tmp_path / "folder"):
            pass
    finally:
        done.set()
        watcher.join()
        os.umask(before)
    assert modes == {0o640}


def test_no_module_changes_the_umask():
    """Reading it is changing it for a moment, beside whatever threads there are."""
    from pathlib import Path

    import experiments
    import stfer

    for package in (stfer, experiments):
        for file in Path(package.__file__).parent.rglob("*.py"):
            assert "umask(" not in file.read_text(), file


def test_json_comes_back_and_a_damaged_file_is_named(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"name": "Zoë", "loss": float("nan")})
    assert "Zoë" in file.read_text("utf-8")
    assert read_json(file)["name"] == "Zoë"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(file, {"loss": float("nan")}, allow_nan=False)
    write_json(file, [1, {"a": 2}], indent=None)
    assert file.read_text() == json.dumps([1, {"a": 2}]) + "\n"
    for content in (b"{", b"\xff", b"[" * 100_000):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.json is damaged"):
            read_json(file)


def test_a_staged_folder_is_there_at_the_end_and_never_half(tmp_path):
    folder = tmp_path / "deep" / "set"
    with staged_folder(folder) as staging:
        (staging / "a").write_text("a")
        assert not folder.exists()
        assert staging.parent == folder.parent
    assert (folder / "a").read_text() == "a"
    assert os.listdir(folder.parent) == ["set"]


def test_failed_work_leaves_nothing(tmp_path):
    def fail(staging):
        (staging / "a").write_text("a")
        # What a library stages beside the folder it is given goes as well.
        staging.with_name(f"{staging.name}.orbax-checkpoint-tmp").mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "set") as staging:
        fail(staging)
    assert os.listdir(tmp_path) == []


def test_what_is_there_is_refused_before_and_after_the_work(tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    with staged_folder(taken):  # An empty folder may be filled.
        pass
    (taken / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="taken exists already: name a new folder, or remove"):
        check_new(taken)
    with pytest.raises(FileExistsError, match="taken exists"), staged_folder(taken):
        pytest.fail("the work began")
    late = tmp_path / "late"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="late exists already"), staged_folder(late):
        (tmp_path / "other").rename(late)
    assert (late / "mine").read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("link", "late/mine"):
        with pytest.raises(FileExistsError):
            check_new(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["late", "link", "taken"]


def test_a_folder_that_is_replaced_stays_until_the_new_one_is_whole(tmp_path):
    folder = tmp_path / "weights"
    for content in ("old", "new"):
        with staged_folder(folder, replace=True) as staging:
            (staging / content).write_text(content)
            assert folder.exists() == (content == "new")
    assert os.listdir(folder) == ["new"]
    with pytest.raises(RuntimeError), staged_folder(folder, replace=True):
        raise RuntimeError
    assert os.listdir(folder) == ["new"]
    assert os.listdir(tmp_path) == ["weights"]


def test_leftovers_of_killed_processes_go_and_nothing_else(tmp_path):
    folder = tmp_path / "set[1]"
    with staged_folder(folder) as staging:
        pass
    staging.mkdir()  # As if the process had been killed.
    folder.rmdir()
    (tmp_path / ".set1.partial-0123").mkdir()
    folder.mkdir()
    remove_leftovers(folder)
    assert sorted(os.listdir(tmp_path)) == [".set1.partial-0123", "set[1]"]


def test_a_second_maker_of_one_folder_is_refused_at_its_start(tmp_path):
    with staged_folder(tmp_path / "out") as staging:
        (staging / "a").write_text("first")
        with (
            pytest.raises(LockedError, match=r"another process is making .*out: wait for it"),
            staged_folder(tmp_path / "out"),
        ):
            pytest.fail("it must not begin")
    assert (tmp_path / "out/a").read_text() == "first"
    assert os.listdir(tmp_path) == ["out"], "no lock is left"


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, staged_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "out")
    assert os.listdir(tmp_path) == []
