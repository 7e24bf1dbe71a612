"""Landmarks: the detector against the synthetic head's geometry, crop places, mirroring, CK+'s files."""

import hashlib

import cv2
import numpy as np
import pytest

from stfer.data.faces import CropSettings, Face, crop_face
from stfer.data.faces import landmarks as detector
from stfer.data.faces.landmarks import find_landmarks
from stfer.data.faces.points import (
    MIRRORED,
    NOSE_TIP,
    OF_68,
    draw_points,
    inter_ocular,
    mirror_points,
    to_crop,
)
from stfer.data.listing import list_set, make_shards
from stfer.data.readers import ck_plus, ck_plus_landmarks
from stfer.data.shards import load_shards
from stfer.data.synthetic import landmarks as synthetic


@pytest.fixture(scope="module")
def drawn():
    """One drawn frame, its exact points and its face."""
    portrait, performance, moment, frame = list(synthetic.moments(12, 1, 2))[1]
    face, points = synthetic.detect(frame)
    return frame, synthetic.exact_landmarks(portrait, performance, moment), face, points


def test_the_model_file_is_mediapipe_s():
    assert hashlib.sha256(detector.MODEL.read_bytes()).hexdigest() == detector.SHA256
    note = detector.MODEL.with_suffix(".md").read_text()
    assert detector.SHA256 in note
    assert "Apache" in note


@pytest.mark.slow
def test_the_detector_is_near_the_exact_points():
    found, lost = synthetic.errors(31, people=3, frames_each=3)
    assert lost == 0
    assert found.mean() < 5  # per cent of the distance between the eyes
    assert found.mean(1).max() < 12


def test_the_49_points_are_where_their_names_say(drawn):
    _, _, _, points = drawn
    x, y = points.T
    brows, nose, eyes, mouth = (points[part].mean(0)[1] for part in synthetic.GROUPS.values())
    assert brows < eyes < nose < mouth
    assert (np.diff(x[:10]) > 0).all()  # brows from left to right
    assert (np.diff(y[10:14]) > 0).all()  # the ridge downwards, to the tip
    assert abs(x[NOSE_TIP] - x[[19, 28]].mean()) < 0.1 * inter_ocular(points)
    assert (np.diff(x[14:19]) > 0).all()
    assert (x[19], x[28]) == (x.take(np.r_[19:31]).min(), x.take(np.r_[19:31]).max())
    assert (x[31], x[37]) == (x[31:].min(), x[31:].max())  # the mouth's corners
    assert (y[32:37] < y[38:43][::-1]).all()  # its upper lip over its lower


def test_a_crop_and_grey_and_a_large_frame_give_the_same_points(drawn):
    frame, _, face, points = drawn
    settings = CropSettings(margin=0.25)
    crop = crop_face(frame, face, settings)
    scale = inter_ocular(points)
    from_crop = find_landmarks(crop) / settings.size
    np.testing.assert_allclose(from_crop, to_crop(points, face, settings), atol=0.02)
    grey = find_landmarks(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), face)
    assert np.linalg.norm(grey - points, axis=1).mean() < 0.03 * scale
    large = cv2.resize(frame, None, fx=5, fy=5, interpolation=cv2.INTER_LINEAR)
    from_large = find_landmarks(large, Face(*(5 * value for value in face[:4])))
    assert np.linalg.norm(from_large / 5 - points, axis=1).mean() < 0.02 * scale


def test_no_face_has_no_landmarks():
    noise = np.random.default_rng(0).integers(0, 256, (170, 170, 3), np.uint8)
    for picture in (noise, np.full((170, 170), 90, np.uint8), noise[:1, :1]):
        assert find_landmarks(picture) is None
    assert find_landmarks(noise, Face(400, 10, 50, 50)) is None


def test_mirroring_twice_changes_nothing_and_once_swaps_the_sides():
    points = np.random.default_rng(0).random((5, 49, 2)).astype(np.float32)
    np.testing.assert_allclose(mirror_points(mirror_points(points)), points, atol=1e-7)
    assert sorted(MIRRORED) == list(range(49))


def test_a_mirrored_picture_has_the_mirrored_points(drawn):
    frame, _, face, _ = drawn
    crop = crop_face(frame, face, CropSettings(margin=0.25))
    found = find_landmarks(crop) / len(crop)
    mirrored = find_landmarks(np.ascontiguousarray(crop[:, ::-1])) / len(crop)
    away = np.linalg.norm(mirrored - mirror_points(found), axis=1)
    assert away.mean() < 0.03 * inter_ocular(found)
    # Every single point goes where its partner was, so no pair of the table is wrong.
    near = np.linalg.norm(mirrored[:, None] - mirror_points(found)[None], axis=-1)
    assert (near.argmin(0) == np.arange(49)).all()
    assert np.linalg.norm(mirrored - found * (-1, 1) - (1, 0), axis=1).mean() > 5 * away.mean()


@pytest.mark.parametrize("roll", [0.0, 17.0, -30.0])
@pytest.mark.parametrize("place", [(60.5, 44.5), (95.5, 70.5)])
def test_crop_places_are_where_crop_face_puts_a_pixel(roll, place):
    frame = np.zeros((140, 160), np.uint8)
    x, y = (int(value) for value in place)
    frame[y - 2 : y + 3, x - 2 : x + 3] = 250
    face, settings = Face(40.3, 30.6, 71.2, 60.4, roll), CropSettings(size=300, margin=0.3)
    crop = crop_face(frame, face, settings)[..., 0].astype(float)
    rows, columns = np.indices(crop.shape) + 0.5
    centre = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum() / 300
    np.testing.assert_allclose(to_crop(np.array(place), face, settings), centre, atol=0.002)


def test_drawing_marks_the_points_and_leaves_the_crop_as_it_is():
    crop = np.zeros((200, 200, 3), np.uint8)
    points = np.random.default_rng(1).uniform(0.1, 0.9, (49, 2))
    drawn = draw_points(crop, points)
    assert not crop.any()
    for x, y in points:
        assert drawn[int(y * 200), int(x * 200)].any()


def write_points(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"   {x:.7e}   {y:.7e}\n" for x, y in points))


def test_ck_plus_s_own_points(tmp_path, ck_sequence):
    ck_sequence(tmp_path, frames=3, label=b"3.0")
    sequence = ck_plus.read(tmp_path)[0][0]
    all_points = np.random.default_rng(0).uniform(0, 480, (3, 68, 2))
    folder = tmp_path / "Landmarks" / "Landmarks"
    for number, points in enumerate(all_points, start=1):
        write_points(folder / "S005" / "001" / f"S005_001_{number:08d}_landmarks.txt", points)
    root = ck_plus_landmarks.find_landmark_folder(tmp_path)
    assert root == folder
    assert ck_plus_landmarks.find_landmark_folder(tmp_path / "cohn-kanade-images") == folder
    points = ck_plus_landmarks.read_landmarks(root, sequence)
    assert points.dtype == np.float32
    # The mark-up of 68: 17 jaw points, then brows, nose, eyes; mouth outside 48..59, inside 60..67 with corners 60, 64.
    np.testing.assert_allclose(points[:, :43], all_points[:, 17:60], rtol=1e-6)
    np.testing.assert_allclose(points[:, 43:46], all_points[:, 61:64], rtol=1e-6)
    np.testing.assert_allclose(points[:, 46:], all_points[:, 65:], rtol=1e-6)
    assert len(OF_68) == 49


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2\n" * 67, "67 lines"),
        ("1 2 3\n" * 68, "instead of 68 of two"),
        ("1 x\n" * 68, "something else than numbers"),
        ("1 nan\n" * 68, "not finite"),
    ],
)
def test_damaged_points_are_refused_by_name(tmp_path, ck_sequence, text, reason):
    ck_sequence(tmp_path, frames=1, label=b"3.0")
    sequence = ck_plus.read(tmp_path)[0][0]
    path = tmp_path / "Landmarks" / "S005" / "001" / "S005_001_00000001_landmarks.txt"
    with pytest.raises(ValueError, match="no landmarks: S005_001_00000001"):
        ck_plus_landmarks.read_landmarks(tmp_path / "Landmarks", sequence)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=f"S005_001_00000001_landmarks.txt .*{reason}"):
        ck_plus_landmarks.read_landmarks(tmp_path / "Landmarks", sequence)


def test_a_tree_without_points_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder Landmarks"):
        ck_plus_landmarks.find_landmark_folder(tmp_path)


def test_landmarks_become_a_stream_and_follow_the_crop(tmp_path, png):
    """A drawn person's frames as a set: the stored points are those of the stored crops."""
    frames = [frame for *_, frame in synthetic.moments(12, 1, 3)]
    for number, frame in enumerate(frames):
        png(tmp_path / "faces" / f"{number}.png", frame[..., ::-1])
    (tmp_path / "set.csv").write_text("path,subject,emotion\nfaces,P1,anger\n")
    listing = list_set("manifest", tmp_path / "set.csv", min_frames=1)
    make_shards(
        listing, tmp_path / "shards", CropSettings(margin=0.2), preview=True, landmarks="mediapipe",
        progress=False,
    )  # fmt: skip
    shards = load_shards(tmp_path / "shards")
    points = shards.stream("landmarks", 0)
    assert points.dtype == np.float32
    for crop, stored in zip(shards.stream("frames", 0), points, strict=True):
        again = find_landmarks(crop) / len(crop)
        assert np.linalg.norm(again - stored, axis=1).mean() < 0.05 * inter_ocular(stored)
    assert (tmp_path / "shards" / "preview-001.jpg").is_file()


def test_a_sequence_without_landmarks_is_dropped_with_its_frame(tmp_path, png):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    png(tmp_path / "faces" / "0.png", noise)
    (tmp_path / "set.csv").write_text("path,subject,emotion\nfaces,P1,anger\n")
    listing = list_set("manifest", tmp_path / "set.csv", min_frames=1)
    with pytest.raises(ValueError, match=r"no landmarks in frame 1: 0.png"):
        make_shards(
            listing, tmp_path / "shards", CropSettings("none", margin=0.0), landmarks="mediapipe", progress=False
        )  # fmt: skip
    with pytest.raises(ValueError, match="come with CK\\+ alone"):
        make_shards(listing, tmp_path / "shards", CropSettings(), landmarks="ck_plus")
