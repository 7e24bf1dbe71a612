"""Faces: detectors, the one that follows a face, and the square that is cut around it."""

from stfer.data.faces.box import Face, Tracked, overlap
from stfer.data.faces.crop import MISSING_FACES, CropSettings, crop_face
from stfer.data.faces.detection import find_faces, find_finely
from stfer.data.faces.detectors import DETECTORS, Detector, register_detector
from stfer.data.faces.follower import FaceFollower

# Importing a detector registers it.
from stfer.data.faces import lbp, yunet  # isort: skip

__all__ = [
    "DETECTORS",
    "MISSING_FACES",
    "CropSettings",
    "Detector",
    "Face",
    "FaceFollower",
    "Tracked",
    "crop_face",
    "find_faces",
    "find_finely",
    "lbp",
    "overlap",
    "register_detector",
    "yunet",
]
