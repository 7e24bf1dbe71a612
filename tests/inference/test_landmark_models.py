"""A model of landmarks and frames on pictures: points are found in each frame as they were for training."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.data.clips import ClipRule
from stfer.data.faces import CropSettings, FaceFollower, crop_face
from stfer.data.faces.landmarks import find_landmarks
from stfer.data.faces.points import to_crop
from stfer.data.synthetic.takes import stage
from stfer.inference import TrainedModel, describe
from stfer.inference.folder import Input
from stfer.inference.live import warm_up
from stfer.inference.sources import Frame
from stfer.inference.stream import predict_stream
from stfer.inference.windows import CLASSIFIED, window
from stfer.models import create_model, register

CROP = CropSettings(size=32)
CLASSES = ("fear", "happiness", "surprise")
RULES = {"frames": ClipRule((-1,)), "landmarks": ClipRule((-5, -3, -1))}
WEIGHTS = np.random.default_rng(5).normal(size=(3 * 49 * 2 + 32 * 32 * 3, 3)).astype(np.float32)


@register("points_and_picture", inputs=("frames", "landmarks"), clips=RULES)
class PointsAndPicture(nn.Module):
    """One dense layer of the last picture and of three frames' points."""

    num_classes: int = 3
    dtype: jnp.dtype = jnp.float32
    frames: int = 1

    @nn.compact
    def __call__(self, frames, landmarks, *, train=False):
        flat = [x.reshape(x.shape[0], -1) for x in (50 * landmarks, frames)]
        return nn.Dense(self.num_classes, name="logits")(jnp.concatenate(flat, -1)), {}


@pytest.fixture(scope="module")
def model():
    inputs = {
        "frames": Input(RULES["frames"], (32, 32, 3), "uint8"),
        "landmarks": Input(RULES["landmarks"], (49, 2), "float32"),
    }
    card = describe("points_and_picture", CLASSES, inputs, CROP.to_dict())
    layer = {"kernel": WEIGHTS, "bias": np.zeros(3, np.float32)}
    module = create_model("points_and_picture", 3)
    return TrainedModel(card, module, {"params": {"logits": layer}, "batch_stats": {}})


@pytest.fixture(scope="module")
def frames():
    take = stage(0, 3, "surprise")
    return list(take.frames(range(8)))


def expected(frames, end):
    """Probabilities of the clip that ends in frame `end`, by NumPy."""
    follower = FaceFollower(CROP)
    faces = [found.face for frame in frames for _, found in follower(frame)]
    points = [to_crop(find_landmarks(f, face), face, CROP) for f, face in zip(frames, faces, strict=True)]  # fmt: skip
    moving = np.stack([points[end - 4], points[end - 2], points[end]])
    picture = crop_face(frames[end], faces[end], CROP) / np.float32(255)
    logits = np.concatenate([50 * moving.ravel(), picture.ravel()]) @ WEIGHTS
    likely = np.exp(logits - logits.max())
    return likely / likely.sum()


@pytest.mark.slow
def test_a_sequence_is_classified_with_the_points_found_in_its_frames(model, frames):
    found = model.predict(np.stack(frames))
    np.testing.assert_allclose(found.clip_probabilities[0], expected(frames, 7), atol=1e-4)
    assert found.clip_frames.tolist() == [[3, 5, 7]]


@pytest.mark.slow
def test_a_video_is_classified_frame_by_frame(model, frames):
    stream = [Frame(n, n / 25, frame) for n, frame in enumerate(frames)]
    results = list(predict_stream(model, stream, window(model.rule), chunk=3))
    shown = [result.faces[0] for result in results]
    assert [face.status == CLASSIFIED for face in shown] == [False] * 4 + [True] * 4
    for end in (4, 7):
        np.testing.assert_allclose(shown[end].probabilities, expected(frames, end), atol=1e-4)


@pytest.mark.slow
def test_crops_of_another_size_are_refused(model, frames):
    follower = FaceFollower(CROP)
    faces = [found.face for frame in frames for _, found in follower(frame)]
    large = CropSettings(size=128)
    crops = np.stack([crop_face(f, face, large) for f, face in zip(frames, faces, strict=True)])
    with pytest.raises(ValueError, match="faces for points_and_picture are 32x32"):
        model.predict(crops, find_faces=False)


def test_a_live_window_of_such_a_model_warms_up(model):
    model.network._whole.clear_cache()  # Other tests have used the model, with other numbers of clips.
    warm_up(model)
    assert model.network._whole._cache_size() == 1, "the program of one clip is compiled"


def test_clips_alone_are_not_enough(model):
    with pytest.raises(ValueError, match="takes frames and landmarks, and clips hold frames alone"):
        model.predict_clips(np.zeros((1, 3, 32, 32, 3), np.uint8))
