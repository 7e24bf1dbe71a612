"""Random changes of training examples on the device; `registry` says what an augmentation is."""

from stfer.training.augment.faces import Faces
from stfer.training.augment.mirror import mirror
from stfer.training.augment.registry import (
    AUGMENTATIONS,
    Augmentation,
    Example,
    make_augmentation,
    register_augmentation,
)

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "Example",
    "Faces",
    "make_augmentation",
    "mirror",
    "register_augmentation",
]
