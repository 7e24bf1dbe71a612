"""Data: readers of image sequences, faces, preprocessing, shards and clips. It never imports JAX.

`readers` list sequences, `faces` finds and cuts faces, `preprocess` and `listing` make `shards` of them, `clips` and
`folds` say which frames and which subjects, `synthetic` is the embedded set, `sources` names sets as commands do.
"""

import os

# OpenCV reads it once, when it is first imported: one damaged header must not ask for all memory.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))

__all__ = [
    "clips",
    "examples",
    "faces",
    "folds",
    "frames",
    "labels",
    "listing",
    "neutral",
    "pictures",
    "preprocess",
    "readers",
    "sequence",
    "shards",
    "sources",
    "synthetic",
    "video",
]
