"""Grad-CAM and occlusion: on a made set where one region alone carries the class, both look there."""

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trained_models import SIZE, noise

from drawn_faces import draw_face
from stfer.data import clips as clips_lib
from stfer.data.clips import last_frames
from stfer.data.shards import load_data, write_shards
from stfer.inference import TrainedModel, describe, explain_pictures
from stfer.inference import explain as explain_module
from stfer.inference.evaluation import predict_shards
from stfer.inference.explain import _look, explain, grad_cam, mass_inside, occlusion_over_time
from stfer.inference.sources import Source, open_source
from stfer.inference.windows import window
from stfer.models import create_model
from videos import write_video

REGION = (slice(20, 52), slice(48, 80))  # rows and columns of 96
ELSEWHERE = (slice(50, 82), slice(16, 48))
FRAME = 2  # of four, the one that carries the class in time


def made_clips(count, frames, seed, region=REGION):
    """Noise; in a region, of one frame alone where there are several, stripes that lie or stand."""
    random = np.random.default_rng(seed)
    clips = random.integers(60, 190, (count, frames, 96, 96, 3)).astype(np.uint8)
    clips = np.stack([[cv2.blur(frame, (3, 3)) for frame in clip] for clip in clips])
    labels = np.arange(count) % 2
    stripes = np.where(np.arange(32) // 4 % 2, 220, 40).astype(np.uint8)
    standing = np.broadcast_to(stripes[None, :, None], (32, 32, 3))
    for clip, label in zip(clips, labels, strict=True):
        part = standing if label else standing.transpose(1, 0, 2)
        clip[(FRAME if frames > 1 else 0, *region)] = part
    return clips, labels


def trained(name, rule, region=REGION, **fields):
    """A model that tells the two apart, trained here."""
    module = create_model(name, 2, dropout=0.0, **fields)
    first, _ = made_clips(1, rule.frames, 0)
    variables = module.init(jax.random.key(0), jnp.asarray(first, jnp.float32) / 255)
    optimizer = optax.adam(2e-3)

    def loss(params, stats, x, labels):
        (logits, _), new = module.apply(
            {"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"],
            rngs={"dropout": jax.random.key(1)},
        )  # fmt: skip
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), new

    @jax.jit
    def step(params, stats, state, x, labels):
        gradient, new = jax.grad(loss, has_aux=True)(params, stats, x, labels)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), new["batch_stats"], state

    params, stats = variables["params"], variables["batch_stats"]
    state = optimizer.init(params)
    for number in range(60):
        # New noise every time: a network that knows its clips by heart looks at what is around the region too.
        clips, labels = made_clips(16, rule.frames, 100 + number, region)
        x = jnp.asarray(clips, jnp.float32) / 255
        params, stats, state = step(params, stats, state, x, jnp.asarray(labels))
    crop = {"detector": "none", "margin": 0.0, "size": 96, "missing_faces": "drop"}
    stored = {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
    card = describe(name, ("lying", "standing"), rule, crop, fields={**stored, "dropout": 0.0})
    return TrainedModel(card, module, {"params": params, "batch_stats": stats})


NETWORK = {"frames": 1, "features": (8, 12, 16, 16), "head_features": 16}


@pytest.fixture(scope="module")
def looker():
    """A single-frame network that has learned the region."""
    return trained("pair_difference", last_frames(1), **NETWORK)


def widened(pixels, region=REGION):
    """The region with so many pixels around it, bool [96, 96]."""
    found = np.zeros((96, 96), bool)
    rows, columns = (slice(part.start - pixels, part.stop + pixels) for part in region)
    found[rows, columns] = True
    return found


@pytest.mark.slow
def test_grad_cam_lies_where_the_class_is(looker):
    """In the region itself lies 80 % of what all maps of two sets show, and 95 % within four pixels of it."""
    shares = []
    for region in (REGION, ELSEWHERE):
        model = looker
        if region is not REGION:
            model = trained("pair_difference", last_frames(1), region, **NETWORK)
        clips, labels = made_clips(8, 1, 5, region)
        assert (model.predict_clips(clips).argmax(1) == labels).all()
        for clip, label in zip(clips, labels, strict=True):
            found = grad_cam(model, clip, int(label))
            shares.append([mass_inside(found, widened(pixels, region)) for pixels in (0, 4)])
    print("in the region, within four pixels:", np.mean(shares, axis=0))
    assert (np.mean(shares, axis=0) >= (0.8, 0.95)).all()


@pytest.mark.slow
def test_occlusion_lies_where_the_class_is(looker):
    clips, _ = made_clips(8, 1, 5)
    region = widened(12)  # The hidden square is 24 pixels wide.
    for clip in clips[:4]:
        found = explain(looker, clip)
        assert mass_inside(found.occlusion, region) >= 0.8
        assert found.grad_cam.shape == (1, 96, 96)
        assert found.grad_cam.max() == pytest.approx(1)
        row, column = np.unravel_index(found.occlusion.argmax(), (96, 96))
        assert region[row, column]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["single_frame", "early_fusion", "late_fusion", "slow_fusion", "conv3d", "rnn"]
)
def test_every_kind_of_network_has_maps(tiny, name):
    """Towers give a map a frame, stacks one for all; no map is of another frame's face."""
    model = tiny(name)
    frames = model.rule.frames
    clip = noise(frames)
    maps = max((grad_cam(model, clip, number) for number in range(3)), key=np.max)
    assert maps.shape == (frames, SIZE, SIZE)
    assert np.isfinite(maps).all()
    assert maps.min() >= 0
    assert maps.max() == pytest.approx(1)
    others = [not np.allclose(maps[0], other, atol=1e-3) for other in maps[1:]]
    assert all(others) if name in ("late_fusion", "rnn") else not any(others)


def test_grad_cam_is_its_equation(tiny):
    """By hand for a tower: what stands behind the maps is run on them alone, and its gradient taken."""
    model = tiny("late_fusion")
    clip = noise(2, seed=1)
    _, endpoints = jax.jit(model.module.apply)(model.variables, clip[None] / np.float32(255))
    name = next(n for n in endpoints if n.endswith("block3/conv3"))
    maps = np.asarray(endpoints[name])[0]  # [tower, rows, columns, channel]
    assert maps.shape[0] == 2
    found = grad_cam(model, clip, 0, layers=(-1,), copies=0)

    def log_odds(tower_maps):
        flat = jax.vmap(lambda m: nn.max_pool(m, (2, 2), (2, 2)).reshape(-1))(tower_maps)
        features = flat.reshape(1, 2, -1)
        said = nn.softmax(model.module.apply(model.variables, features, method="join")[0][0])[0]
        return jnp.log(said / (1 - said))

    gradient = np.asarray(jax.jit(jax.grad(log_odds))(jnp.asarray(maps)))
    by_hand = np.maximum((gradient * maps).sum(-1), 0)
    assert (by_hand.max((1, 2)) > 0).all(), "both frames speak for the class"
    (centres,) = _look(model, clip.shape, (-1,)).centres.values()
    expected = np.stack([between_places(each, centres) for each in by_hand])
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-4)


def between_places(coarse, centres):
    """A map [rows, columns] on all pixels: straight lines from place to place, and to 0 a step beyond the last."""
    pixels = np.arange(SIZE)
    for count, first, last in zip(coarse.shape, *centres, strict=True):
        step = (last - first) / (count - 1)
        places = first + step * np.arange(-1, count + 1)
        lines = [np.interp(pixels, places, np.pad(line, 1)) for line in coarse.T]
        coarse = np.stack(lines)  # The other axis is the next.
    return coarse


@pytest.mark.slow
def test_what_is_shown_is_the_product_of_maps_from_coarse_to_fine(tiny):
    model, clip = tiny("late_fusion"), noise(2, seed=1)
    # Five convolutions without padding, so each has fewer places than the one before it.
    maps = [grad_cam(model, clip, 0, layers=(layer,), copies=0) for layer in range(5)]
    product = np.prod(maps, axis=0)
    assert product.max() > 0
    assert not np.allclose(maps[0], maps[4], atol=0.1)
    found = grad_cam(model, clip, 0, copies=0)
    np.testing.assert_allclose(found, product / product.max(), atol=1e-5)


@pytest.mark.slow
def test_noise_is_averaged_before_the_map_is_cut_at_zero(tiny, monkeypatch):
    model, clip = tiny("late_fusion"), noise(2, seed=1)
    monkeypatch.setattr(explain_module, "NOISE", 0.0)
    alike = grad_cam(model, clip, 0, copies=3)
    np.testing.assert_allclose(alike, grad_cam(model, clip, 0, copies=0), atol=1e-5)
    monkeypatch.undo()
    noisy = grad_cam(model, clip, 0, layers=(-1,), copies=2)
    again = np.random.default_rng(0)
    look = _look(model, clip.shape, (-1,))
    total = 0
    for _ in range(2):
        other = np.clip(clip + again.normal(0, 255 * explain_module.NOISE, clip.shape), 0, 255)
        (spoken,) = look.spoken(model.variables, other.round().astype(np.uint8)[None], 0).values()
        total = total + np.asarray(spoken)
    (centres,) = look.centres.values()
    expected = np.stack([between_places(each, centres) for each in np.maximum(total, 0)[:, 0]])
    np.testing.assert_allclose(noisy, expected / expected.max(), atol=1e-4)


@pytest.mark.slow
def test_what_raises_all_classes_alike_speaks_for_none(tiny):
    """All columns of the last layer by the same numbers: each clip's logits are raised, each by its own amount."""
    model, clip = tiny("late_fusion"), noise(2, seed=1)
    raised = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 3 if "logits" in jax.tree_util.keystr(path) else leaf,
        model.variables,
    )
    before, after = (
        grad_cam(TrainedModel(model.card, model.module, variables), clip, 0, (-1,), 0)
        for variables in (model.variables, raised)
    )
    assert before.max() > 0
    np.testing.assert_allclose(after, before, atol=1e-3)


@pytest.mark.slow
def test_a_frame_that_is_not_needed_costs_nothing(tiny):
    """Of two equal frames either can be replaced by the other."""
    clip = np.repeat(noise(1), 2, axis=0)
    np.testing.assert_allclose(occlusion_over_time(tiny("late_fusion"), clip, 0), 0, atol=1e-6)


def test_mass_inside():
    values = np.array([[1.0, -5.0], [3.0, 0.0]])
    assert mass_inside(values, np.array([[True, True], [False, False]])) == pytest.approx(0.25)
    assert mass_inside(values * 0, np.ones((2, 2), bool)) == 0


@pytest.mark.slow
def test_sheets_of_a_video_and_of_a_set(tiny, tmp_path):
    model = tiny("single_frame")
    frames = [cv2.cvtColor(draw_face(120, 160), cv2.COLOR_GRAY2RGB)] * 5
    path = write_video(tmp_path / "clip.mp4", frames, options={"qp": "4"})
    examples = explain_pictures.of_source(model, open_source(str(path)), window(model.rule), 2, 100)
    assert [example.title for example in examples] == ["frame 0, 0.00 s", "frame 4, 0.16 s"]
    random = np.random.default_rng(0)
    rows = [
        (f"{who}/{label}", who, label, random.integers(0, 256, (15, SIZE, SIZE, 3), np.uint8))
        for who in ("S1", "S2")
        for label in model.classes
    ]
    shards = load_data(
        str(write_shards(tmp_path / "set", rows, name="made", classes=model.classes))
    )
    right, wrong = explain_pictures.of_shards(model, shards, 2)
    assert len(right) <= 2
    assert len(wrong) == 2
    for example in wrong:
        assert f"labelled: {example.explanation.label}" not in example.title
    figures = [
        ("clip.png", explain_pictures.clip_sheet(examples[0])),
        ("wrong.png", explain_pictures.contact_sheet(wrong)),
    ]
    for file in explain_pictures.write_sheets(tmp_path / "sheets", figures):
        assert cv2.imread(str(file)).std() > 10


@pytest.mark.slow
def test_the_pair_that_was_judged_is_drawn(tiny, tmp_path, monkeypatch):
    paired = tiny("late_fusion")
    card = {**paired.card, "reference": "auto", "classes": [*paired.classes[:-1], "neutral"]}
    model = TrainedModel(card, paired.module, paired.variables)
    rows = [("S1/long", "S1", "anger", noise(20))]
    shards = load_data(
        str(write_shards(tmp_path / "set", rows, name="made", classes=model.classes))
    )
    monkeypatch.setattr(explain_pictures, "explain", lambda model, clip: None)
    drawn = explain_pictures._of_sequence(model, shards, 0).clip
    judged = model.predict_clips(drawn[None])[0, : len(model.classes)]
    (prediction,) = predict_shards(model, shards, [0])
    said = list(prediction.probabilities["summed"])
    np.testing.assert_allclose(judged, said, atol=1e-4)
    assert not np.array_equal(drawn, noise(20)[clips_lib.evaluation_clips(model.rule, 20)[-1]])


def test_a_name_of_a_set_leads_nowhere_else(tmp_path):
    rows = [("s", "S1", "anger", noise(3, 8))]
    shards = load_data(
        str(write_shards(tmp_path / "set", rows, name="a/../../b", classes=("anger",)))
    )
    found = explain_pictures.default_folder(tmp_path / "model", shards)
    assert found.parts == ("explanations", "model-on-a%2F..%2F..%2Fb")
    source = Source("clip (1)", "video", 25.0, None)
    assert explain_pictures.default_folder("model", source).name == "model-on-clip (1)"


def test_an_overlay_is_red_where_the_map_is_strongest():
    picture = np.full((4, 4, 3), 100, np.uint8)
    values = np.zeros((4, 4))
    values[1, 1], values[2, 2] = 1.0, 0.3
    drawn = explain_pictures.overlay(picture, values).astype(int)
    assert drawn[0, 0].tolist() == [100, 100, 100]
    assert drawn[1, 1, 0] > 200 > drawn[1, 1, 1] + 100
    assert drawn[2, 2, 1] > drawn[1, 1, 1], "weaker is more yellow"


@pytest.mark.slow
def test_unknown_classes_and_layers(tiny):
    with pytest.raises(ValueError, match="'joy' is no class of this model: anger"):
        explain(tiny("single_frame"), noise(1), "joy")
