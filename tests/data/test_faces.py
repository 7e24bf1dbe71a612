"""Finding and cutting faces: drawn faces with known places, geometry by hand."""

import dataclasses
import hashlib
import time

import cv2
import numpy as np
import pytest

from stfer.data.faces import (
    DETECTORS,
    CropSettings,
    Face,
    FaceFollower,
    crop_face,
    find_faces,
    find_finely,
    lbp,
    overlap,
    yunet,
)

LBP = CropSettings()


def one_face(settings=LBP):
    """The follower of preprocessing."""
    return FaceFollower(settings, largest=1, patience=None)


def near_truth(face: Face, x: int, y: int, side: int) -> bool:
    """Whether a box is centred on a drawn face and about as wide."""
    shift = np.hypot(face.x + face.width / 2 - x, face.y + face.height / 2 - y)
    return shift < 0.15 * side and 0.6 * side < face.width < 1.25 * side


@pytest.mark.parametrize(
    ("height", "width", "x", "y", "side"),
    [
        (120, 160, 80, 60, 70),
        (240, 320, 130, 110, 100),
        (490, 640, 350, 250, 240),
        (300, 200, 100, 120, 90),
    ],
)
def test_finds_a_face_where_it_is(face, height, width, x, y, side):
    grey = face(height, width, x, y, side)
    for frame in (grey, np.repeat(grey[..., None], 3, axis=2)):
        follower = one_face()
        found = follower.one(frame)
        assert found.how == "whole"
        assert near_truth(found.face, x, y, side)
        again = follower.one(frame)
        assert again.how == "near"
        assert near_truth(again.face, x, y, side)


def test_small_faces_are_found_when_no_large_one_is(face):
    """52 pixels in 480: below the size that the first search looks for."""
    found = find_faces(face(480, 640, 300, 200, 60), LBP)
    assert near_truth(found[0], 300, 200, 60)


def test_no_face(face):
    noise = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)
    for frame in (np.full((120, 160), 90, np.uint8), noise, noise[:20, :20], noise[:1, :1]):
        assert find_faces(frame, LBP) == []
        assert find_faces(frame, LBP, Face(0, 0, 60, 60)) == []
        assert find_finely(frame, LBP, Face(0, 0, 60, 60)) is None
        assert one_face().one(frame) is None


def two_faces(face, left_side=110, right_side=70):
    return np.hstack([face(200, 200, 100, 100, left_side), face(200, 200, 100, 100, right_side)])


def test_the_largest_face_first_and_then_the_one_that_continues_the_track(face):
    frame = two_faces(face)
    found = find_faces(frame, LBP)
    assert len(found) == 2
    assert near_truth(found[0], 100, 100, 110)
    assert near_truth(one_face().one(frame).face, 100, 100, 110)
    follower = one_face()
    # Alone at first, the right face stays the one although a larger one appears.
    alone = two_faces(face)
    alone[:, :200] = 120
    assert near_truth(follower.one(alone).face, 300, 100, 70)
    assert near_truth(follower.one(frame).face, 300, 100, 70)


def test_a_follower_follows_and_survives_a_gap(face):
    follower = one_face()
    for x in range(100, 160, 6):
        found = follower.one(face(200, 260, x, 100, 80))
        assert near_truth(found.face, x, 100, 80)
    assert found.how == "near"
    assert follower.one(np.full((200, 260), 120, np.uint8)) is None
    # Far away from where it was lost.
    assert near_truth(follower.one(face(200, 260, 70, 100, 80)).face, 70, 100, 80)


def test_the_fine_search_finds_what_the_others_miss_but_only_nearby(face, monkeypatch):
    frame = face(200, 260, 120, 100, 80)
    follower = one_face()
    assert near_truth(follower.one(face(200, 260, 125, 103, 80)).face, 125, 103, 80)
    real = lbp.search

    def only_fine(frame, near, fine=False):
        return real(frame, near, fine) if fine else []

    blind = dataclasses.replace(DETECTORS["lbp"], search=only_fine)
    monkeypatch.setitem(DETECTORS._entries, "lbp", blind)
    found = follower.one(frame)
    assert found.how == "fine"
    assert near_truth(found.face, 120, 100, 80)
    assert find_finely(frame, LBP, Face(0, 130, 60, 60)) is None


@pytest.mark.slow
def test_following_finds_the_same_faces_as_a_plain_full_search():
    """On a rendered sequence, against the cascade over the whole frame at its full size."""
    import itertools

    import cv2

    from stfer.data.synthetic.dataset import render_sequence

    cascade = cv2.CascadeClassifier(str(lbp.CASCADE))
    follower = one_face()
    for frame in itertools.islice(render_sequence(0, 2, "surprise"), 0, 16, 2):
        boxes = cascade.detectMultiScale(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 1.1, 3)
        largest = Face(*map(float, max(boxes, key=lambda box: box[2])))
        assert overlap(follower.one(frame).face, largest) >= 0.7


def test_overlap_by_hand():
    a = Face(0, 0, 10, 10)
    assert overlap(a, a) == 1
    assert overlap(a, Face(5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert overlap(a, Face(10, 0, 10, 10)) == 0
    assert overlap(a, Face(2, 2, 5, 5)) == pytest.approx(0.25)


def test_the_crop_is_the_square_with_its_margin():
    rows, columns = np.mgrid[0:100, 0:120]
    frame = np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)
    # Box 40 wide, 20 high, centre (60, 50); with margin 0.25 a square of 60: x 30..89, y 20..79.
    crop = crop_face(frame, Face(40, 40, 40, 20), CropSettings(margin=0.25, size=60))
    np.testing.assert_array_equal(crop, frame[20:80, 30:90])
    halved = crop_face(frame, Face(40, 40, 40, 20), CropSettings(margin=0.25, size=30))
    by_area = frame[20:80, 30:90].reshape(30, 2, 30, 2, 3).mean((1, 3))
    assert np.abs(halved - by_area).max() <= 0.5


def test_pixels_beyond_the_frame_repeat_its_border():
    frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    crop = crop_face(frame, Face(-10, -5, 20, 20), CropSettings(margin=0, size=20))
    expected = np.pad(frame, ((5, 0), (10, 0), (0, 0)), mode="edge")[:20, :20]
    np.testing.assert_array_equal(crop, expected)
    crop = crop_face(frame, Face(30, 20, 20, 20), CropSettings(margin=0, size=20))
    expected = np.pad(frame, ((0, 10), (0, 10), (0, 0)), mode="edge")[20:, 30:]
    np.testing.assert_array_equal(crop, expected)


@pytest.mark.parametrize(
    "box", [(-90, -90, 20, 20), (200, 200, 20, 20), (0, 0, 0.2, 0.2), (-500, 3, 1000, 4)]
)
def test_any_box_gives_a_crop(box):
    frame = np.full((30, 40, 3), 7, np.uint8)
    crop = crop_face(frame, Face(*box), CropSettings(size=16))
    np.testing.assert_array_equal(crop, np.full((16, 16, 3), 7))


def test_grey_frames_give_three_equal_channels_and_enlarging_stays_in_range(face):
    crop = crop_face(face(), Face(70, 50, 20, 20), CropSettings(margin=0, size=50))
    assert crop.shape == (50, 50, 3)
    assert (crop == crop[..., :1]).all()
    patch = face()[50:70, 70:90]
    assert patch.min() <= crop.min() <= crop.max() <= patch.max()


def test_roll_is_removed():
    """Two bright eyes on a slope of 45 degrees come out level, the frame's left one on the left."""
    places = []
    for place in (30, 70):
        frame = np.zeros((100, 100), np.uint8)
        frame[place - 2 : place + 3, place - 2 : place + 3] = 255
        crop = crop_face(frame, Face(10, 10, 80, 80, roll=45.0), CropSettings(margin=0, size=80))
        places.append(np.argwhere(crop[..., 0] > 127).mean(0))
    left, right = places
    assert left[0] == pytest.approx(40, abs=1)
    assert right[0] == pytest.approx(40, abs=1)
    assert right[1] - left[1] == pytest.approx(40 * np.sqrt(2), abs=1)


def test_detector_none_takes_the_whole_frame():
    frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    settings = CropSettings("none", size=40)
    found = one_face(settings).one(frame)
    assert found.face == (0, 0, 40, 30, 0)
    expected = np.pad(frame, ((5, 5), (0, 0), (0, 0)), mode="edge")
    np.testing.assert_array_equal(crop_face(frame, found.face, settings), expected)


def test_settings_round_trip_and_refuse_nonsense():
    settings = CropSettings("lbp", 0.2, 96, "interpolate")
    assert CropSettings.from_dict(settings.to_dict()) == settings
    assert CropSettings("none").margin == 0
    for wrong in (
        {"detector": "haar"},
        {"margin": 5.0},
        {"margin": float("nan")},
        {"size": 3},
        {"missing_faces": "?"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CropSettings(**wrong)
    for wrong in ({"color": 1}, {"size": "170"}, {"size": True}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CropSettings.from_dict(wrong)


def test_the_cascade_is_the_one_its_note_names():
    sha = "7c31331d494f20e216b397ad99d824d92ab91ebb15db3bcda6a2f8e684d238d3"
    assert hashlib.sha256(lbp.CASCADE.read_bytes()).hexdigest() == sha
    assert sha in lbp.CASCADE.with_suffix(".md").read_text()


def test_yunet_absent_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("STFER_YUNET_MODEL", raising=False)
    monkeypatch.setattr(yunet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install '\.\[yunet\]'"):
        yunet.find_model()
    monkeypatch.setenv("STFER_YUNET_MODEL", str(tmp_path / "absent.onnx"))
    with pytest.raises(FileNotFoundError, match="--yunet_model"):
        yunet.find_model()
    (tmp_path / "absent.onnx").write_bytes(b"other")
    with pytest.raises(ValueError, match="SHA-256 differs"):
        yunet.find_model()


def has_yunet() -> bool:
    try:
        return yunet.find_model().is_file()
    except (ImportError, OSError, ValueError):
        return False


@pytest.mark.skipif(not has_yunet(), reason="needs the optional extra yunet")
def test_yunet_finds_the_drawn_face_and_levels_it(face):
    import cv2

    settings = CropSettings("yunet")
    frame = np.repeat(face(240, 320, 160, 120, 110)[..., None], 3, axis=2)
    follower = one_face(settings)
    straight = follower.one(frame)
    assert near_truth(straight.face, 160, 120, 110)
    assert abs(straight.face.roll) < 4
    turn = cv2.getRotationMatrix2D((160, 120), -15, 1)  # clockwise: the frame's right eye sinks
    turned = cv2.warpAffine(frame, turn, (320, 240), borderMode=cv2.BORDER_REPLICATE)
    found = follower.one(turned)
    assert found.how == "near"
    assert found.face.roll == pytest.approx(15, abs=5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_a_large_frame_without_a_face_is_searched_quickly(kind):
    """At 3840x2160; what it costs is compared with a frame of 640x360, searched to its smallest face."""
    random = np.random.default_rng(0)

    def frame(height, width):
        if kind == "flat":
            return np.full((height, width, 3), 120, np.uint8)
        return random.integers(0, 256, (height, width, 3), np.uint8)

    def seconds(image):
        spent = []
        for _ in range(5):
            start = time.process_time()
            assert find_faces(image, CropSettings()) == []
            spent.append(time.process_time() - start)
        return min(spent)

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        # On an idle core the small one takes 0.05 s or more, and the large one must not exceed 0.15 s.
        assert seconds(frame(2160, 3840)) < 3 * seconds(frame(360, 640))
    finally:
        cv2.setNumThreads(threads)


def test_a_face_in_a_large_frame_is_found(face):
    for side in (1000, 300):
        found = find_faces(face(2160, 3840, 1500, 900, side), CropSettings())
        assert abs(found[0].x + found[0].width / 2 - 1500) < 0.2 * side
