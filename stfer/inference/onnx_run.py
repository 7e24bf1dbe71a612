"""Runs an exported network with onnxruntime, numpy and opencv alone, beside its `model.onnx`.

    python run.py clip.mp4 clip.csv     a row a frame of the largest face; without a second name, on the terminal
    python run.py clips.npy             clips that are cut already: a line of probabilities each

Where a network takes more than frames, it takes a .npy file for each input, in the order of its inputs. The video is
taken as it is stored: turned as its file says, clips and faces as "clips" and "crop" in the network's metadata say.
"""

import contextlib
import csv
import json
import pathlib
import sys

import cv2
import numpy as np
import onnxruntime

HERE = pathlib.Path(__file__).parent
CASCADE = "lbpcascade_frontalface_improved.xml"
WINDOW = 45  # pixels a side of the cascade's own window
PATIENCE = 12  # frames without a face that it may come back after


def largest(boxes, near=None):
    """The box [x, y, width, height] that overlaps `near` most, else the largest; None without one."""
    return max(boxes, key=lambda b: overlap(b, near) if near else b[2] * b[3], default=None)


def overlap(a, b):
    """Intersection over union of two boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


class Faces:
    """Finds the largest face of each frame, first near the last one; the searches of `stfer.data.faces.lbp`."""

    def __init__(self):
        self.cascade = cv2.CascadeClassifier(str(HERE / CASCADE))
        self.last, self.missed = None, 0

    def __call__(self, grey):
        """The face of a grey frame, or None; `missed` counts the frames since the last one."""
        face = self.near(grey, self.last) if self.last else None
        if face is None:
            face = largest(self.whole(grey))
            face = face and (self.near(grey, face) or face)
        if face is None and self.last:
            face = self.near(grey, self.last, fine=True)
            face = face if face and overlap(face, self.last) >= 0.3 else None
        self.missed = 0 if face else self.missed + 1
        self.last = face or (self.last if self.missed <= PATIENCE else None)
        return face

    def whole(self, grey):
        """The faces of a whole frame."""
        shorter = min(grey.shape)
        searches = [
            (0.25, 1.15, 3),
            (0.18, 1.1, 4),
            (0.0, 1.1, 4) if shorter <= 1080 else (1 / 9, 1.2, 3),
        ]
        for fraction, step, neighbours in searches:
            scale = WINDOW / max(WINDOW, fraction * shorter)
            boxes = self.detect(grey, (0, 0), scale, (WINDOW, shorter), step, neighbours)
            if boxes:
                return boxes
        return []

    def near(self, grey, box, fine=False):
        """The face of a frame near a box, or None; the fine search is slower and misses less."""
        reach, side = (0.4 if fine else 0.2), max(box[2:])
        left, top = (max(int(box[i] - reach * box[i + 2]), 0) for i in (0, 1))
        right, bottom = (int(box[i] + (1 + reach) * box[i + 2]) for i in (0, 1))
        region = grey[top : max(bottom, top + 1), left : max(right, left + 1)]
        scale = min(1.5, 192 / side) if fine else min(1.0, 96 / side)
        limits = (0.7 * side, 1.4 * side) if fine else (0.8 * side, 1.25 * side)
        step, neighbours = (1.03, 1) if fine else (1.05, 3)
        return largest(self.detect(region, (left, top), scale, limits, step, neighbours), box)

    def detect(self, grey, origin, scale, limits, step, neighbours):
        """The boxes of a part of a frame, which begins at `origin`, in the frame's pixels."""
        if min(grey.shape, default=0) < WINDOW:
            return []
        if scale != 1:
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method)
        low, high = (max(WINDOW, round(side * scale)) for side in limits)
        boxes = self.cascade.detectMultiScale(
            grey,
            scaleFactor=step,
            minNeighbors=neighbours,
            minSize=(low, low),
            maxSize=(high, high),
        )
        return [
            (origin[0] + x / scale, origin[1] + y / scale, w / scale, h / scale)
            for x, y, w, h in boxes
        ]


def cut(frame, box, crop):
    """The square around a face with its margin, resized: uint8 [size, size, 3] RGB."""
    side = max(1, round(max(box[2:]) * (1 + 2 * crop["margin"])))
    left, top = round(box[0] + box[2] / 2 - side / 2), round(box[1] + box[3] / 2 - side / 2)
    rows = np.clip(np.arange(top, top + side), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, frame.shape[1] - 1)
    square = frame[rows[:, None], columns]
    if side != crop["size"]:
        method = cv2.INTER_AREA if side > crop["size"] else cv2.INTER_LINEAR
        square = cv2.resize(square, (crop["size"], crop["size"]), interpolation=method)
    return cv2.cvtColor(square, cv2.COLOR_BGR2RGB)


class Network:
    """The network and what its metadata says."""

    def __init__(self):
        self.session = onnxruntime.InferenceSession(str(HERE / "model.onnx"))
        self.about = {
            key: json.loads(value)
            for key, value in self.session.get_modelmeta().custom_metadata_map.items()
        }
        self.inputs = [entry.name for entry in self.session.get_inputs()]

    def __call__(self, *arrays):
        """Probabilities float32 [clips, classes] of arrays [clips, time, ...], one an input."""
        return self.session.run(None, dict(zip(self.inputs, arrays, strict=True)))[0]


class ByOffsets:
    """Clips at fixed distances before now, in frames, or in seconds where the training's rate is known."""

    def __init__(self, about):
        ends = [offset + 1 for offset in about["clips"]["offsets"]]
        self.rate, self.first = about["frame_rate"], about["reference"] == "first"
        self.offsets = [end / self.rate for end in ends] if self.rate and not self.first else ends
        self.seen = []

    def __call__(self, network, number, seconds, face):
        """Probabilities of the clip that ends now, or None where one of its faces is lacking."""
        clip = self.clip(number, seconds, face)
        return None if clip is None else network(np.stack(clip)[None])[0]

    def clip(self, number, seconds, face):
        """The faces of the clip that ends now, or None where one is lacking."""
        timed = self.rate and not self.first
        if face is None and not self.seen:
            return None
        step = seconds - self.seen[-1][0] if timed and self.seen else 0.0
        self.seen.append((seconds if timed else number, face))
        now, began = self.seen[-1][0], self.seen[0][0]
        if self.first:
            clip = [self.seen[0][1], face] if len(self.seen) > 1 else [None]
            self.seen = [self.seen[0], self.seen[-1]]
            return None if any(each is None for each in clip) else clip
        half = 0.5 / self.rate if timed else 0.0
        if now - began < -self.offsets[0] - min(half, step / 2) - 1e-6:
            return None
        clip = [self.at(now + offset, half)[1] for offset in self.offsets]
        while len(self.seen) > 1 and self.seen[1][0] <= now + self.offsets[0] - half - 1e-6:
            del self.seen[0]
        return None if any(each is None for each in clip) else clip

    def at(self, when, tolerance):
        """What was seen nearest to a time, or where nothing is near, what was shown then."""
        nearest = min(self.seen, key=lambda each: round(abs(each[0] - when), 6))
        if abs(nearest[0] - when) <= tolerance:
            return nearest
        return next((each for each in reversed(self.seen) if each[0] <= when), self.seen[0])


class ByCalm:
    """A frame that the face shows as calm and the one of now, as `stfer.inference.reference` chooses it."""

    def __init__(self, about):
        self.neutral = about["classes"].index("neutral")
        self.candidates = []  # (frame number, face), the calm frames of the last seconds
        self.reference = None

    def __call__(self, network, number, seconds, face):
        """Probabilities of the frame of now seen from the reference, or None without a face."""
        if face is None:
            return None
        if self.reference is None:
            self.start(number, face)
            return None  # Nothing to compare it with yet.
        there, back = network(np.stack([[self.reference, face], [face, self.reference]]))
        neutral, reference_neutral = there[self.neutral], back[self.neutral]
        if neutral - reference_neutral > 0.5:
            self.start(number, face)
        elif min(neutral, reference_neutral) > 0.8 and number - self.candidates[-1][0] >= 15:
            self.candidates = [*self.candidates, (number, face)][-5:]
            rows = np.stack([kept.ravel().astype(np.float32) for _, kept in self.candidates])
            apart = [np.abs(rows - row).mean(1).sum() for row in rows]
            self.reference = self.candidates[int(np.argmin(apart))][1]
        return there

    def start(self, number, face):
        """Begin anew with a reference."""
        self.candidates, self.reference = [(number, face)], face


def rows_of(network, path):
    """A row a frame: number, seconds, box, label and probabilities; empty where there is no face or no clip."""
    about = network.about
    crop = about["crop"]
    if network.inputs != ["frames"] or crop["detector"] not in ("lbp", "none"):
        sys.exit(
            f"error: this network takes {', '.join(network.inputs)} of faces found by {crop['detector']}: give it .npy"
            " files, not a video"
        )
    capture = cv2.VideoCapture(path)
    if not capture.isOpened():
        sys.exit(f"error: {path} cannot be read as a video")
    kind = ByCalm if about["reference"] == "auto" else ByOffsets
    faces, clips = Faces() if crop["detector"] == "lbp" else None, kind(about)
    number = 0
    while (read := capture.read())[0]:
        frame = read[1]
        seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        box = (0, 0, frame.shape[1], frame.shape[0])
        if faces:
            box = faces(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
            if faces.missed == PATIENCE + 1:
                clips = kind(about)  # Who comes now may be somebody else.
        values = clips(network, number, seconds, cut(frame, box, crop) if box else None)
        label = "" if values is None else about["classes"][int(np.argmax(values))]
        place = [f"{value:.1f}" for value in box] if box else [""] * 4
        said = (
            [""] * len(about["classes"]) if values is None else [f"{value:.6f}" for value in values]
        )
        yield [number, f"{seconds:.3f}", *place, label, *said]
        number += 1


def main(arguments):
    """Run with the command line's arguments."""
    network = Network()
    classes = network.about["classes"]
    if not arguments:
        sys.exit(__doc__)
    if arguments[0].endswith(".npy"):
        for row in network(*map(np.load, arguments)):
            print(" ".join(f"{name}={value:.6f}" for name, value in zip(classes, row, strict=True)))
        return
    columns = ["frame", "seconds", "x", "y", "width", "height", "label", *classes]
    rows = rows_of(network, arguments[0])
    with (
        open(arguments[1], "w", newline="", encoding="utf-8")
        if len(arguments) > 1
        else contextlib.nullcontext(sys.stdout)
    ) as out:
        csv.writer(out, lineterminator="\n").writerows([columns, *rows])


if __name__ == "__main__":
    main(sys.argv[1:])
