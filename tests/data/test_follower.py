"""Faces followed apart, with a detector that is told where faces are, and once with the real one."""

import cv2
import numpy as np
import pytest

from stfer.data.faces import CropSettings, Face, FaceFollower, Tracked, follower, overlap


@pytest.fixture
def seen(monkeypatch):
    """Boxes that the detector finds: the whole frame's, and of those the ones near the last box."""
    boxes: list[Face] = []
    calls = {"whole": 0, "near": 0}

    def find(frame, settings, near=None):
        calls["whole" if near is None else "near"] += 1
        if near is None:
            return sorted(boxes, key=lambda f: -f.width * f.height)
        return sorted([b for b in boxes if overlap(b, near) > 0], key=lambda b: -overlap(b, near))

    monkeypatch.setattr(follower, "find_faces", find)
    monkeypatch.setattr(follower, "find_finely", lambda *_: None)
    find.calls = calls
    find.boxes = boxes
    return find


FRAME = np.zeros((360, 640, 3), np.uint8)


def faces(follow, frame=FRAME):
    """Number and box of each track in the next frame."""
    return [(number, found and found.face) for number, found in follow(frame)]


def test_two_faces_keep_their_numbers_while_they_pass(seen):
    follow = FaceFollower(CropSettings())
    for step in range(40):
        # They pass at half a face's distance, 12 pixels a frame.
        seen.boxes[:] = [Face(20 + 12 * step, 100, 100, 100), Face(500 - 12 * step, 170, 100, 100)]
        assert faces(follow) == [(1, seen.boxes[0]), (2, seen.boxes[1])]


def test_a_missed_face_is_told_and_taken_up_again(seen):
    follow = FaceFollower(CropSettings(), search_every=100, patience=3)
    box = Face(50, 50, 100, 100)
    answers = []
    for there in [1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]:
        seen.boxes[:] = [box] if there else []
        answers.append(faces(follow))
    face, none = [(1, box)], [(1, None)]
    assert answers == [face, face, none, none, face, none, none, none, [], [], [(2, box)]]


def test_the_only_face_goes_on_wherever_it_appears(seen):
    follow = FaceFollower(CropSettings())
    here, there = Face(50, 50, 100, 100), Face(400, 200, 90, 90)
    answers = []
    for box in (here, None, None, there, there):
        seen.boxes[:] = [box] if box else []
        answers += faces(follow)
    assert answers == [(1, here), (1, None), (1, None), (1, there), (1, there)]
    # Of two that appear the one that overlaps, else the larger.
    larger = Face(200, 0, 120, 120)
    for boxes, taken in (([there, larger], there), ([here, larger], larger)):
        follow = FaceFollower(CropSettings(), largest=1)
        for box in (there, None):
            seen.boxes[:] = [box] if box else []
            follow(FRAME)
        seen.boxes[:] = boxes
        assert faces(follow) == [(1, taken)]


def test_of_several_a_lost_one_does_not_go_on_elsewhere(seen):
    follow = FaceFollower(CropSettings(), search_every=1)
    stays, leaves, comes = (Face(x, 0, 100, 100) for x in (0, 200, 400))
    seen.boxes[:] = [stays, leaves]
    follow(FRAME)
    seen.boxes[:] = [stays, comes]
    assert faces(follow) == [(1, stays), (2, None), (3, comes)]
    seen.boxes[:] = [stays, comes, leaves]
    assert faces(follow) == [(1, stays), (2, leaves), (3, comes)]


def test_patience_without_end(seen):
    follow = FaceFollower(CropSettings(), largest=1, patience=None)
    seen.boxes[:] = [Face(50, 50, 100, 100)]
    follow(FRAME)
    seen.boxes.clear()
    assert [faces(follow) for _ in range(50)] == [[(1, None)]] * 50
    seen.boxes[:] = [Face(400, 100, 100, 100)]
    assert faces(follow) == [(1, seen.boxes[0])]


def test_a_new_face_is_found_at_the_next_search_of_the_whole_frame(seen):
    follow = FaceFollower(CropSettings(), search_every=5)
    seen.boxes[:] = [Face(0, 0, 100, 100)]
    numbers = []
    for step in range(12):
        if step == 2:
            seen.boxes.append(Face(300, 0, 80, 80))
        numbers.append([number for number, _ in faces(follow)])
    assert numbers == [[1]] * 5 + [[1, 2]] * 7
    assert seen.calls["whole"] == 3


def test_no_more_faces_than_asked_for_the_largest_first(seen):
    seen.boxes[:] = [Face(0, 0, 50, 50), Face(200, 0, 120, 120), Face(400, 0, 90, 90)]
    assert [face.width for _, face in faces(FaceFollower(CropSettings(), largest=2))] == [120, 90]


def test_a_last_finer_look_saves_a_track(seen, monkeypatch):
    box = Face(50, 50, 100, 100)
    follow = FaceFollower(CropSettings())
    seen.boxes[:] = [box]
    follow(FRAME)
    seen.boxes.clear()
    monkeypatch.setattr(follower, "find_finely", lambda *_: Tracked(box, "fine"))
    assert faces(follow) == [(1, box)]


def test_without_a_detector_the_frame_is_the_face():
    follow = FaceFollower(CropSettings("none"))
    assert [faces(follow) for _ in range(3)] == [[(1, Face(0, 0, 640, 360))]] * 3


def test_two_real_faces_on_the_cascade():
    from stfer.data.synthetic.dataset import render_sequence

    head = next(iter(render_sequence(0, 1, "happiness")))
    other = cv2.resize(head, None, fx=1.15, fy=1.15)[:, ::-1]
    follow = FaceFollower(CropSettings(), search_every=3)
    for step in range(9):
        frame = np.full((360, 760, 3), 90, np.uint8)
        frame[40 : 40 + head.shape[0], 10 + 3 * step : 10 + 3 * step + head.shape[1]] = head
        frame[50 : 50 + other.shape[0], 380 - step : 380 - step + other.shape[1]] = other
        found = faces(follow, frame)
    centres = sorted((face.x + face.width / 2, number) for number, face in found)
    assert len(centres) == 2
    # The heads are in the middle of the pictures that were pasted.
    assert abs(centres[0][0] - (10 + 24 + head.shape[1] / 2)) < 30
    assert abs(centres[1][0] - (380 - 8 + other.shape[1] / 2)) < 30
