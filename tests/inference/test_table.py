"""`stfer.predict`: the rows of frames.csv, from a path and from arrays."""

import cv2
import numpy as np
import pandas as pd
import pytest

import stfer
from drawn_faces import draw_face
from stfer.inference import output
from stfer.inference.sources import open_source
from stfer.inference.windows import window
from videos import write_video


@pytest.fixture(scope="module")
def frames():
    """A face that comes with the third frame and goes after the eighth."""
    face = cv2.cvtColor(draw_face(120, 160), cv2.COLOR_GRAY2RGB)
    empty = np.full_like(face, 120)
    return np.stack([empty] * 2 + [face] * 6 + [empty] * 2)


def test_a_path_gives_what_the_command_writes(tiny, tmp_path, frames):
    model = tiny("late_fusion")
    path = write_video(tmp_path / "clip.mp4", list(frames) * 2, options={"qp": "4"})
    prediction = output.Prediction(
        model, open_source(str(path)), window(model.rule, reference="first")
    )
    output.predict_into(prediction, tmp_path / "out", progress=False)
    written = pd.read_csv(tmp_path / "out/frames.csv")
    table = stfer.predict(path, model, reference="first")
    assert list(table.columns) == list(written.columns)
    assert table["label"].notna().sum() == written["label"].notna().sum() > 0
    for name in written.columns:
        ours = table[name]
        if name in ("status", "label"):
            assert ours.fillna("").tolist() == written[name].fillna("").tolist()
        else:
            wanted = written[name].to_numpy(float)
            np.testing.assert_allclose(
                ours.astype("Float64").to_numpy(float, na_value=np.nan), wanted, atol=0.06
            )


def test_an_array_and_its_times(tiny, frames):
    model = tiny("single_frame")
    table = stfer.predict(frames, model)
    assert table["frame"].tolist() == list(range(10))
    assert table["seconds"].tolist() == pytest.approx([n / 25 for n in range(10)])
    assert table["label"].notna().tolist() == [False] * 2 + [True] * 6 + [False] * 2
    rows = table[list(model.classes)]
    assert rows.notna().all(axis=1).tolist() == table["label"].notna().tolist()
    np.testing.assert_allclose(rows[2:8].sum(axis=1), 1, atol=1e-4)
    assert table["track"].isna().tolist()[:2] == [True, True]
    timed = stfer.predict(frames[..., 0], model, seconds=np.arange(10) / 2)
    assert timed["seconds"].tolist() == [n / 2 for n in range(10)]
    with pytest.raises(ValueError, match="seconds must ascend, one for each of the 10 frames"):
        stfer.predict(frames, model, seconds=[0.0, 1.0])
    with pytest.raises(ValueError, match="a video has its own times"):
        stfer.predict("clip.mp4", model, seconds=[0.0])


def test_importing_the_package_alone_is_light():
    import subprocess
    import sys

    code = "import stfer, sys; print('jax' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_model_in_use_does_not_wait_for_what_training_needs():
    import subprocess
    import sys

    code = (
        "import sys, stfer.inference.timeline, stfer.inference.folder, stfer.runs.environment; "
        "print({'sklearn', 'pandas', 'scipy.stats', 'stfer.runs.crossval'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
