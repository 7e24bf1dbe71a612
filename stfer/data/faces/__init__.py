"""Faces: detectors, the one that follows a face, and the square that is cut around it."""

from stfer.data.faces.box import Face, Tracked, overlap
from stfer.data.faces.crop import DEFAULT_MARGIN, DETECTORS, MISSING_FACES, CropSettings, crop_face
from stfer.data.faces.detection import find_faces, find_finely
from stfer.data.faces.follower import FaceFollower

__all__ = [
    "DEFAULT_MARGIN",
    "DETECTORS",
    "MISSING_FACES",
    "CropSettings",
    "Face",
    "FaceFollower",
    "Tracked",
    "crop_face",
    "find_faces",
    "find_finely",
    "overlap",
]
