"""Readers of data sets as their owners lay them out: sequences of frames with labels and subjects."""

from stfer.data.readers.registry import READERS, Reader, register_reader

# Importing a reader registers it.
from stfer.data.readers import ck_plus, manifest, oulu_casia  # isort: skip

__all__ = ["READERS", "Reader", "ck_plus", "manifest", "oulu_casia", "register_reader"]
