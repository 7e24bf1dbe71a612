"""Settings of a detector that has been seen to work on this machine."""

import os

from stfer.data.faces import DETECTORS, CropSettings
from stfer.data.faces.yunet import MODEL_VARIABLE


def working_settings(
    detector: str,
    margin: float | None,
    size: int,
    missing_faces: str,
    yunet_model: str | None = None,
    try_it: bool = True,
) -> CropSettings:
    """Settings of a detector that works here.

    Args:
        detector: as in `CropSettings`.
        margin: as in `CropSettings`.
        size: as in `CropSettings`.
        missing_faces: as in `CropSettings`.
        yunet_model: YuNet's model file, for this process and its workers; None where it is installed.
        try_it: check that the detector works.

    Raises:
        ValueError: as `CropSettings`.
        ImportError, FileNotFoundError: the detector lacks what it needs; says what to do.
    """
    if yunet_model:
        os.environ[MODEL_VARIABLE] = os.path.abspath(yunet_model)
    settings = CropSettings(detector, margin, size, missing_faces)
    if try_it:
        DETECTORS[detector].check()
    return settings
