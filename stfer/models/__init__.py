"""The six architectures of the paper's section IV, with the widths of its Table I.

All are called `model.apply(variables, clips, train=False, mask=None) -> (logits, endpoints)` with
`clips: float [batch, time, height, width, channel]` in [0, 1]; see `stfer.models.blocks.Architecture`.
"""

from stfer.models.conv3d import Conv3D
from stfer.models.early_fusion import EarlyFusion
from stfer.models.late_fusion import LateFusion
from stfer.models.registry import ARCHITECTURES, create_model, register
from stfer.models.rnn import RNN
from stfer.models.single_frame import SingleFrame
from stfer.models.slow_fusion import SlowFusion

register("single_frame")(SingleFrame)
register("early_fusion")(EarlyFusion)
register("late_fusion")(LateFusion)
register("slow_fusion")(SlowFusion)
register("conv3d")(Conv3D)
register("rnn")(RNN)

__all__ = [
    "ARCHITECTURES",
    "RNN",
    "Conv3D",
    "EarlyFusion",
    "LateFusion",
    "SingleFrame",
    "SlowFusion",
    "create_model",
    "register",
]
