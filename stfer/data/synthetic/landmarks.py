"""Where the 49 landmarks lie on the synthetic head, and how far the detector is from them.

The vertices were fitted once: on 200 frames of 20 people (`fit`, seed 7000), each point is the vertex of the skin that
lies nearest to what the detector finds, in the mean square over frames, the same vertex on both sides of the face. On
people of another seed the exact projected places are then an independent measure of the detector (`errors`).

    python -m stfer.data.synthetic.landmarks           the errors on 200 frames of 20 people
    python -m stfer.data.synthetic.landmarks --fit     the vertices anew
"""

import argparse
import time
from collections.abc import Iterator

import cv2
import numpy as np
from scipy.spatial import cKDTree

from stfer.data.faces import CropSettings, Face, FaceFollower
from stfer.data.faces.landmarks import find_landmarks
from stfer.data.faces.points import MIRRORED, inter_ocular
from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.expressions import Performance
from stfer.data.synthetic.head import load_head
from stfer.data.synthetic.renderer import Portrait
from stfer.data.synthetic.takes import stage

FIT_SEED, CHECK_SEED = 7000, 9100
PEOPLE, FRAMES_EACH = 20, 10
LANDMARK_VERTICES = np.array(
    [
        *(265, 2073, 2072, 229, 236, 2836, 2830, 4560, 4561, 2862),
        *(169, 135, 201, 1947, 384, 313, 312, 2904, 2972),
        *(1841, 8, 55, 63, 1096, 1093, 2675, 2667, 2620, 4339, 3613, 3616),
        *(407, 2167, 456, 455, 3043, 4649, 2995, 3066, 3073, 496, 490, 483),
        *(462, 468, 3049, 3107, 523, 534),
    ]
)
GROUPS = {"brows": slice(10), "nose": slice(10, 19), "eyes": slice(19, 31), "mouth": slice(31, 49)}


def exact_landmarks(portrait: Portrait, performance: Performance, moment: int) -> np.ndarray:
    """The 49 points of one frame by projection: float64 [49, 2], frame pixels."""
    return portrait.places(performance, moment, LANDMARK_VERTICES)


def moments(
    seed: int, people: int = PEOPLE, frames_each: int = FRAMES_EACH
) -> Iterator[tuple[Portrait, Performance, int, np.ndarray]]:
    """Portrait, performance, moment and drawn frame: all expressions, from the first frame to the apex."""
    for subject in range(1, people + 1):
        for number, time_ in enumerate(np.linspace(0, 1, frames_each)):
            emotion = EMOTIONS_6[(number + subject) % len(EMOTIONS_6)]
            take = stage(seed, subject, emotion)
            moment = round(time_ * (len(take) - 1))
            yield take.portrait, take.performance, moment, take.frame(moment)


def detect(frame: np.ndarray) -> tuple[Face | None, np.ndarray | None]:
    """The face of a frame and its landmarks, as preprocessing finds them."""
    found = FaceFollower(CropSettings()).one(frame)
    return (None, None) if found is None else (found.face, find_landmarks(frame, found.face))


def errors(seed: int = CHECK_SEED, **how_many: int) -> tuple[np.ndarray, int]:
    """Distances of detected from exact points, in per cent of the distance between the eyes.

    Returns:
        float64 [found frames, 49], and the number of frames in which nothing was found.
    """
    rows, lost = [], 0
    for portrait, performance, moment, frame in moments(seed, **how_many):
        points = detect(frame)[1]
        if points is None:
            lost += 1
            continue
        exact = exact_landmarks(portrait, performance, moment)
        rows.append(100 * np.linalg.norm(points - exact, axis=1) / inter_ocular(exact))
    return np.array(rows), lost


def fit(seed: int = FIT_SEED, **how_many: int) -> np.ndarray:
    """Vertex ids of the 49 points, int64 [49]; see the module."""
    head = load_head()
    skin = np.unique(head.triangles[head.part("skin")])
    skin = skin[head.vertices[skin, 2] > 0]
    mirror = cKDTree(head.vertices[skin]).query(head.vertices[skin] * (-1, 1, 1))[1]
    cost = np.zeros((49, len(skin)))
    for portrait, performance, moment, frame in moments(seed, **how_many):
        points = detect(frame)[1]
        if points is not None:
            places = portrait.places(performance, moment, skin)
            squares = np.square(points[:, None] - places).sum(-1)
            cost += squares / np.square(inter_ocular(points))
    both = cost + cost[MIRRORED][:, mirror]
    best = both.argmin(1)
    # One side chooses; the other takes its mirror image (ties on the midline stay what they are).
    for point, other in enumerate(MIRRORED):
        if point < other:
            best[other] = mirror[best[point]]
    return skin[best]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="print the vertices, fitted anew")
    if parser.parse_args().fit:
        print(fit().tolist())
        return
    cv2.setNumThreads(1)
    found, lost = errors()
    print(f"{len(found)} frames, {lost} without points; per cent of the distance between the eyes:")
    print(f"mean {found.mean():.2f}, median {np.median(found):.2f}, ", end="")
    print(f"worst frame's mean {found.mean(1).max():.2f}")
    print(", ".join(f"{name} {found[:, part].mean():.2f}" for name, part in GROUPS.items()))
    frame = next(moments(CHECK_SEED, 1, 1))[3]
    face = detect(frame)[0]
    start = time.process_time()
    for _ in range(100):
        find_landmarks(frame, face)
    print(f"{(time.process_time() - start) * 10:.1f} ms of one core a frame, the face given")


if __name__ == "__main__":
    _main()
