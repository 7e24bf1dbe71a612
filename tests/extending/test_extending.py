"""What an outsider writes: each file here imports public names only, is short, and is trained by a command."""

import ast
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import experiments_run
import tiny
from stfer.data.shards import write_shards

HERE = Path(__file__).parent
MOST_LINES = {
    "per_frame_loss": 30, "landmarks": 40, "augmentation": 15, "dropout": 40, "reader": 40, "protocol": 20,
    "two_stages": 40,
}  # fmt: skip


def run(command, *flags, cwd, check=True):
    done = experiments_run.run(command, *flags, cwd=cwd, path=(HERE,))
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The tiny set with a stream of points and one of labels a frame."""
    random = np.random.default_rng(0)
    rows = []
    for number, row in enumerate(tiny.sequences(subjects=3, uneven=False)):
        length, label = len(row[3]), 1 + number % 6
        points = random.random((length, 5, 2), np.float32)
        calm = np.where(np.arange(length) < 5, 0, label).astype(np.int32)
        rows.append((*row, {"landmarks": points, "frame_label": calm}))
    return write_shards(tmp_path_factory.mktemp("data") / "set", rows, name="outside")


@pytest.fixture
def loso(data, tmp_path):
    def command(*flags, check=True):
        done = run(
            "loso", f"--data={data}", "--epochs=2", "--batch_size=4", "--learning_rate=0.01",
            "--max_folds=1", f"--workdir={tmp_path / 'runs'}", *flags, cwd=tmp_path, check=check,
        )  # fmt: skip
        results = list((tmp_path / "runs").rglob("result.json"))
        return done, results[0].parent if results else None

    return command


def history(folder):
    with open(folder / "history.csv", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", MOST_LINES)
def test_the_files_are_short_and_import_public_names_only(name):
    text = (HERE / f"{name}.py").read_text()
    code = ast.unparse(_without_docstrings(ast.parse(text)))
    assert len(code.splitlines()) <= MOST_LINES[name]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            parts = [*node.module.split("."), *(alias.name for alias in node.names)]
            assert not any(part.startswith("_") for part in parts)
            assert parts[0] != "experiments"


def _without_docstrings(tree):
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            node.body = body[1:] or [ast.Pass()]
    return tree


@pytest.mark.slow  # A quick test trains the example of README.md.
@pytest.mark.parametrize(
    ("modules", "arch"),
    [
        ("per_frame_loss", "frame_by_frame"),
        ("landmarks", "with_landmarks"),
        ("dropout", "with_dropout"),
        ("two_stages", "apex_then_pair"),
    ],
)
def test_an_architecture_from_outside_trains(loso, modules, arch):
    _, folder = loso(f"--modules={modules}", f"--arch={arch}")
    result = json.loads((folder / "result.json").read_text())
    assert (result["architecture"], result["folds_done"]) == (arch, 1)
    rows = history(folder)
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])


@pytest.mark.slow
def test_the_second_stage_trains_its_head_alone(loso):
    from stfer.storage.weights import load_weights

    _, folder = loso("--modules=two_stages", "--arch=apex_then_pair")
    fold = next((folder / "folds").iterdir())
    first, _ = load_weights(fold / "stages" / "features" / "checkpoint")
    last, _ = load_weights(fold / "checkpoint")
    assert tiny.leaves_equal(first["params"]["features"], last["params"]["features"])
    assert [row["stage"] for row in history(folder)] == ["features"] * 2 + ["head"] * 2


@pytest.mark.slow
def test_an_augmentation_changes_the_training_and_its_strength_too(loso, tmp_path):
    losses = []
    for number, flags in enumerate(
        [(), ("--augment=dimmed",), ("--augment=dimmed", "--set=augment.least=0.01")]
    ):
        workdir = f"--workdir={tmp_path / 'runs' / str(number)}"
        loso("--modules=tiny,augmentation", "--arch=tiny", *flags, workdir)
        (folder,) = (p.parent for p in (tmp_path / "runs" / str(number)).rglob("result.json"))
        losses.append(history(folder)[0]["train_loss"])
    assert len(set(losses)) == 3


@pytest.mark.slow
def test_a_reader_makes_shards_and_a_protocol_cuts_them(tmp_path):
    for person in range(4):
        for emotion in ("anger", "surprise", "boredom"):
            folder = tmp_path / "raw" / f"P{person}" / emotion
            folder.mkdir(parents=True)
            for number in range(15):
                picture = np.full((16, 16, 3), 10 * number + person, np.uint8)
                cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    run(
        "preprocess", "--modules=reader", "--dataset=plain_folders", "--root=raw", "--out=set",
        "--detector=none", "--size=16", "--workers=1", cwd=tmp_path,
    )  # fmt: skip
    assert "boredom is no emotion" in (tmp_path / "set" / "dropped.csv").read_text()
    run(
        "loso", "--modules=tiny,protocol", "--arch=tiny", "--protocol=halves", "--data=set", "--epochs=1",
        "--batch_size=4", cwd=tmp_path,
    )  # fmt: skip
    (result,) = (tmp_path / "runs").rglob("result.json")
    assert json.loads(result.read_text())["folds_done"] == 2
    assert "halves" in result.parts


@pytest.mark.slow
def test_by_flags_alone_optimiser_schedule_and_early_stopping(loso):
    _, folder = loso(
        "--modules=tiny", "--arch=tiny", "--optimizer=adamw", "--schedule=cosine", "--warmup_epochs=0.5",
        "--weight_decay=0.01", "--clip_norm=1", "--label_smoothing=0.1", "--validation=0.5", "--patience=3",
        "--epochs=40", "--learning_rate=0.3",
    )  # fmt: skip
    rows = history(folder)
    losses = [float(row["validation_loss"]) for row in rows]
    assert len(rows) < 40
    assert len(rows) == losses.index(min(losses)) + 1 + 3
    settings = json.loads((folder / "config.json").read_text())["settings"]
    assert (settings["optimizer"], settings["clip_norm"]) == ("adamw", 1)


@pytest.mark.slow
def test_a_field_of_a_model_by_a_flag(loso):
    _, folder = loso("--modules=landmarks", "--arch=with_landmarks", "--set=model.features=7")
    assert json.loads((folder / "config.json").read_text())["settings"]["model"] == {"features": 7}
    assert json.loads((folder / "result.json").read_text())["parameters"] == (
        (16 * 16 * 3 + 1) * 7 + (8 * 5 * 2 + 1) * 7 + 15 * 6
    )
    done, _ = loso(
        "--modules=landmarks", "--arch=with_landmarks", "--set=model.widht=7", check=False
    )
    assert done.returncode == 2
    assert "has no field 'widht'" in done.stderr


def test_the_text_variant_of_the_paper_by_flags():
    from stfer.models import create_model
    from stfer.models.fields import parse_fields
    from stfer.training.config import parse_assignments

    given = parse_assignments(["model.block2_features=384", "model.block3_features=384,256,256"])
    fields = parse_fields("late_fusion", given["model"])
    model = create_model("late_fusion", **fields)
    assert (model.block2_features, model.block3_features) == (384, (384, 256, 256))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modules", "arch"), [("landmarks", "with_landmarks"), ("per_frame_loss", "frame_by_frame")]
)
def test_a_final_model_of_such_an_architecture_is_tested(data, tmp_path, modules, arch):
    outside = f"--modules={modules}"
    run(
        "train", outside, f"--arch={arch}", f"--data={data}", "--epochs=1", "--batch_size=4",
        "--held_out=S002", "--out=model", cwd=tmp_path,
    )  # fmt: skip
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    run("evaluate", outside, "--model=model", f"--data={data}", "--out=tested", cwd=tmp_path)
    tested = json.loads((tmp_path / "tested" / "result.json").read_text())
    assert tested["votes"] == card["metrics"]["held_out"]
    assert tested["sequences"] == 6
