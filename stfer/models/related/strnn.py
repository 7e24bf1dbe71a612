"""Spatial-temporal recurrent network, STRNN: Zhang, Zheng, Cui, Zong and Li, IEEE T. Cybernetics 49(3), 2019 ([9]).

Four recurrent passes scan the cells of every frame, one from each corner; each is projected by sparse weights over the
cells. Two recurrent passes, forward and backward, then run over the frames and are projected likewise.

    spatial pass r:  h_ij = relu(U_r x_ij + W_r (h of the three visited neighbours, summed) + b_r)
    projection:      s_r[:, p] = sum_ij G_r[ij, p] h_ij, p = 1 .. K;  m_t = sum_r P_r vec(s_r)
    temporal pass:   f_t = relu(R_f m_t + V_f f_{t-1} + b_f), and b_t over the reversed frames
    projection:      q[:, l] = sum_t G[t, l] f_t, l = 1 .. L;  logits = Q_f vec(q_f) + Q_b vec(q_b) + b
    loss:            cross-entropy + lambda1 sum |G_r| + lambda2 (|G_f| + |G_b|)

With N cells of d_in values and hidden sizes d, d_m, d_t there are 4 (d d_in + d^2 + d) + 4 N K + 4 d_m K d
+ 2 (d_t d_m + d_t^2 + d_t) + 2 T L + 2 C L d_t + C parameters: 108,676 for N = 49, d_in = 512, all sizes 30, K = 10,
L = 5, T = 9, C = 6; 55,516 for the 64 cells of 64 pixels that are the default here.

Published (Fig. 1): four spatial passes from the corners, a projection each, their sum, two temporal passes with a
projection each, their sum. Recalled: the equations, the L1 norms. Another's code (LibEER, for EEG): hidden sizes 30,
K 10, L 5, T 9. Our choice: how a face becomes cells was not found, so this is the STRNN operator on pixel cells: the
64x64 grey face is cut into 8x8 cells of 8x8 pixels; nine frames equally spaced over the last fifteen; lambdas of 1e-3;
W starts as a third of an orthogonal matrix, so that three neighbours count as their mean.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from stfer.models.blocks import Endpoints, named
from stfer.models.related.inputs import check_inputs, grey, resized

UNROLLED = 8  # cells of a row in one turn of a loop, which takes a sixth less time than one
# Whether rows and columns are scanned backwards, for the passes from the four corners.
CORNERS = ((False, False), (False, True), (True, False), (True, True))


def cells(frames: jax.Array, cell: int) -> jax.Array:
    """Grey frames [batch, time, height, width, 1] as a grid of cells [batch, time, rows, columns, cell * cell]."""
    batch, time, height, width, _ = frames.shape
    x = frames.reshape(batch, time, height // cell, cell, width // cell, cell)
    return x.transpose(0, 1, 2, 4, 3, 5).reshape(batch, time, height // cell, width // cell, -1)


def scan_grid(inputs: jax.Array, recurrent: jax.Array) -> jax.Array:
    """The spatial recurrence from the upper left corner.

        h_ij = relu(inputs_ij + (h_{i,j-1} + h_{i-1,j} + h_{i-1,j-1}) W)

    Args:
        inputs: [rows, columns, batch, hidden], with the bias.
        recurrent: W [hidden, hidden].

    Returns:
        h of every cell, as `inputs`.
    """
    columns = inputs.shape[1]
    nothing = jnp.zeros(inputs.shape[2:], inputs.dtype)

    def cell(
        carry: tuple[jax.Array, jax.Array], x: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        beside, diagonal = carry
        here, above = x
        h = nn.relu(here + (beside + above + diagonal) @ recurrent)
        return (h, above), h

    def row(above: jax.Array, here: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, h = jax.lax.scan(cell, (nothing, nothing), (here, above), unroll=UNROLLED)
        return h, h

    start = jnp.zeros((columns, *nothing.shape), inputs.dtype)
    return jax.lax.scan(row, start, inputs)[1]


def from_corner(x: jax.Array, corner: tuple[bool, bool]) -> jax.Array:
    """A grid [rows, columns, ...] turned so that a corner is the upper left one; twice is the grid itself."""
    down, across = corner
    return x[:: -1 if down else 1, :: -1 if across else 1]


class SpatialPass(nn.Module):
    """One pass over the cells and its projection onto K mixtures of cells."""

    corner: tuple[bool, bool]
    hidden: int
    projections: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Map cells [rows, columns, batch, in] to mixtures [batch, K * hidden] and every h."""
        rows, columns = x.shape[:2]
        inputs = nn.Dense(self.hidden, dtype=self.dtype, name="input")(x)
        recurrent = self.param(
            "recurrent_kernel", nn.initializers.orthogonal(1 / 3), (self.hidden, self.hidden)
        ).astype(self.dtype)
        h = scan_grid(from_corner(inputs, self.corner), recurrent)
        h = from_corner(h, self.corner)
        mix = self.param(
            "projection", nn.initializers.normal(1 / (rows * columns) ** 0.5), (rows, columns, self.projections)
        )  # fmt: skip
        s = jnp.einsum("rcp,rcbh->bph", mix, h.astype(jnp.float32))
        return s.reshape(s.shape[0], -1), h


class TemporalPass(nn.Module):
    """One pass over the frames, forward or backward, and its projection onto L mixtures of frames."""

    backward: bool
    hidden: int
    projections: int

    @nn.compact
    def __call__(self, m: jax.Array) -> jax.Array:
        """Map [batch, time, in] to mixtures [batch, L * hidden]."""
        time = m.shape[1]
        inputs = jnp.moveaxis(nn.Dense(self.hidden, name="input")(m), 1, 0)
        recurrent = self.param(
            "recurrent_kernel", nn.initializers.orthogonal(), (self.hidden, self.hidden)
        )

        def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            h = nn.relu(x + h @ recurrent)
            return h, h

        start = jnp.zeros(inputs.shape[1:], inputs.dtype)
        states = jax.lax.scan(step, start, inputs, reverse=self.backward)[1]
        mix = self.param(
            "projection", nn.initializers.normal(1 / time**0.5), (time, self.projections)
        )
        q = jnp.einsum("tl,tbh->blh", mix, states)
        return q.reshape(q.shape[0], -1)


class STRNN(nn.Module):
    """The network; its outputs are the pair (logits [batch, num_classes], penalty [batch]).

    Attributes:
        size, cell: pixels a side of a frame and of a cell.
        hidden, projections: of each spatial pass (d, K); `merged` is their sum's size (d_m).
        temporal_hidden, temporal_projections: of each temporal pass (d_t, L).
        sparsity: lambda1 and lambda2.
    """

    num_classes: int = 6
    dtype: DTypeLike = jnp.float32
    frames: int = 9
    size: int = 64
    cell: int = 8
    hidden: int = 30
    projections: int = 10
    merged: int = 30
    temporal_hidden: int = 30
    temporal_projections: int = 5
    sparsity: tuple[float, float] = (1e-3, 1e-3)

    def __call__(
        self, frames: jax.Array, *, train: bool = False, mask: jax.Array | None = None
    ) -> tuple[tuple[jax.Array, jax.Array], Endpoints]:
        """Classify frames [batch, time, height, width, channel] in [0, 1]."""
        check_inputs("strnn", self.frames, frames)
        return self.classify(cells(resized(grey(frames), self.size), self.cell))

    @nn.compact
    def classify(self, x: jax.Array) -> tuple[tuple[jax.Array, jax.Array], Endpoints]:
        """Classify cells [batch, time, rows, columns, in]; as `__call__`, for cells of any kind."""
        batch, time, rows, columns = x.shape[:4]
        x = jnp.moveaxis(x.reshape(batch * time, rows, columns, -1), 0, 2).astype(self.dtype)
        out: Endpoints = {}
        merged: jax.Array | float = 0.0
        spatial: jax.Array | float = 0.0
        temporal: jax.Array | float = 0.0
        for number, corner in enumerate(CORNERS, start=1):
            name = f"corner{number}"
            mixtures, h = SpatialPass(corner, self.hidden, self.projections, self.dtype, name=name)(
                x
            )
            out |= named(**{name: {"h": h}})
            merged = merged + nn.Dense(self.merged, use_bias=False, name=f"merge{number}")(mixtures)
            spatial += jnp.abs(self._projection(name)).sum()
        m = out["merged"] = jnp.reshape(merged, (batch, time, -1))
        logits = self.param("bias", nn.initializers.zeros_init(), (self.num_classes,))[None]
        for name, backward in (("forward", False), ("backward", True)):
            q = TemporalPass(backward, self.temporal_hidden, self.temporal_projections, name=name)(
                m
            )
            logits = logits + nn.Dense(self.num_classes, use_bias=False, name=f"{name}_logits")(q)
            temporal += jnp.abs(self._projection(name)).sum()
        penalty = self.sparsity[0] * spatial + self.sparsity[1] * temporal
        return (logits, jnp.broadcast_to(penalty, (batch,))), out | {"logits": logits}

    @nn.nowrap
    def _projection(self, name: str) -> jax.Array:
        return self.variables["params"][name]["projection"]


# Nothing was found of its optimiser: our choice.
PRESETS = {
    "strnn": {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 32, "epochs": 200},
}
