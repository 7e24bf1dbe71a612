"""3D convolution with deformable action parts, 3DCNN-DAP: Liu, Li, Shan, Wang and Chen, ACCV 2014 (the paper's [6]).

One generic convolution over space and time, then filters of 13 facial parts, k for each part and class, whose maps get
a cost of moving away from the part's place; every part votes for the classes, and the votes are joined.

    layer                                                    out, 9 frames          W + b, 6 classes, k = 1
    C1   64 filters 9x9x3, VALID, ReLU                       64 x 7 @ 56x56         15,616
    S2   mean pool 2x2                                       64 x 7 @ 28x28
    C3   13 c k part filters 9x9x3 on all maps, VALID, ReLU  78 x 5 @ 20x20         1,213,134
    S4   mean pool 2x2                                       78 x 5 @ 10x10
    D5   S4 + sum_j d_j phi_j, phi = (dx, dy, dz, dx2, dy2, dz2) from the part's anchor     468
    P6   each part's own maps -> c scores                    13 x c                 234,078
    F7   all scores -> logits                                c                      474

Published (Figs. 1 and 3): one generic convolution, mean pools, the sum in D5 (a maximum over positions would be the
deformable part model proper), the partial connection, all sizes. Our choice: 9 frames (n was not found; windows slide
over the sequence and their probabilities are summed); k = 3 (k was not found); ReLU after C1 and C3
(`activation="tanh"` is the other guess); d starts at 0, and at -0.01 for the squares; S4 is a mean; the 13 parts (the
list was not found) are inner and outer ends of the brows, corners of the eyes, nose root and wings, mouth corners, at
the places of the mean face in a crop, as fixed anchors; dz counts from the clip's middle; displacements are in units
of the map's half. Recalled: part filters start as k-means centroids of patches around each part: `part_filters` makes
them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, dense
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.pooling_windows import mean_pool
from stfer.models.related.inputs import check_inputs, grey, resized

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {"relu": nn.relu, "tanh": jnp.tanh}
# The parts: brows, eye corners, nose root and wings, mouth corners; of the 49 points (`stfer.data.faces.points`) these:
# 4, 5, 0, 9, 19, 28, 22, 25, 10, 14, 18, 31, 37. Their x and y in a crop of the default detector and margin: the mean
# over the faces of 20 synthetic people.
ANCHORS = (
    *((0.430, 0.238), (0.580, 0.239), (0.204, 0.252), (0.802, 0.254)),
    *((0.285, 0.356), (0.721, 0.357), (0.419, 0.366), (0.587, 0.366)),
    *((0.504, 0.335), (0.441, 0.576), (0.566, 0.576), (0.377, 0.690), (0.627, 0.689)),
)
LINEAR_START, SQUARE_START = 0.0, -0.01


def displacements(shape: Sequence[int], anchors: jax.Array) -> jax.Array:
    """The displacement phi of every place of a map, from every anchor: float32 [parts, time, rows, columns, 6].

    Args:
        shape: time, rows and columns of a map.
        anchors: [parts, 2], x and y in 0..1.
    """
    time, rows, columns = shape
    t = (jnp.arange(time) - (time - 1) / 2) / max(time / 2, 1)
    y = 2 * ((jnp.arange(rows)[None] + 0.5) / rows - anchors[:, 1:])  # [parts, rows]
    x = 2 * ((jnp.arange(columns)[None] + 0.5) / columns - anchors[:, :1])
    whole = (len(anchors), time, rows, columns)
    dx = jnp.broadcast_to(x[:, None, None, :], whole)
    dy = jnp.broadcast_to(y[:, None, :, None], whole)
    dz = jnp.broadcast_to(t[None, :, None, None], whole)
    return jnp.stack([dx, dy, dz, dx**2, dy**2, dz**2], axis=-1)


def deformation_start(key: jax.Array, shape: Sequence[int], dtype: DTypeLike = jnp.float32):
    """0 for the linear terms, a small cost for the squares: [..., 6]."""
    del key
    row = jnp.array([LINEAR_START] * 3 + [SQUARE_START] * 3, dtype)
    return jnp.broadcast_to(row, shape)


class DAP3D(nn.Module):
    """The network on a window of frames.

    Attributes:
        filters: k, for each part and class.
        activation: after C1 and C3, "relu" or "tanh".
        size: pixels a side of a frame; 64 is the paper's.
        generic_features: of C1.
        anchors: x and y of each part's place in the crop.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    frames: int = 9
    filters: int = 3
    activation: str = "relu"
    size: int = 64
    generic_features: int = 64
    anchors: Sequence[Sequence[float]] = ANCHORS

    @nn.compact
    def __call__(
        self, frames: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[jax.Array, Endpoints]:
        """Classify frames [batch, time, height, width, channel] in [0, 1]: float32 logits [batch, num_classes]."""
        check_inputs("dap3d", self.frames, frames)
        if self.activation not in ACTIVATIONS or self.frames < 5:
            raise ValueError(
                f"activation is {self.activation!r} and frames is {self.frames}; they must be relu or tanh, and"
                " 5 or more"
            )
        activation = ACTIVATIONS[self.activation]
        parts, features = len(self.anchors), self.filters * self.num_classes
        common: dict[str, Any] = {
            "kernel_size": (3, 9, 9),
            "dtype": self.dtype,
            "activation": activation,
        }
        x = resized(grey(frames), self.size).astype(self.dtype)
        out = {}
        x = out["C1"] = Convolution(self.generic_features, **common, name="C1")(x)
        x = out["S2"] = mean_pool(x)
        x = out["C3"] = Convolution(parts * features, **common, name="C3")(x)
        x = out["S4"] = mean_pool(x).astype(jnp.float32)
        # Channels in the order part, then class and filter: [batch, time, rows, columns, part, c k].
        x = x.reshape(*x.shape[:-1], parts, features)
        weights = self.param("D5", deformation_start, (parts, features, 6))
        phi = displacements(x.shape[1:4], jnp.asarray(self.anchors, jnp.float32))
        cost = jnp.einsum("ptrci,pfi->trcpf", phi, weights)
        x = out["D5"] = x + cost[None]
        # P6, a partial connection: each part sees its own maps alone.
        x = jnp.moveaxis(x, 4, 1).reshape(x.shape[0], parts, -1)
        kernel = self.param(
            "P6_kernel",
            nn.initializers.glorot_uniform(batch_axis=0),
            (parts, x.shape[-1], self.num_classes),
        )
        bias = self.param("P6_bias", nn.initializers.zeros_init(), (parts, self.num_classes))
        x = out["P6"] = jnp.einsum("bpi,pic->bpc", x, kernel) + bias[None]
        logits = out["logits"] = dense(self.num_classes, jnp.float32, "F7")(
            x.reshape(x.shape[0], -1)
        )
        return logits, out


def part_filters(
    maps: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    filters: int,
    anchors: Sequence,
    seed: int = 0,
) -> np.ndarray:
    """A start for C3: k-means centroids of the patches of S2's maps around each part, by class.

    Args:
        maps: S2 of training clips, [clips, time, rows, columns, features].
        labels: int [clips]; a class without clips takes those of all.
        num_classes: c.
        filters: k.
        anchors: [parts, 2] in 0..1.
        seed: of k-means.

    Returns:
        float32 [3, 9, 9, features, parts * c * k], each filter of zero mean and unit norm.
    """
    from sklearn.cluster import KMeans  # Two seconds, which a model in use does not wait for.

    _, time, rows, columns, features = maps.shape
    found = []
    for x, y in np.asarray(anchors):
        row, column = (
            int(np.clip(round(place * side - 4.5), 0, side - 9))
            for place, side in ((y, rows), (x, columns))
        )
        windows = [maps[:, t : t + 3, row : row + 9, column : column + 9] for t in range(time - 2)]
        patches = np.stack(windows, 1).reshape(len(maps), time - 2, -1)
        for label in range(num_classes):
            chosen = patches[labels == label] if (labels == label).any() else patches
            chosen = chosen.reshape(-1, patches.shape[-1])
            count = min(filters, len(chosen))
            centres = KMeans(count, n_init=1, random_state=seed).fit(chosen).cluster_centers_
            found += [centres[k % count] for k in range(filters)]
    kernels = np.stack(found)
    kernels -= kernels.mean(1, keepdims=True)
    kernels /= np.maximum(np.linalg.norm(kernels, axis=1, keepdims=True), 1e-9)
    return np.moveaxis(kernels.reshape(-1, 3, 9, 9, features), 0, -1).astype(np.float32)


# Nothing was found of its optimiser: our choice.
PRESETS = {
    "dap3d": {"optimizer": "momentum", "learning_rate": 0.001, "batch_size": 32, "epochs": 100},
}
