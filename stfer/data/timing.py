"""How long a frame takes: reading, search, cut, landmarks; and whether the quick search finds the same faces."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import cv2

from stfer.data.faces import CropSettings, Face, FaceFollower, crop_face, overlap
from stfer.data.faces.landmarks import find_landmarks
from stfer.data.faces.lbp import CASCADE
from stfer.data.frames import FrameReader
from stfer.data.sequence import Sequence

AGREE = 0.7


@dataclass(frozen=True)
class Timing:
    """Milliseconds a frame on one core, and agreement with a plain full search.

    Attributes:
        frames: how many were measured.
        size: the last frame's width and height.
        read, find, crop: processor milliseconds a frame.
        landmarks: processor milliseconds more a frame with a face, None if not measured.
        plain: processor milliseconds a frame of a full search at full size, None if not measured.
        found: how many faces were found in each way, `none` for no face.
        agreement: of the frames with a face in both searches, the share whose boxes overlap by AGREE.
        only_plain: frames where only the plain search found a face.
    """

    frames: int
    size: tuple[int, int]
    read: float
    find: float
    crop: float
    landmarks: float | None
    plain: float | None
    found: dict[str, int]
    agreement: float | None
    only_plain: int

    def __str__(self) -> str:
        total = self.read + self.find + self.crop
        found = ", ".join(f"{how} {count}" for how, count in sorted(self.found.items()))
        lines = [
            f"{self.frames} frames, the last of {self.size[0]}x{self.size[1]}, on one core",
            f"  milliseconds a frame: read {self.read:.2f}, find {self.find:.2f}, "
            f"crop {self.crop:.2f}, in all {total:.2f}",
            f"  found: {found}",
        ]
        if self.landmarks is not None:
            lines.append(f"  landmarks: {self.landmarks:.2f} ms more a frame with a face")
        if self.plain is not None and self.agreement is not None:
            lines.append(
                f"  a plain full search: {self.plain:.2f} ms; its face is the same (overlap at least "
                f"{AGREE}) on {self.agreement:.2%}; {self.only_plain} faces only it found"
            )
        return "\n".join(lines)


def measure(
    sequences: Iterable[Sequence],
    settings: CropSettings,
    frames: int,
    plain: bool = True,
    landmarks: bool = False,
) -> Timing:
    """Time the first `frames` frames of whole sequences, one after the other, on one core."""
    spent = {"read": 0.0, "find": 0.0, "crop": 0.0, "landmarks": 0.0, "plain": 0.0}
    found: Counter[str] = Counter()
    agree, both, only_plain, size = 0, 0, 0, (0, 0)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    cascade = cv2.CascadeClassifier(str(CASCADE))
    plain = plain and settings.detector == "lbp"
    try:
        for sequence in sequences:
            follower = FaceFollower(settings, largest=1, patience=None)
            with FrameReader(sequence) as reader:
                for index in range(len(sequence)):
                    if found.total() == frames:
                        break
                    start = time.process_time()
                    frame = reader.read(index)
                    read = time.process_time()
                    face = follower.one(frame)
                    searched = time.process_time()
                    if face is not None:
                        crop_face(frame, face.face, settings)
                    cut = time.process_time()
                    spent["crop"] += cut - searched
                    if landmarks and face is not None:
                        if not spent["landmarks"]:
                            find_landmarks(frame, face.face)  # Loads the network.
                            cut = time.process_time()
                        find_landmarks(frame, face.face)
                    marked = time.process_time()
                    spent["read"] += read - start
                    spent["find"] += searched - read
                    spent["landmarks"] += marked - cut
                    found[face.how if face else "none"] += 1
                    size = frame.shape[1::-1]
                    if not plain:
                        continue
                    grey = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
                    boxes = cascade.detectMultiScale(grey, 1.1, 3)
                    spent["plain"] += time.process_time() - marked
                    if len(boxes):
                        box = max(boxes, key=lambda box: box[2])
                        largest = Face(*map(float, box))
                        both += face is not None
                        only_plain += face is None
                        agree += face is not None and overlap(face.face, largest) >= AGREE
    finally:
        cv2.setNumThreads(threads)
    count = found.total()
    if not count:
        raise ValueError("no frame to measure")
    faces = count - found["none"]
    points = 1000 * spent.pop("landmarks") / faces if landmarks and faces else None
    each = {name: 1000 * seconds / count for name, seconds in spent.items()}
    return Timing(
        count, size, each["read"], each["find"], each["crop"], points, each["plain"] if plain else None,
        dict(found), agree / both if both else None, only_plain,
    )  # fmt: skip
