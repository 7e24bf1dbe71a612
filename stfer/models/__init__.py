"""The six architectures of the paper's section IV, with the widths of its Table I, and the systems of its section III.

All are called `model.apply(variables, clips, train=False, mask=None) -> (logits, endpoints)` with
`clips: float [batch, time, height, width, channel]` in [0, 1]; see `stfer.models.blocks.Architecture`.
"""

from stfer.data.clips import last_frames, reference_and_last, sliding, spread
from stfer.models.conv3d import Conv3D
from stfer.models.early_fusion import EarlyFusion
from stfer.models.fields import describe_fields, parse_fields
from stfer.models.late_fusion import LateFusion
from stfer.models.pair_difference import PairDifference
from stfer.models.registry import (
    ARCHITECTURES,
    Registration,
    create_model,
    register,
    registration,
)
from stfer.models.related import register_related
from stfer.models.rnn import RNN
from stfer.models.single_frame import SingleFrame
from stfer.models.slow_fusion import SlowFusion

register("single_frame", clips=sliding)(SingleFrame)
register("early_fusion", clips=last_frames)(EarlyFusion)
register("late_fusion", clips=spread)(LateFusion)
register("slow_fusion", clips=last_frames)(SlowFusion)
register("conv3d", clips=sliding)(Conv3D)
register("rnn", clips=last_frames)(RNN)
register("pair_difference", clips=reference_and_last)(PairDifference)
register_related()

__all__ = [
    "ARCHITECTURES",
    "RNN",
    "Conv3D",
    "EarlyFusion",
    "LateFusion",
    "PairDifference",
    "Registration",
    "SingleFrame",
    "SlowFusion",
    "create_model",
    "describe_fields",
    "parse_fields",
    "register",
    "registration",
]
