"""Convolution by Winograd's minimal filtering, and its gradients, for float32 on a CPU (Lavin and Gray, 2016).

F(m x m, r x r) gives an m x m tile of outputs from n x n inputs, n = m + r - 1, with n² products a channel pair where
the plain sum takes m² r²: at m = 3, 49 instead of 225 for the 5x5 kernel, 25 instead of 81 for 3x3. With K the kernel,
X an input tile and * elementwise,

    Y = A' [(G K G') * (B' X B)] A

The products over channels become one matrix product, batched over the n² positions of a tile. The gradients are the
transposes of the same three linear maps, so the backward pass saves as much, and shares the transformed inputs and
output gradients between both gradients.

Each transform of a map is a sum over rows and one over columns, that of the kernel a matrix product. A sum makes all
its results in one loop over one array: as an array for each of the n² positions, the transforms were most of what a
network's first step waited for the compiler.

The transformed maps are some n² / m² times as large as the maps, so a batch goes through in parts, in a loop: a part's
transforms stay in the processor's caches, and their memory does not grow with the batch.

Rounding, as the largest error over the largest output, of 256 channels (5x5: 96): plain sum 1e-6; F(2, 3) 6e-7,
F(3, 3) 1.5e-6, F(2, 4) 1e-6, F(3, 4) 2e-6, F(2, 5) 1.6e-6, F(3, 5) 3.8e-6.
"""

import functools
import operator
from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from stfer.models.layers import batch_parts

# m: the one with the fewest products. 4 would save some of the 3x3 kernel's, and round by 5e-6.
TILES = (2, 3)
# With fewer tiles, products of one of the n² matrix products, or channels in or out, the transforms cost more than the
# products save.
LEAST_TILES = 32
LEAST_WORK = 300_000
LEAST_CHANNELS = 16
PART_BYTES = 16_000_000  # of a part's transformed inputs and outputs
# The interpolation points by their number, n - 1: the pairs around 0 whose largest and mean rounding errors were
# least among fractions of 8 (six points: of 16); small points and pairs do best (Barabasz et al., 2020).
_POINTS: dict[int, tuple[Fraction, ...]] = {
    len(points): tuple(map(Fraction, points))
    for points in (
        ("0", "1", "-1"),
        ("3/8", "-3/8", "5/4", "-5/4"),
        ("0", "3/4", "-3/4", "3/2", "-3/2"),
        ("5/16", "-5/16", "7/8", "-7/8", "7/4", "-7/4"),
    )
}


class Transforms(NamedTuple):
    """The matrices A' [m, n], G [n, r] and B' [n, n]."""

    output: np.ndarray
    kernel: np.ndarray
    input: np.ndarray


@functools.cache
def transforms(tile: int, size: int) -> Transforms:
    """F(tile, size) in float32; see `exact_transforms`, which says what it raises."""
    matrices = exact_transforms(tile, size)
    return Transforms(*(np.asarray(matrix, dtype=np.float32) for matrix in matrices))


def exact_transforms(tile: int, size: int) -> tuple[list[list[Fraction]], ...]:
    """Build the matrices of F(tile, size), each as its rows, by the Toom-Cook method.

    It takes products of polynomials through their values at points.

    A polynomial of degree n - 1 is known by its values at n - 1 points and its leading coefficient ("infinity"). The
    product of polynomials of m and r coefficients is the transpose of a filter of r taps with m outputs.

    Raises:
        ValueError: more points are needed than are known.
    """
    n = tile + size - 1
    if n - 1 not in _POINTS:
        known = f"{min(_POINTS)} to {max(_POINTS)}"
        raise ValueError(f"F({tile}, {size}) needs {n - 1} points; there are sets of {known}")
    points = _POINTS[n - 1]

    def values(length: int) -> list[list[Fraction]]:
        finite = [[point**power for power in range(length)] for point in points]
        return [*finite, [Fraction(int(power == length - 1)) for power in range(length)]]

    to_input = _inverse(values(n))
    input_rows = [list(row) for row in zip(*to_input, strict=True)]
    kernel_rows = values(size)
    for i, row in enumerate(input_rows):
        # Short numbers near 1 in B', which meets the largest arrays; the factor goes to G. The power of two keeps what
        # is very large or small within float32's range.
        factor = Fraction(lcm(*(entry.denominator for entry in row)))
        factor /= gcd(*(int(entry * factor) for entry in row))
        factor /= 1 << int(max(abs(entry * factor) for entry in row)).bit_length() - 1
        input_rows[i] = [entry * factor for entry in row]
        kernel_rows[i] = [entry / factor for entry in kernel_rows[i]]
    output_rows = [list(row) for row in zip(*values(tile), strict=True)]
    return output_rows, kernel_rows, input_rows


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
    """Sums [rows, ...] of weights[row, i] * arrays[i]: a matrix product whose long axes stay as they are."""
    shape = (-1, *(1,) * arrays[0].ndim)
    columns = [jnp.asarray(column).reshape(shape) for column in weights.T]
    terms = [column * array[None] for column, array in zip(columns, arrays, strict=True)]
    # Without the barrier XLA computes the sums, and their bounds, again for each of the arrays that are made of them.
    return lax.optimization_barrier(functools.reduce(operator.add, terms))


def _padded(x: jax.Array, height: int, width: int) -> jax.Array:
    """Zeros below and to the right, up to height and width."""
    padding = ((0, 0), (0, height - x.shape[1]), (0, width - x.shape[2]), (0, 0))
    return lax.optimization_barrier(jnp.pad(x, padding))


class _Tiling:
    """Sizes and the six linear maps (three and their transposes) of one convolution.

    Matrices of tiles are arrays [n * n, batch * tiles down * tiles across, channels], column before row among the
    n * n, as the last sum puts them.
    """

    def __init__(self, x_shape: Sequence[int], kernel_size: int):
        self.batch, self.height, self.width = x_shape[:3]
        self.size = kernel_size
        self.out_height, self.out_width = (side - kernel_size + 1 for side in x_shape[1:3])

        def positions(tile: int) -> int:
            tiles = -(-self.out_height // tile) * -(-self.out_width // tile)
            return (tile + kernel_size - 1) ** 2 * tiles

        self.tile = min(TILES, key=positions)
        self.n = self.tile + kernel_size - 1
        self.down, self.across = -(-self.out_height // self.tile), -(-self.out_width // self.tile)
        self.matrices = transforms(self.tile, kernel_size)

    def transform_kernel(self, kernel: jax.Array) -> jax.Array:
        """G K G': [rows, columns, in, out] to [n * n, in, out]."""
        products = self._kernel_matrix() @ kernel.reshape(self.size**2, -1)
        return products.reshape(self.n**2, *kernel.shape[2:])

    def transpose_kernel(self, products: jax.Array) -> jax.Array:
        """The transpose of `transform_kernel`."""
        kernel = self._kernel_matrix().T @ products.reshape(self.n**2, -1)
        return kernel.reshape(self.size, self.size, *products.shape[1:])

    def _kernel_matrix(self) -> jax.Array:
        """G over rows and columns as one matrix [n * n, size * size]."""
        g = self.matrices.kernel
        return jnp.asarray(np.einsum("ia,jb->jiab", g, g).reshape(self.n**2, self.size**2))

    def transform_input(self, x: jax.Array) -> jax.Array:
        """B' X B for all overlapping tiles."""
        b, n = self.matrices.input, self.n
        x = _padded(x, (self.down - 1) * self.tile + n, (self.across - 1) * self.tile + n)

        def starts(x: jax.Array, tiles: int, axis: int) -> list[jax.Array]:
            stop = (tiles - 1) * self.tile + 1
            return [lax.slice_in_dim(x, i, i + stop, self.tile, axis) for i in range(n)]

        rows = _combine(b, starts(x, self.down, axis=1))
        columns = _combine(b, starts(rows, self.across, axis=3))  # [columns, rows, ...]
        return columns.reshape(n * n, -1, x.shape[-1])

    def transpose_input(self, tiles: jax.Array) -> jax.Array:
        """The transpose of `transform_input`: tiles are added up where they overlap."""
        b, n = self.matrices.input.T, self.n
        tiles = tiles.reshape(n, n, self.batch, self.down, self.across, -1)
        rows = _overlap_add(_combine(b, list(tiles)), axis=3, step=self.tile)
        x = _overlap_add(_combine(b, list(rows)), axis=1, step=self.tile)
        return x[:, : self.height, : self.width]

    def transform_output(self, products: jax.Array) -> jax.Array:
        """A' M A, tiles put side by side."""
        a, n = self.matrices.output, self.n
        products = products.reshape(n, n, self.batch, self.down, self.across, -1)
        columns = _combine(a, list(products))  # [tile, n, batch, down, across, out]
        y = _combine(a, [columns[:, i] for i in range(n)])  # [tile down, tile across, ...]
        y = y.transpose(2, 3, 0, 4, 1, 5)
        y = y.reshape(self.batch, self.down * self.tile, self.across * self.tile, -1)
        return y[:, : self.out_height, : self.out_width]

    def transpose_output(self, gradient: jax.Array) -> jax.Array:
        """The transpose of `transform_output`."""
        a = self.matrices.output.T
        gradient = _padded(gradient, self.down * self.tile, self.across * self.tile)
        rows = _combine(a, [gradient[:, i :: self.tile] for i in range(self.tile)])
        columns = _combine(a, [rows[:, :, :, i :: self.tile] for i in range(self.tile)])
        return columns.reshape(self.n**2, -1, gradient.shape[-1])


def _overlap_add(parts: jax.Array, axis: int, step: int) -> jax.Array:
    """Add parts[i][t] at position step * t + i of `axis`, for all i and t."""
    reach = -(-len(parts) // step)

    def moved(part: jax.Array, by: int) -> jax.Array:
        padding = [(0, 0)] * part.ndim
        padding[axis] = (by, reach - 1 - by)
        return jnp.pad(part, padding)

    phases = [
        sum(moved(part, by) for by, part in enumerate(parts[phase::step])) for phase in range(step)
    ]
    y = jnp.stack(phases, axis + 1)
    return y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])


def _products(a: jax.Array, b: jax.Array, axis: int, other: int) -> jax.Array:
    """A matrix product for each of the n * n, summed over these axes."""
    return lax.dot_general(a, b, (((axis,), (other,)), ((0,), (0,))))


def pays(x_shape: Sequence[int], kernel_shape: Sequence[int]) -> bool:
    """Whether there is a transform for the kernel, and work enough to be worth the transforms."""
    rows, columns, channels, features = kernel_shape
    if rows != columns or not 3 <= rows <= 5:
        return False
    if min(channels, features) < LEAST_CHANNELS or not batch_parts.can_divide(x_shape):
        return False
    tiling = _Tiling(x_shape, rows)
    tiles = tiling.batch * tiling.down * tiling.across
    return tiles >= LEAST_TILES and tiles * channels * features >= LEAST_WORK


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Cross-correlate [batch, height, width, in] with [size, size, in, out], stride 1, no padding."""
    count, tiling, kernels = _in_parts(x, kernel)

    def convolve_part(carry: tuple, part: tuple[jax.Array]) -> tuple[tuple, jax.Array]:
        tiles = tiling.transform_input(*part)
        return carry, tiling.transform_output(_products(tiles, kernels, 2, 1))

    return batch_parts.scan_parts(convolve_part, (), count, x)[1]


def gradients(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gradients of `convolve` by x and kernel, from the gradient of its output."""
    count, tiling, kernels = _in_parts(x, kernel)

    def gradients_of_part(
        sums: jax.Array, part: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        x, gradient = part
        tiles = tiling.transform_input(x)
        products = tiling.transpose_output(gradient)
        sums += _products(tiles, products, 1, 1)
        return sums, tiling.transpose_input(_products(products, kernels, 2, 2))

    zeros = jnp.zeros_like(kernels)
    sums, x_gradient = batch_parts.scan_parts(gradients_of_part, zeros, count, x, gradient)
    return x_gradient, tiling.transpose_kernel(sums)


def _in_parts(x: jax.Array, kernel: jax.Array) -> tuple[int, _Tiling, jax.Array]:
    """The number of parts, the tiling of each, and the transformed kernel."""
    tiling = _Tiling(x.shape, kernel.shape[0])
    values = tiling.n**2 * tiling.down * tiling.across * sum(kernel.shape[2:])
    count, images = batch_parts.divide(x.shape[0], 4 * values, PART_BYTES)
    tiling = _Tiling((images, *x.shape[1:]), kernel.shape[0])
    return count, tiling, tiling.transform_kernel(kernel)
