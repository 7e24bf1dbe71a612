"""Data: readers of image sequences, faces, preprocessing, shards and clips. It never imports JAX."""

import os

# OpenCV reads it once, when it is first imported: one damaged header must not ask for all memory.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))
