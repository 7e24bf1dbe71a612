"""experiments.train, evaluate, predict and export, one after another, with a tiny architecture."""

import csv
import json

import cv2
import numpy as np
import pytest

import experiments_run
from stfer.data.shards import write_shards
from stfer.inference import load_model
from tiny import SIZE, sequences, write_set

pytestmark = pytest.mark.slow


def run(folder, command, *flags):
    return experiments_run.run(command, *flags, cwd=folder, STFER_CACHE_DIR=str(folder / "cache"))


TRAIN = ("--arch=tiny", "--modules=tiny", "--data=set", "--batch_size=4", "--learning_rate=1e-3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the tiny set and a model trained on all but S003."""
    folder = tmp_path_factory.mktemp("final")
    write_set(folder / "set", subjects=4)
    done = run(folder, "train", *TRAIN, "--held_out=S003", "--epochs=12", "--out=models/tiny")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_several_seeds_give_a_folder_each_and_go_on(trained):
    folder, _ = trained
    flags = (*TRAIN, "--held_out=S003", "--epochs=1", "--out=several")
    done = run(folder, "train", *flags, "--seeds=0,1")
    assert done.returncode == 0, done.stderr
    seeds = [
        json.loads((folder / f"several_seed={seed}" / "model.json").read_text())["training"]
        for seed in (0, 1)
    ]
    assert [found["settings"]["seed"] for found in seeds] == [0, 1]
    again = run(folder, "train", *flags, "--seeds=0,1,2")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("made already") == 2
    assert (folder / "several_seed=2" / "model.json").is_file()
    other = run(folder, "train", *flags, "--epochs=2", "--seeds=0,1")
    assert other.returncode == 2
    assert "exists already" in other.stderr
    others = run(folder, "train", *flags, "--held_out=S002", "--seeds=0,1")
    assert others.returncode == 2
    assert "exists already" in others.stderr
    both = run(folder, "train", *flags, "--seed=1", "--seeds=0,1")
    assert both.returncode == 2
    assert "give one of them" in both.stderr


def test_train_writes_one_folder_that_says_how_it_was_made(trained):
    folder, printed = trained
    model = folder / "models" / "tiny"
    assert sorted(p.name for p in (folder / "models").iterdir()) == ["tiny"]
    card = json.loads((model / "model.json").read_text())
    assert card["classes"][0] == "anger"
    assert card["clips"] == {"offsets": [-2, -1], "slide": False}
    assert card["training"]["subjects"] == {"tiny-set": ["S000", "S001", "S002"]}
    assert card["training"]["held_out"] == {"tiny-set": ["S003"]}
    assert (
        card["data"]["checksum"]
        == json.loads((folder / "set" / "header.json").read_text())["checksum"]
    )
    assert "jax" in card["versions"]
    # Accuracy by hand from the table that lies beside it.
    with open(model / "predictions.csv", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["vote"] == "summed"]
    assert {row["subject"] for row in rows} == {"S003"}
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert card["metrics"]["held_out"]["summed"]["accuracy"] == pytest.approx(right)
    assert f"accuracy (summed) {right:.3f}" in printed
    with open(model / "history.csv", newline="") as stream:
        history = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in history] == list(range(1, 13))
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])


def test_the_held_out_subject_changes_nothing_that_is_trained(trained, tmp_path):
    folder, _ = trained
    kept = [s if s[1] != "S003" else (*s[:3], 255 - s[3]) for s in sequences(4)]
    write_shards(tmp_path / "set", kept, name="tiny-set")
    done = run(tmp_path, "train", *TRAIN, "--held_out=S003", "--epochs=12", "--out=models/tiny")
    assert done.returncode == 0, done.stderr
    ours = load_model(folder / "models" / "tiny").variables
    theirs = load_model(tmp_path / "models" / "tiny").variables
    import jax

    jax.tree.map(np.testing.assert_array_equal, dict(ours), dict(theirs))


def test_validation_subjects_decide_the_epoch(trained):
    folder, _ = trained
    flags = ("--validation=S002", "--patience=2", "--epochs=40", "--out=models/early", "--seed=3")
    done = run(folder, "train", *TRAIN[:-1], "--learning_rate=3e-2", "--held_out=S003", *flags)
    assert done.returncode == 0, done.stderr
    card = json.loads((folder / "models" / "early" / "model.json").read_text())
    assert card["training"]["validation"] == {"tiny-set": ["S002"]}
    assert card["training"]["subjects"] == {"tiny-set": ["S000", "S001"]}
    with open(folder / "models" / "early" / "history.csv", newline="") as stream:
        losses = [float(row["validation_loss"]) for row in csv.DictReader(stream)]
    best = int(np.argmin(losses)) + 1
    assert card["training"]["weights_of_epoch"] == best
    assert len(losses) == min(40, best + 2)
    # The kept weights are that epoch's: their loss on the validation subject is the one in the table.
    model = load_model(folder / "models" / "early")
    data = [s for s in sequences(4) if s[1] == "S002"]
    probabilities = model.predict_clips(np.stack([s[3][-2:] for s in data]))
    truth = [model.classes.index(s[2]) for s in data]
    loss = -np.log(probabilities[np.arange(len(data)), truth]).mean()
    assert loss == pytest.approx(losses[best - 1], rel=1e-3)


def test_evaluate_matches_classes_and_leaves_the_known_people_out(trained):
    folder, _ = trained
    classes = ("surprise", "contempt", "anger")
    other = list(sequences(2, classes, uneven=False))
    write_shards(folder / "other", other, name="other", classes=classes)
    flags = ("--model=models/tiny", "--modules=tiny")
    done = run(folder, "evaluate", *flags, "--data=other")
    assert done.returncode == 0, done.stderr
    assert (
        "the data have contempt, which the model does not know: 2 sequences left out" in done.stdout
    )
    (where,) = (folder / "evaluations").iterdir()
    assert where.name.startswith("tiny-on-other-")
    result = json.loads((where / "result.json").read_text())
    assert result["sequences"] == 4
    assert np.array(result["votes"]["summed"]["confusion_matrix"]).shape == (6, 6)
    shared = run(folder, "evaluate", *flags, "--data=other", "--classes=shared", "--out=shared")
    assert shared.returncode == 0, shared.stderr
    assert json.loads((folder / "shared" / "result.json").read_text())["classes"] == [
        "anger",
        "surprise",
    ]

    before = (folder / "shared" / "result.json").read_bytes()
    for again in ((), ("--out=shared",)):
        refused = run(folder, "evaluate", *flags, "--data=other", *again)
        assert refused.returncode == 2
        assert "exists already: name a new folder" in refused.stderr
    assert (folder / "shared" / "result.json").read_bytes() == before

    own = run(folder, "evaluate", *flags, "--data=set", "--out=own")
    assert own.returncode == 0, own.stderr
    assert "sequences left out: their people were in training" in own.stdout
    found = json.loads((folder / "own" / "result.json").read_text())["votes"]
    card = json.loads((folder / "models" / "tiny" / "model.json").read_text())
    assert found == card["metrics"]["held_out"]


@pytest.fixture(scope="module")
def video(trained):
    """A sequence of the set as a video of faces, with one frame more than a clip and one unreadable."""
    folder, _ = trained
    frames = folder / "frames"
    frames.mkdir()
    (sequence,) = [s for s in sequences(4) if s[0] == "S003/003"]
    for number, frame in enumerate(sequence[3]):
        large = cv2.resize(
            frame[..., ::-1], (SIZE * 16, SIZE * 16), interpolation=cv2.INTER_NEAREST
        )
        cv2.imwrite(str(frames / f"{number}.png"), large)
    (frames / "3.png").write_bytes(b"")
    return frames, sequence[3]


def test_predict_writes_every_frame_and_what_the_model_says(trained, video):
    folder, _ = trained
    _, pixels = video
    flags = ("--model=models/tiny", "--modules=tiny", "--input=frames", "--out=said")
    done = run(folder, "predict", *flags)
    assert done.returncode == 0, done.stderr
    with open(folder / "said" / "frames.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["frame"]) for row in rows] == list(range(len(pixels)))
    assert "3.png is empty" in rows[3]["status"]
    assert [row["status"] for row in rows[:3]] == ["too few frames yet", "classified", "classified"]
    assert rows[4]["status"] == "a frame of the clip has no face"
    model = load_model(folder / "models" / "tiny")
    expected = model.predict_clips(pixels[-2:][None])[0]
    found = [float(rows[-1][name]) for name in model.classes]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    record = json.loads((folder / "said" / "predictions.json").read_text())
    assert record["tracks"][0]["clips"] == len(pixels) - 3
    assert record["tracks"][0]["last_clip"]["label"] == rows[-1]["label"]
    names = {
        "annotated.mp4", "clips.csv", "frames.csv", "index.html", "predictions.json", "timeline.png",
    }  # fmt: skip
    assert {p.name for p in (folder / "said").iterdir()} == names
    again = run(folder, "predict", *flags)
    assert again.returncode == 2
    assert "said exists already" in again.stderr


def test_predict_says_what_a_still_cannot_do(trained, video):
    folder, _ = trained
    done = run(
        folder,
        "predict",
        "--model=models/tiny",
        "--modules=tiny",
        "--input=frames/1.png",
        "--out=still",
    )
    assert done.returncode == 2
    assert "needs a face followed through 2 frames, but there is 1 frame" in done.stderr
    assert not (folder / "still").exists()


def test_export_command(trained):
    folder, _ = trained
    done = run(folder, "export", "--model=models/tiny", "--modules=tiny", "--out=exported")
    assert done.returncode == 0, done.stderr
    assert "checked: probabilities differ" in done.stdout
    assert (folder / "exported" / "model.stablehlo").is_file()


@pytest.mark.parametrize(
    ("command", "flags", "sentence"),
    [
        ("train", ("--arch=nothing",), "architecture must be one of single_frame, "),
        ("train", (*TRAIN, "--held_out=S9", "--out=x"), "--held_out: S9 is not in the data"),
        ("train", (*TRAIN, "--out=models/tiny"), "exists already: name a new folder"),
        ("evaluate", ("--model=gone",), "gone is no model folder"),
        (
            "evaluate",
            ("--model=models/tiny", "--data=set"),
            "'tiny', which is not registered here: it comes with the module tiny",
        ),
        ("predict", ("--model=models/tiny", "--input=gone.mp4"), "gone.mp4 is not there"),
        ("export", ("--model=nowhere",), "nowhere is no model folder"),
        ("export", ("--model=models/tiny", "--modules=absent"), "--modules=absent cannot be imported"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(trained, command, flags, sentence):
    folder, _ = trained
    done = run(folder, command, *flags)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.strip().count("\n") == 0
    assert "Traceback" not in done.stderr
