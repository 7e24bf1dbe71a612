"""The registry of face detectors: from a name in settings to a search in one frame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stfer.data.faces.box import Face
from stfer.registries import Registry


class Search(Protocol):
    """Finds faces in one frame."""

    def __call__(self, frame: np.ndarray, near: Face | None, fine: bool = False) -> list[Face]:
        """Search.

        Args:
            frame: uint8 [height, width, 3] RGB, or [height, width] grey.
            near: Search only in the neighbourhood of this box, for faces of about its size; None searches the whole.
            fine: A last, slower search with finer steps and a lower threshold; only with `near`.

        Returns:
            Boxes in the frame's pixels, in any order.
        """
        ...


@dataclass(frozen=True)
class Detector:
    """A face detector.

    Attributes:
        name: What settings call it.
        search: Finds faces.
        margin: The default of `CropSettings.margin`: what its boxes need on every side, as a fraction of their longer
            side.
        check: Raises, with what to do, where the detector cannot work on this machine.
    """

    name: str
    search: Search
    margin: float = 0.0
    check: Callable[[], object] = lambda: None


DETECTORS: Registry[Detector] = Registry("detector")


def register_detector(
    name: str, *, margin: float = 0.0, check: Callable[[], object] = lambda: None
) -> Callable[[Search], Search]:
    """Register a search function as a detector; use it as a decorator.

    Worker processes find the function by its module, so it must be one of a module's own.

    Args:
        name: What settings call it.
        margin: As in `Detector`.
        check: As in `Detector`.

    Raises:
        ValueError: Another function has the name.

    Example:
        >>> @register_detector("middle", margin=0.1)
        ... def search(frame, near, fine=False):
        ...     height, width = frame.shape[:2]
        ...     return [Face(width / 4, height / 4, width / 2, height / 2)]
        >>> DETECTORS["middle"].margin
        0.1
    """

    def add(search: Search) -> Search:
        DETECTORS.add(name, search, Detector(name, search, margin, check))
        return search

    return add


@register_detector("none")
def whole_frame(frame: np.ndarray, near: Face | None = None, fine: bool = False) -> list[Face]:
    """No search: the frames are faces already, and each is one whole box."""
    del near, fine
    return [Face(0, 0, frame.shape[1], frame.shape[0])]
