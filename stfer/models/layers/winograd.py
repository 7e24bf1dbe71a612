"""Convolution by Winograd's minimal filtering, and its gradients, for float32 on a CPU (Lavin and Gray, 2016).

F(m x m, r x r) gives an m x m tile of outputs from n x n inputs, n = m + r - 1, with n² products a channel pair where
the plain sum takes m² r²: 36 instead of 100 for the 5x5 kernel, 16 instead of 36 for 3x3, at m = 2. With K the kernel,
X an input tile and * elementwise,

    Y = A' [(G K G') * (B' X B)] A

The products over channels become n² matrix products. The gradients are the transposes of the same three linear maps,
so the backward pass saves as much, and shares the transformed inputs and output gradients between both gradients.

The transformed maps are n² / m² times as large as the maps, so a batch goes through in parts, in a loop: a part's
transforms stay in the processor's caches, and their memory does not grow with the batch.

Rounding: the points 0, ±1 make the 3x3 transforms (m = 2) as exact as the plain sum; the largest error of the 5x5
ones is about three times the plain sum's, near 2e-6 of the largest output.
"""

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

TILE = 2  # m: larger tiles save more products, but their transforms cost more than that here
LEAST_TILES = (
    320  # with fewer, transforming the kernel and compiling the transforms cost more than they save
)
LEAST_WORK = (
    8_000_000  # products of each of the n² matrix products: a few of the paper's clips have more
)
PART_BYTES = 32_000_000  # of a part's transformed inputs and outputs; an image at least is a part
MORE_PARTS = 1.5  # times as many parts are taken where no part is short then
# Small points keep the rounding errors small (Barabasz et al., 2020).
_POINTS = (0, 1, -1, Fraction(1, 2), -2)


class Transforms(NamedTuple):
    """The matrices A' [m, n], G [n, r] and B' [n, n]."""

    output: np.ndarray
    kernel: np.ndarray
    input: np.ndarray


@functools.cache
def transforms(tile: int, size: int) -> Transforms:
    """Build F(tile, size) by the Toom-Cook method: products of polynomials through their values at points.

    A polynomial of degree n - 1 is known by its values at n - 1 points and its leading coefficient ("infinity"). The
    product of polynomials of m and r coefficients is the transpose of a filter of r taps with m outputs.

    Raises:
        ValueError: more points are needed than are known.
    """
    n = tile + size - 1
    if n - 1 > len(_POINTS):
        raise ValueError(f"F({tile}, {size}) needs {n - 1} points, {len(_POINTS)} are known")
    points = [Fraction(point) for point in _POINTS[: n - 1]]

    def values(length: int) -> list[list[Fraction]]:
        finite = [[point**power for power in range(length)] for point in points]
        return [*finite, [Fraction(int(power == length - 1)) for power in range(length)]]

    to_input = _inverse(values(n))
    input_rows = [list(row) for row in zip(*to_input, strict=True)]
    kernel_rows = values(size)
    for i, row in enumerate(input_rows):
        # Whole numbers in B', which meets the largest arrays; the factor goes to G.
        factor = Fraction(lcm(*(entry.denominator for entry in row)))
        factor /= gcd(*(int(entry * factor) for entry in row))
        input_rows[i] = [entry * factor for entry in row]
        kernel_rows[i] = [entry / factor for entry in kernel_rows[i]]
    output_rows = [list(row) for row in zip(*values(tile), strict=True)]
    as_array = functools.partial(np.asarray, dtype=np.float32)
    return Transforms(as_array(output_rows), as_array(kernel_rows), as_array(input_rows))


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Gauss-Jordan elimination in exact fractions."""
    n = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [entry / rows[i][i] for entry in rows[i]]
        for k in range(n):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [row[n:] for row in rows]


def _combine(weights: np.ndarray, arrays: Sequence[jax.Array]) -> jax.Array:
    """Sum of weights[i] * arrays[i], without the terms of weight 0."""
    total: jax.Array | None = None
    for weight, array in zip(weights, arrays, strict=True):
        if weight != 0:
            term = array if weight == 1 else array * weight
            total = term if total is None else total + term
    assert total is not None  # No row of a transform is all 0.
    return total


def _padded(x: jax.Array, height: int, width: int) -> jax.Array:
    """Zeros below and to the right, up to height and width."""
    padding = ((0, 0), (0, height - x.shape[1]), (0, width - x.shape[2]), (0, 0))
    # Without the barrier XLA computes x, and checks its bounds, once for each of the n² arrays made from it.
    return lax.optimization_barrier(jnp.pad(x, padding))


class _Tiling:
    """Sizes and the six linear maps (three and their transposes) of one convolution.

    Matrices of tiles are lists of n² arrays [batch * tiles down * tiles across, channels].
    """

    def __init__(self, x_shape: Sequence[int], kernel_size: int):
        self.batch, self.height, self.width = x_shape[:3]
        self.n = TILE + kernel_size - 1
        self.size = kernel_size
        self.out_height, self.out_width = (side - kernel_size + 1 for side in x_shape[1:3])
        self.down, self.across = -(-self.out_height // TILE), -(-self.out_width // TILE)
        self.matrices = transforms(TILE, kernel_size)

    def transform_kernel(self, kernel: jax.Array) -> list[jax.Array]:
        """G K G': [rows, columns, in, out] to n² arrays [in, out]."""
        g = self.matrices.kernel
        rows = [_combine(g[i], list(kernel)) for i in range(self.n)]
        return [_combine(g[j], list(row)) for row in rows for j in range(self.n)]

    def transpose_kernel(self, products: Sequence[jax.Array]) -> jax.Array:
        """The transpose of `transform_kernel`."""
        g, n = self.matrices.kernel.T, self.n
        rows = [
            jnp.stack([_combine(g[b], products[i * n : i * n + n]) for b in range(self.size)])
            for i in range(n)
        ]
        return jnp.stack([_combine(g[a], rows) for a in range(self.size)])

    def transform_input(self, x: jax.Array) -> list[jax.Array]:
        """B' X B for all overlapping tiles."""
        b, n = self.matrices.input, self.n
        x = _padded(x, (self.down - 1) * TILE + n, (self.across - 1) * TILE + n)

        def starts(x: jax.Array, tiles: int, axis: int) -> list[jax.Array]:
            stop = (tiles - 1) * TILE + 1
            return [lax.slice_in_dim(x, i, i + stop, TILE, axis) for i in range(n)]

        rows = starts(x, self.down, axis=1)
        rows = [_combine(b[i], rows) for i in range(n)]
        return [
            _combine(b[j], columns).reshape(-1, x.shape[-1])
            for columns in (starts(row, self.across, axis=2) for row in rows)
            for j in range(n)
        ]

    def transpose_input(self, tiles: Sequence[jax.Array]) -> jax.Array:
        """The transpose of `transform_input`: tiles are added up where they overlap."""
        b, n = self.matrices.input.T, self.n
        tiles = [tile.reshape(self.batch, self.down, self.across, -1) for tile in tiles]
        rows = [
            _overlap_add([_combine(b[j], tiles[i * n : i * n + n]) for j in range(n)], axis=2)
            for i in range(n)
        ]
        x = _overlap_add([_combine(b[i], rows) for i in range(n)], axis=1)
        return x[:, : self.height, : self.width]

    def transform_output(self, products: Sequence[jax.Array]) -> jax.Array:
        """A' M A, tiles put side by side."""
        a, n = self.matrices.output, self.n
        products = [p.reshape(self.batch, self.down, self.across, -1) for p in products]
        columns = [[_combine(a[i], products[j::n]) for j in range(n)] for i in range(TILE)]
        rows = [jnp.stack([_combine(a[j], row) for j in range(TILE)], axis=3) for row in columns]
        y = jnp.stack(rows, axis=2)  # [batch, down, TILE, across, TILE, out]
        y = y.reshape(self.batch, self.down * TILE, self.across * TILE, -1)
        return y[:, : self.out_height, : self.out_width]

    def transpose_output(self, gradient: jax.Array) -> list[jax.Array]:
        """The transpose of `transform_output`."""
        a = self.matrices.output.T
        gradient = _padded(gradient, self.down * TILE, self.across * TILE)
        rows = [gradient[:, i::TILE] for i in range(TILE)]
        rows = [_combine(a[i], rows) for i in range(self.n)]
        return [
            _combine(a[j], [row[:, :, i::TILE] for i in range(TILE)]).reshape(-1, row.shape[-1])
            for row in rows
            for j in range(self.n)
        ]


def _overlap_add(parts: Sequence[jax.Array], axis: int) -> jax.Array:
    """Add parts[i][t] at position TILE * t + i of `axis`, for all i and t."""
    reach = -(-len(parts) // TILE)

    def moved(part: jax.Array, by: int) -> jax.Array:
        padding = [(0, 0)] * part.ndim
        padding[axis] = (by, reach - 1 - by)
        return jnp.pad(part, padding)

    phases = [
        sum(moved(part, by) for by, part in enumerate(parts[phase::TILE])) for phase in range(TILE)
    ]
    y = jnp.stack(phases, axis + 1)
    return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])


def transposed_product(a: jax.Array, b: jax.Array) -> jax.Array:
    """The product a' b for a [rows, m], b [rows, n]."""
    return lax.dot_general(a, b, (((0,), (0,)), ((), ())))


def pays(x_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether there is a transform for the kernel, and work enough to be worth the transforms and their compilation."""
    rows, columns, channels, features = kernel_shape
    if rows != columns or not 3 <= rows <= 5:
        return False
    if not isinstance(x_shape[0], int):
        return False  # A symbolic batch (`jax.export`) may be of any size.
    tiling = _Tiling(x_shape, rows)
    tiles = tiling.batch * tiling.down * tiling.across
    return tiles >= LEAST_TILES and tiles * channels * features >= LEAST_WORK


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlate [batch, height, width, in] with [size, size, in, out], stride 1, no padding."""
    count, images = _parts(x.shape, kernel.shape)
    tiling = _Tiling((images, *x.shape[1:]), kernel.shape[0])
    kernels = tiling.transform_kernel(kernel)

    def convolve_part(carry: tuple, part: tuple[jax.Array]) -> tuple[tuple, jax.Array]:
        tiles = tiling.transform_input(*part)
        products = [tile @ k for tile, k in zip(tiles, kernels, strict=True)]
        return carry, tiling.transform_output(products)

    return _scan(convolve_part, (), count, x)[1]


def gradients(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients of `convolve` by x and kernel, from the gradient of its output."""
    count, images = _parts(x.shape, kernel.shape)
    tiling = _Tiling((images, *x.shape[1:]), kernel.shape[0])
    kernels = tiling.transform_kernel(kernel)

    def gradients_of_part(
        sums: list[jax.Array], part: tuple[jax.Array, jax.Array]
    ) -> tuple[list[jax.Array], jax.Array]:
        x, gradient = part
        tiles = tiling.transform_input(x)
        products = tiling.transpose_output(gradient)
        sums = [
            total + transposed_product(tile, product)
            for total, tile, product in zip(sums, tiles, products, strict=True)
        ]
        x = tiling.transpose_input([p @ k.T for p, k in zip(products, kernels, strict=True)])
        return sums, x

    zeros = [jnp.zeros_like(k) for k in kernels]
    sums, x_gradient = _scan(gradients_of_part, zeros, count, x, gradient)
    return x_gradient, tiling.transpose_kernel(sums)


def _parts(x_shape: Sequence[int], kernel_shape: Sequence[int]) -> tuple[int, int]:
    """How many parts a batch goes through in, and the images of each; see `PART_BYTES` and `MORE_PARTS`."""
    batch = x_shape[0]
    tiling = _Tiling(x_shape, kernel_shape[0])
    values = tiling.n**2 * tiling.down * tiling.across * sum(kernel_shape[2:])
    least = max(-(-batch // max(PART_BYTES // (4 * values), 1)), 1)
    even = (n for n in range(least, int(MORE_PARTS * least) + 1) if batch % n == 0)
    count = next(even, least)
    return count, -(-batch // count)


def _scan(
    function: Callable[[Any, Any], tuple[Any, jax.Array]],
    carry: Any,
    count: int,
    *arrays: jax.Array,
) -> tuple[Any, jax.Array]:
    """`lax.scan` over `count` parts of [batch, ...] arrays, the last filled up with zeros; the outputs as one batch."""
    if count == 1:
        return function(carry, arrays)
    batch = arrays[0].shape[0]
    images = -(-batch // count)

    def divided(x: jax.Array) -> jax.Array:
        x = jnp.pad(x, ((0, count * images - batch), *((0, 0),) * (x.ndim - 1)))
        return x.reshape(count, images, *x.shape[1:])

    carry, y = lax.scan(function, carry, tuple(map(divided, arrays)))
    return carry, y.reshape(count * images, *y.shape[2:])[:batch]
