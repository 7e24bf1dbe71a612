"""Commands that show a trained model the synthetic set: its faces are cut as the model's were."""

import jax
import numpy as np
import pytest

import tiny
from experiments_run import run
from stfer.data.faces import CropSettings
from stfer.data.sequence import EMOTIONS_6
from stfer.data.sources import Source
from stfer.data.synthetic import default
from stfer.inference import TrainedModel, describe
from stfer.models import registration

CROP = CropSettings(size=tiny.SIZE)


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """A tiny model, and a cache that holds the synthetic set for its crops, so that none is drawn."""
    home = tmp_path_factory.mktemp("synthetic")
    module = tiny.Tiny()
    clip = np.zeros((1, 2, tiny.SIZE, tiny.SIZE, 3), np.float32)
    variables = jax.tree.map(np.asarray, module.init(jax.random.key(0), clip))
    rule = registration("tiny").rules(module.frames)["frames"]
    card = describe("tiny", EMOTIONS_6, rule, CROP.to_dict())
    model = TrainedModel(card, module, variables).save(home / "model")
    tiny.write_set(default.shard_folder(home, 2, 0, CROP), default.NAME, subjects=2)
    return (f"--model={model}", f"--cache_dir={home}", "--synthetic_subjects=2", "--modules=tiny")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "explain"])
def test_the_default_set_is_made_at_the_models_size(command, flags, tmp_path):
    done = run(command, *flags, f"--out={tmp_path / 'out'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made & {"result.json", "wrong.png"}


def test_only_the_synthetic_set_is_cut_anew(monkeypatch):
    asked = []
    monkeypatch.setattr(default, "ensure", lambda *_, **options: asked.append(options) or "made")
    assert Source("synthetic,folder").cut_for(CROP).folders() == "made,folder"
    assert Source("folder").cut_for(CROP).folders() == "folder"
    assert Source("synthetic").folders() == "made"
    assert Source("synthetic", synthetic_size=170, synthetic_margin=0.35).folders() == "made"
    crops = [CROP, CropSettings(size=128, margin=0.15), CropSettings(size=170, margin=0.35)]
    assert [options["crop"] for options in asked] == crops
