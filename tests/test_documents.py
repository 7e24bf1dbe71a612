"""READMEs, notices and citation: their form, their links, and that every command in them is one that works."""

import ast
import hashlib
import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from absl import flags

import experiments_run
import stfer
from experiments.flags import settings
from stfer.__main__ import commands, usage
from stfer.data.folds import PROTOCOLS
from stfer.data.readers import READERS
from stfer.models import ARCHITECTURES
from stfer.training import related  # noqa: F401 (it registers presets)
from stfer.training.augment import AUGMENTATIONS
from stfer.training.config import PRESETS

ROOT = Path(__file__).parents[1]
GUIDES = [
    ROOT / "README.md",
    ROOT / "experiments/README.md",
    *sorted(ROOT.glob("stfer/*/README.md")),
]
DOCUMENTS = [
    *GUIDES,
    *(ROOT / name for name in ("BUILD_NOTES.md", "CHANGELOG.md", "THIRD_PARTY_NOTICES.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANY_LINK = re.compile(r"\]\(([^)\s]+)\)")


def names(documents):
    return [str(path.relative_to(ROOT)) for path in documents]


def blocks(path, *languages):
    return [
        text for language, text in BLOCK.findall(path.read_text("utf-8")) if language in languages
    ]


def shell_commands():
    """Every command of ours in a shell block, as (document, command's name, its flags)."""
    found = []
    for path in GUIDES:
        for block in blocks(path, "sh", "bash"):
            for line in block.replace("\\\n", " ").replace('\\"', '"').splitlines():
                for part in re.findall(
                    r"(?:python -m experiments\.|\bstfer (?=[a-z]))((?:'[^']*'|[^|&#\"'])*)", line
                ):
                    words = shlex.split(part.replace("$SLURM_ARRAY_TASK_ID", "0"))
                    found.append((str(path.relative_to(ROOT)), words[0], tuple(words[1:])))
    return found


def anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", BLOCK.sub("", path.read_text("utf-8")), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads]


def test_the_readme_is_a_page():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("path", GUIDES, ids=names(GUIDES))
def test_lines_are_short_but_for_tables(path):
    text = path.read_text("utf-8").splitlines()
    assert [line for line in text if len(line) > 100 and not line.startswith("|")] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_links_lead_somewhere(path):
    for link in ANY_LINK.findall(BLOCK.sub("", path.read_text("utf-8"))):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link} names no heading"


@pytest.mark.parametrize("path", DOCUMENTS[1:], ids=names(DOCUMENTS[1:]))
def test_long_guides_have_contents(path):
    """Each lists all its headings of the second level, in their order."""
    text = BLOCK.sub("", path.read_text("utf-8"))
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    listed = re.findall(r"^- \[(.*)\]\(#", text, re.MULTILINE)
    if listed or (len(text.splitlines()) > 100 and path in GUIDES) or path.name == "BUILD_NOTES.md":
        assert listed == heads


@pytest.mark.parametrize("path", GUIDES, ids=names(GUIDES))
def test_python_examples_compile_and_import_what_there_is(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("stfer"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


@pytest.mark.parametrize(("document", "name", "words"), shell_commands())
def test_every_command_has_the_flags_and_names_that_it_is_given(document, name, words):
    assert name in commands(), f"{document}: there is no command {name}"
    package = ROOT / "experiments" / name
    module = importlib.import_module(
        f"experiments.{name}.__main__" if package.is_dir() else f"experiments.{name}"
    )
    before = set(flags.FLAGS)
    try:
        module.define_flags()
        assert flags.FLAGS([name, *words]) == [name], "words that are no flags"
        given = {flag: flags.FLAGS[flag].value for flag in set(flags.FLAGS) - before}
        check_names(given)
        elsewhere = given.get("modules") or given.get("settings")  # files that are not here
        if {"set", "preset", "arch"} <= given.keys() and not elsewhere:
            settings()  # every setting is one that can be trained with
    finally:
        for flag in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, flag)
        flags.FLAGS.unparse_flags()


def check_names(given):
    known = {
        "arch": ARCHITECTURES, "preset": PRESETS, "protocol": PROTOCOLS, "dataset": READERS,
        "augment": AUGMENTATIONS,
    }  # fmt: skip
    for flag, registered in known.items():
        if given.get(flag) and not given.get("modules"):
            assert given[flag] in registered, f"--{flag}={given[flag]}"
    assert set(given.get("archs") or ()) <= {*ARCHITECTURES, "all"}


def run(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_readmes_first_look_at_ck_plus_runs(tmp_path):
    """On one sequence of the unpacked zips; the costly commands are run by the tests of each command."""
    (words,) = [
        words
        for document, _, words in shell_commands()
        if document == "README.md" and "--check" in words
    ]
    images, labels = (
        tmp_path / "CK" / part / "S005/001" for part in ("cohn-kanade-images", "Emotion")
    )
    for folder in (images, labels):
        folder.mkdir(parents=True)
    for number in range(1, 16):
        (images / f"S005_001_{number:08d}.png").write_bytes(b"never read")
    (labels / "S005_001_00000015_emotion.txt").write_text("   3.0000000e+00\n")
    done = experiments_run.run("preprocess", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Would be left before face detection: 1 sequence" in done.stdout
    assert list(tmp_path.iterdir()) == [tmp_path / "CK"]


def test_commands_are_listed_with_a_line_each(tmp_path):
    assert "final_model" not in commands()
    assert all(about.endswith(".") and len(about) < 110 for about in commands().values())
    for words in (("experiments",), ("experiments", "--help"), ("stfer",)):
        done = run(*words, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, usage() + "\n"), done.stderr
    assert {name for _, name, _ in shell_commands()} == set(commands()), "the guides show each one"


def test_a_command_through_the_package(tmp_path):
    done = run("experiments", "lose", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("; did you mean 'loso'?\n")
    assert run("stfer", "--version", cwd=tmp_path).stdout == f"stfer {stfer.__version__}\n"


def test_help_shows_the_flags_of_the_task_first(tmp_path):
    shown = run("experiments.loso", "--help", cwd=tmp_path).stdout
    order = [
        shown.index(f"\n  --{name}:")
        for name in ("arch", "data", "preset", "workdir", "clips", "share")
    ]
    assert order == sorted(order)
    titles = [line for line in shown.splitlines() if line.endswith(":") and line[0] not in " T"]
    assert titles[0] == "Flags:"
    assert "Folds, devices and machines:" in titles
    for flag in ("arch", "epochs", "ray_retries", "[no]debug"):
        assert shown.count(f"\n  --{flag}:") == 1


def test_notices_name_every_packaged_file_of_others():
    text = (ROOT / "THIRD_PARTY_NOTICES.md").read_text("utf-8")
    packaged = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    found = []
    for package, patterns in packaged["package-data"].items():
        folder = ROOT / package.replace(".", "/")
        found += [file for pattern in patterns for file in folder.glob(pattern)]
    foreign = [file for file in found if file.suffix in (".xml", ".npz", ".tflite", ".onnx")]
    assert len(foreign) == 4
    for file in foreign:
        assert hashlib.sha256(file.read_bytes()).hexdigest() in text, file
        assert str(file.relative_to(ROOT / "stfer")) in text


def test_the_version_stands_once():
    files = [
        *ROOT.glob("*.toml"), *ROOT.glob("*.cff"), *ROOT.glob("*.md"), *ROOT.glob("stfer/**/*.py"),
    ]  # fmt: skip
    assigned = re.compile(rf"version[\w]*\s*[=:]\s*[\"']?{re.escape(stfer.__version__)}\b")
    found = [file.name for file in files if assigned.search(file.read_text("utf-8"))]
    assert found == ["__init__.py"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "stfer.__version__"}


def test_a_command_is_a_page_and_imports_no_other():
    """What a command does stands in the package, where a researcher can import it."""
    folder = ROOT / "experiments"
    commands = {path.stem: path.read_text() for path in folder.glob("*.py")}
    shared = {path.stem: path.read_text() for path in (folder / "flags").glob("*.py")}
    lengths = {name: text.count("\n") for name, text in [*commands.items(), *shared.items()]}
    assert {name: length for name, length in lengths.items() if length > 120} == {}
    names = "|".join(name for name, text in commands.items() if '__name__ == "__main__"' in text)
    assert "loso" in names
    pattern = re.compile(
        rf"^\s*(from experiments import .*\b({names})\b|(from|import) experiments\.({names})\b)",
        re.M,
    )
    assert [name for name, text in commands.items() if pattern.search(text)] == []
