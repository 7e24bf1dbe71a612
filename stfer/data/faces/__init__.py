"""Faces: detectors, the one that follows a face, and the square that is cut around it."""

from stfer.data.faces.box import Face, Tracked, overlap
from stfer.data.faces.crop import MISSING_FACES, CropSettings, crop_face
from stfer.data.faces.detection import FaceTracker, find_faces, find_finely, track_face
from stfer.data.faces.detectors import DETECTORS, Detector, register_detector

# Importing a detector registers it.
from stfer.data.faces import lbp, yunet  # isort: skip

__all__ = [
    "DETECTORS",
    "MISSING_FACES",
    "CropSettings",
    "Detector",
    "Face",
    "FaceTracker",
    "Tracked",
    "crop_face",
    "find_faces",
    "find_finely",
    "lbp",
    "overlap",
    "register_detector",
    "track_face",
    "yunet",
]
