"""The paper's section III's networks in the benchmark: what each sees, for contenders whose interpreter has no stfer.

A network of several stages has entries NAME:STAGE; the CRF's stage is left out, as its step is the frozen network's
forward pass and little else. Frames have the network's own size and channels, so that making them so is nobody's time;
`inception` registers larger ones itself. Every parameter that has a gradient is trained, also where a published stage
freezes some (`dtagn`); Adam moves ours without one, too, by nothing. Standard library only, as `worker`.
"""

from typing import NamedTuple

POINTS = 49


class System(NamedTuple):
    """What one network is built with and sees.

    Attributes:
        frames: frames and pixels a side of its clips, or None.
        landmarks: frames of its landmarks, or None.
        fields: of our module, where they are not its own.
        channels: of a frame.
    """

    frames: tuple[int, int] | None
    landmarks: int | None = None
    fields: dict = {}  # noqa: RUF012 - nobody changes it
    channels: int = 1


SYSTEMS = {
    "dtan": System((3, 64)),
    "dtgn": System(None, 12),
    "dtagn": System((3, 64), 12),
    "cnn_irnn:cnn": System((10, 48), fields={"part": "cnn"}),
    "cnn_irnn:irnn": System((10, 48), fields={"part": "irnn"}),
    "cnn_irnn:fusion": System((10, 48), fields={"part": "fusion"}),
    "inception": System((1, 64), 1),
    "inception_resnet_crf:network": System((10, 299), None, {"stage": "network"}, 3),
    "dap3d": System((9, 64)),
    "strnn": System((9, 64)),
}


def shapes(name: str, batch: int) -> dict[str, tuple[int, ...]]:
    """The inputs of a network, in the order of its arguments: frames [batch, time, height, width, channel]."""
    system, found = SYSTEMS[name], {}
    if system.frames:
        time, size = system.frames
        found["frames"] = (batch, time, size, size, system.channels)
    if system.landmarks:
        found["landmarks"] = (batch, system.landmarks, POINTS, 2)
    return found
