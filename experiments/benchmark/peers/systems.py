"""The paper's section III's networks in the benchmark: what each sees, for contenders whose interpreter has no stfer.

A network of several stages is one entry a stage, NAME:STAGE. Frames are grey and of the network's own size, so that
making them so is nobody's time. Standard library only, as `worker`.
"""

from typing import NamedTuple

POINTS = 49


class System(NamedTuple):
    """What one network is built with and sees.

    Attributes:
        frames: frames and pixels a side of its clips, or None.
        landmarks: frames of its landmarks, or None.
        fields: of our module, where they are not its own.
    """

    frames: tuple[int, int] | None
    landmarks: int | None = None
    fields: dict = {}  # noqa: RUF012 - nobody changes it


SYSTEMS = {
    "dtan": System((3, 64)),
    "dtgn": System(None, 12),
    "dtagn": System((3, 64), 12),
    "cnn_irnn:cnn": System((10, 48), fields={"part": "cnn"}),
    "cnn_irnn:irnn": System((10, 48), fields={"part": "irnn"}),
    "cnn_irnn:fusion": System((10, 48), fields={"part": "fusion"}),
    "inception": System((1, 64), 1),
    "inception_resnet_crf:network": System((10, 299), fields={"stage": "network"}),
    "dap3d": System((9, 64)),
    "strnn": System((9, 64)),
}


def shapes(name: str, batch: int) -> dict[str, tuple[int, ...]]:
    """The inputs of a network, in the order of its arguments: frames [batch, time, height, width, channel]."""
    system, found = SYSTEMS[name], {}
    if system.frames:
        time, size = system.frames
        channels = 3 if name.startswith("inception_resnet") else 1
        found["frames"] = (batch, time, size, size, channels)
    if system.landmarks:
        found["landmarks"] = (batch, system.landmarks, POINTS, 2)
    return found
