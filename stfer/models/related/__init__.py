"""The systems of the paper's section III, one file each, for comparison on the same shards and folds.

Each file's docstring has the layer table and says of every number where it comes from: (published), from the original
paper; (authors' code); (recalled), told of the paper by others or from memory, not checked; (our choice), where
nothing was found. [n] is the paper's numbering.
"""

from stfer.data.clips import last_frames, sliding, spread
from stfer.models.registry import register
from stfer.models.related import cnn_irnn, dap3d, dtagn, inception, inception_resnet_crf, strnn

LANDMARKS = "landmarks"
RELATED = (
    "dtan",
    "dtgn",
    "dtagn",
    "cnn_irnn",
    "inception",
    "inception_resnet_crf",
    "dap3d",
    "strnn",
)

__all__ = [
    "LANDMARKS",
    "RELATED",
    "cnn_irnn",
    "dap3d",
    "dtagn",
    "emonets",
    "inception",
    "inception_resnet_crf",
    "register_related",
    "strnn",
]


def register_related() -> None:
    """Register the systems with what they see of a sequence: a choice where [n] says nothing, see each file."""
    register("dtan", clips=spread)(dtagn.DTAN)
    register("dtgn", clips=spread, inputs=(LANDMARKS,))(dtagn.DTGN)
    register(
        "dtagn",
        clips={"frames": spread, LANDMARKS: spread(12)},
        task="joint",
        inputs=("frames", LANDMARKS),
    )(dtagn.DTAGN)
    register("cnn_irnn", clips=spread, task="penalised")(cnn_irnn.CnnIrnn)
    register("inception", clips=last_frames, inputs=("frames", LANDMARKS))(inception.Inception)
    register("inception_resnet_crf", clips=spread, task="crf")(
        inception_resnet_crf.InceptionResNetCRF
    )
    register("dap3d", clips=sliding)(dap3d.DAP3D)
    register("strnn", clips=spread, task="penalised")(strnn.STRNN)
