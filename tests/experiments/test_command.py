"""What every command does wherever it is started: from any folder, twice, without a home, on any terminal."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from stfer.data import sources

ROOT = Path(__file__).parents[2]


def run(*words, cwd=None, **environment):
    """Run Python with words, as a user does whose package is installed."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture
def table(tmp_path):
    """A manifest of pictures of people with unusual names, in a folder with a package `experiments` of its own."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise RuntimeError('not ours')")
    for number in range(15):
        folder = tmp_path / "frames"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.png").write_bytes(b"never read")
    (tmp_path / "a.csv").write_text(
        "path,subject,emotion,sequence\nframes,É笑,fear,1\nframes,é笑,sad,2\n"
    )
    return tmp_path


@pytest.mark.slow
def test_from_a_folder_with_a_package_of_that_name(table):
    """With stdout of ASCII alone, and a manifest under the home folder."""
    words = ("preprocess", "--dataset=manifest", "--root=~/a.csv", "--check")
    done = run("-m", "stfer", *words, cwd=table, HOME=str(table), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Would be left before face detection: 2 sequences" in done.stdout
    assert "'\\xc9\\u7b11' and '\\xe9\\u7b11'" in done.stdout
    assert "if they are one person, write one name" in done.stdout


@pytest.mark.slow
def test_where_file_names_are_ascii(tmp_path):
    """An old locale: names with other letters cannot be asked for, and that is said."""
    (tmp_path / "人物").mkdir()
    (tmp_path / "a.csv").write_text("path,subject,emotion\n人物,1,fear\n", "utf-8")
    words = ("-m", "stfer", "preprocess", "--dataset=manifest", "--root=a.csv", "--check")
    done = run(*words, cwd=tmp_path, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        "file names are in ascii here, which lacks letters of it: set PYTHONUTF8=1"
    )


def test_commands_by_name(tmp_path):
    done = run("-m", "stfer", "losso", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: 'losso' is no command; there are ablate, benchmark, compare,"
    )
    assert "loso" in run("-m", "stfer", "--help", cwd=tmp_path).stdout
    shown = run("-m", "stfer", "preprocess", "--help", cwd=tmp_path)
    assert "--dataset" in shown.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("predict", "--model=", "--input=clip.mp4"), "--model"),
        (("evaluate", "--model=", "--data="), "--data and --model"),
        (("export", "--model="), "--model"),
        (("explain", "--model=", "--input=clip.mp4"), "--model"),
        (("predict", "--input="), "--input"),
        (("loso", "--subjects="), "--subjects"),
        (("loso", "--subjects=,"), "--subjects"),
        (("compare", "--archs="), "--archs"),
        (("benchmark", "--archs=", "--contenders="), "--archs and --contenders"),
        (("report", "--modules=", "--data="), "--data and --modules"),
    ],
)
@pytest.mark.slow
def test_a_flag_without_its_value_is_no_default(words, named, tmp_path):
    """As a script's unset variable leaves it; the model that ships would be another than was meant."""
    done = run("-m", "stfer", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == f"error: {named} without a value: give one, or leave the flag out\n"
    assert list(tmp_path.iterdir()) == []


TWICE = """
import runpy, sys
for _ in range(2):
    sys.argv = ["preprocess", "--dataset=manifest", "--root=" + sys.argv[-1].removeprefix("--root="), "--check"]
    sys.argv = [sys.argv[0], sys.argv[1], sys.argv[3], sys.argv[2]]
    try:
        runpy.run_module("experiments.preprocess", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("ended with", end.code)
"""


@pytest.mark.slow
def test_twice_in_one_process(table):
    """As a notebook's %run does."""
    done = run("-c", TWICE, str(table / "a.csv"))
    assert done.stdout.count("ended with 0") == 2, done.stdout + done.stderr


def test_without_a_home_everything_has_a_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("STFER_CACHE_DIR")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    def nameless(name):
        raise RuntimeError("could not determine the home directory for '~/.cache'")

    for unusable in ("~/.cache/stfer", str(tmp_path / "file" / "stfer"), None):
        sources._users_cache_dir.cache_clear()
        found = nameless if unusable is None else lambda name, found=unusable: found
        monkeypatch.setattr(platformdirs, "user_cache_dir", found)
        folder = sources.default_cache_dir()
        assert sources.default_cache_dir() == folder
        assert os.path.isdir(folder)
        (line,) = capsys.readouterr().err.splitlines()
        assert "--cache_dir or $STFER_CACHE_DIR" in line
    assert os.listdir(tmp_path) == ["file"], "no folder named ~"
    sources._users_cache_dir.cache_clear()
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "home" / name))
    assert sources.default_cache_dir() == str(tmp_path / "home/stfer")
    sources._users_cache_dir.cache_clear()


NAMELESS = ("unshare", "--user", "--map-user=54321", "env", "-u", "HOME", "-u", "STFER_CACHE_DIR")


def test_a_user_without_a_name_and_a_home(tmp_path):
    """As in a container that is run with any number for its user."""
    if subprocess.run([*NAMELESS, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    asks = "from stfer.data.sources import default_cache_dir; print(default_cache_dir())"
    words = [*NAMELESS, sys.executable, "-c", asks]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.path.isabs(done.stdout.strip())
    assert "--cache_dir or $STFER_CACHE_DIR" in done.stderr
    assert not os.listdir(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="there is a GPU")
def test_a_platform_that_is_not_there_is_said_first(tmp_path):
    """Before the model folder, which is not there either, is looked at."""
    for name in ("evaluate", "export"):
        done = run("-m", "stfer", name, "--model=absent", cwd=tmp_path, JAX_PLATFORMS="cuda")
        assert done.returncode == 2, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "JAX finds no device of JAX_PLATFORMS=cuda" in line
        assert "unset JAX_PLATFORMS" in line
