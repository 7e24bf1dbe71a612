"""Registration of faces to the mean face inside a model: shapes, affine maps, resampling, all on the device.

The mean face is kept among the batch statistics, so a fold's is of its training subjects' points alone and travels with
the weights. `stfer.data.faces.registration` does the same with NumPy and OpenCV.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from stfer.models.layers.running import RunningMoments


class MeanFace(nn.Module):
    """The Procrustes mean of the training shapes (Gower 1975), over the rows seen so far.

    Each shape is centred, scaled to a mean squared distance of 1 and turned to the mean so far, then averaged.

    Attributes:
        extent: share of the unit square's side that the mean face takes.
        device_axis: a mapped axis that shares the mean, or None.
    """

    extent: float = 0.8
    device_axis: str | None = None

    @nn.compact
    def __call__(
        self, shapes: jax.Array, train: bool = False, mask: jax.Array | None = None
    ) -> jax.Array:
        """Take in shapes [batch, points, 2] where `train`, and return the mean face in the unit square.

        Returns:
            float32 [points, 2]; not finite before any training.
        """
        shapes = lax.stop_gradient(shapes).astype(jnp.float32)
        shapes = normalised_shapes(shapes)
        moments = RunningMoments(device_axis=self.device_axis, name="shape")
        mean, _ = moments(shapes)
        # Before the first batch, its first row says what is upright.
        reference = jnp.where(jnp.any(mean != 0), mean, shapes[0])
        mean, _ = moments(turned(shapes, reference), train, mask)
        low, high = mean.min(0), mean.max(0)
        scale = self.extent / (high - low).max()
        return (mean - ((low + high) / 2)[None]) * scale + 0.5


def normalised_shapes(shapes: jax.Array) -> jax.Array:
    """Shapes [..., points, 2] centred on 0 with a mean squared distance of 1 from there."""
    centred = shapes - shapes.mean(-2, keepdims=True)
    size = jnp.square(centred).sum(-1).mean(-1)[..., None, None]
    return centred * lax.rsqrt(jnp.maximum(size, 1e-12))


def turned(shapes: jax.Array, reference: jax.Array) -> jax.Array:
    """Centred shapes [batch, points, 2], each turned to lie nearest to the reference [points, 2]."""
    x, y = shapes[..., 0], shapes[..., 1]
    u, v = reference[None, :, 0], reference[None, :, 1]
    along, across = (x * u + y * v).sum(-1), (x * v - y * u).sum(-1)
    length = jnp.maximum(jnp.hypot(along, across), 1e-12)
    cosine, sine = (along / length)[:, None], (across / length)[:, None]
    return jnp.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)


def affine_maps(source: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The nearest affine map from each set of points to one, by least squares: target = source M' + t.

    Args:
        source: [batch, points, 2].
        target: [points, 2].

    Returns:
        M [batch, 2, 2] and t [batch, 2].
    """
    middle, aim = source.mean(1), target.mean(0)
    x, y = source - middle[:, None], target - aim[None]
    cross = jnp.einsum("pj,bpk->bjk", y, x)
    matrix = cross @ inverse(jnp.einsum("bpj,bpk->bjk", x, x))
    return matrix, aim[None] - jnp.einsum("bjk,bk->bj", matrix, middle)


def inverse(matrices: jax.Array) -> jax.Array:
    """Inverses of 2 x 2 matrices [..., 2, 2]; finite even where there is none (rows of padding)."""
    a, b, c, d = (matrices[..., i, j] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    adjugate = jnp.stack([jnp.stack([d, -b], -1), jnp.stack([-c, a], -1)], -2)
    determinant = a * d - b * c
    determinant = jnp.where(jnp.abs(determinant) > 1e-20, determinant, 1.0)
    return adjugate / determinant[..., None, None]


def resample(
    frames: jax.Array, matrices: jax.Array, shifts: jax.Array, size: int, finer: int = 2
) -> jax.Array:
    """Frames seen through affine maps of places in 0..1 from edge to edge; beyond the edge the border repeats.

    Args:
        frames: [batch, height, width, channel].
        matrices: [batch, 2, 2]; with `shifts` from a place in the frame to one in the result.
        shifts: [batch, 2].
        size: pixels a side of the result.
        finer: samples a side of each pixel, averaged, so that shrinking does not alias.

    Returns:
        [batch, size, size, channel].
    """
    steps = (jnp.arange(size * finer) + 0.5) / (size * finer)
    places = jnp.stack(jnp.meshgrid(steps, steps), axis=-1)  # [row, column, (x, y)]
    back = inverse(matrices)
    places = jnp.einsum("bjk,brck->brcj", back, places[None] - shifts[:, None, None])
    height, width = frames.shape[1:3]

    def one(frame: jax.Array, places: jax.Array) -> jax.Array:
        rows, columns = places[..., 1] * height - 0.5, places[..., 0] * width - 0.5
        look = lambda channel: jax.scipy.ndimage.map_coordinates(  # noqa: E731
            channel, [rows, columns], order=1, mode="nearest"
        )
        return jax.vmap(look, in_axes=-1, out_axes=-1)(frame)

    fine = jax.vmap(one)(frames, places)
    shape = (frames.shape[0], size, finer, size, finer, frames.shape[-1])
    return fine.reshape(shape).mean((2, 4))


def register_faces(
    frames: jax.Array, landmarks: jax.Array, mean_face: jax.Array, size: int
) -> jax.Array:
    """Frames warped so that their landmarks lie nearest to the mean face's.

    Args:
        frames: [batch, height, width, channel].
        landmarks: [batch, points, 2] in crop coordinates.
        mean_face: [points, 2] in the result's; where it is not finite, frames are only resized.
        size: pixels a side of the result.

    Returns:
        [batch, size, size, channel].
    """
    known = jnp.isfinite(mean_face).all()
    matrices, shifts = affine_maps(landmarks, jnp.where(known, mean_face, 0.0))
    matrices = jnp.where(known, matrices, jnp.eye(2)[None])
    shifts = jnp.where(known, shifts, 0.0)
    return resample(frames, lax.stop_gradient(matrices), lax.stop_gradient(shifts), size)
