"""The augmentation `faces`: what cameras, lamps and detectors do to a clip of a face, drawn anew each step.

What stays the same over a clip (the camera's view, light, lens, an occluder) is drawn once a clip; what a detector does
from frame to frame is a small jitter drawn once a frame. Frames of one clip therefore stay comparable: a difference of
two frames shows the face, and the jitter of its box, not the augmentation. Landmarks follow the view.
"""

import functools
import math
import operator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array, lax

from stfer.data.faces.points import MIRRORED
from stfer.training.augment.registry import Example, register_augmentation


@register_augmentation("faces")
@dataclass(frozen=True)
class Faces:
    """The strengths; each 0 (or False, or a range of 1 to 1) switches its part off.

    Attributes:
        mirror: Whether half of the clips are mirrored.
        scale: Smallest and largest magnification of a clip, log-uniform; above 1 the face grows.
        stretch: Standard deviation of the logarithm of a clip's width over its height.
        degrees: Largest turn of a clip, uniform.
        shift: Largest shift of a clip, of the frame's side, uniform in both directions.
        jitter_scale, jitter_degrees, jitter_shift: The same for each frame, standard deviations, of normal numbers.
        gamma: Largest absolute logarithm of a clip's gamma.
        contrast: Largest absolute logarithm of a clip's contrast about its mean.
        brightness: Largest shift of a clip's grey value, of full scale.
        flicker: Standard deviation of each frame's gain.
        slope: Largest gain or loss of light from the middle to one border (a lamp beside the face), any direction.
        colour: Standard deviation of the logarithm of each colour channel's gain.
        grey: Share of the clips that become grey.
        blur: Largest Gaussian of a clip, of the frame's side; half of the clips get none.
        noise: Largest standard deviation of a clip's sensor noise, of full scale, uniform from 0. Frames of a clip
            take it from one field, at other places.
        erase: Share of the clips in which a rectangle is covered, at the same place in all frames.
        erase_side: Smallest and largest side of the rectangle, of the frame's.
    """

    mirror: bool = True
    scale: tuple[float, float] = (0.85, 1.2)
    stretch: float = 0.05
    degrees: float = 8.0
    shift: float = 0.05
    jitter_scale: float = 0.02
    jitter_degrees: float = 1.0
    jitter_shift: float = 0.012
    gamma: float = 0.4
    contrast: float = 0.35
    brightness: float = 0.08
    flicker: float = 0.03
    slope: float = 0.4
    colour: float = 0.06
    grey: float = 0.2
    blur: float = 0.012
    noise: float = 0.03
    erase: float = 0.25
    erase_side: tuple[float, float] = (0.1, 0.3)

    def __call__(self, example: Example, key: Array) -> Example:
        """Change one example; the same key gives the same change.

        Args:
            example: `frames` float32 [time, height, width, channel] in [0, 1], and perhaps `landmarks`
                float32 [time, 49, 2] in crop coordinates, of as many frames or of others.
            key: A random key.
        """
        view, light, lens, cover = jax.random.split(key, 4)
        changed = {}
        time = len(example["frames"]) if "frames" in example else 1
        matrix, shift, mirrored = self._view(view, time)
        if "landmarks" in example:
            changed["landmarks"] = _moved(example["landmarks"], matrix[0], shift[0], mirrored)
        if "frames" in example:
            frames = warp(example["frames"], matrix, shift)
            # Without the barriers XLA computes each change of a pixel again for every use of it.
            frames = lax.optimization_barrier(
                self._relight(lax.optimization_barrier(frames), light)
            )
            frames = self._record(frames, lens)
            changed["frames"] = self._erase(frames, cover)
        return example | changed

    def _view(self, key: Array, time: int) -> tuple[Array, Array, Array]:
        """Where each frame is looked at.

        Returns:
            matrix: float32 [time, 2, 2] from places in the new frame (x, y, from the middle, of the side) to old ones.
            shift: float32 [time, 2], added to those, of the side.
            mirrored: bool [].
        """
        keys = jax.random.split(key, 8)
        low, high = (jnp.log(value) for value in self.scale)
        size = jax.random.uniform(keys[0], minval=low, maxval=high)
        size = size + self.jitter_scale * jax.random.normal(keys[1], (time,))
        wide = self.stretch * jax.random.normal(keys[2])
        turn = jax.random.uniform(keys[3], minval=-self.degrees, maxval=self.degrees)
        turn = jnp.radians(turn + self.jitter_degrees * jax.random.normal(keys[4], (time,)))
        mirrored = self.mirror & jax.random.bernoulli(keys[5])
        across = jnp.where(mirrored, -1.0, 1.0) * jnp.exp(-size - wide / 2)
        down = jnp.exp(-size + wide / 2)
        cosine, sine = jnp.cos(turn), jnp.sin(turn)
        rows = [across * cosine, -across * sine, down * sine, down * cosine]
        matrix = jnp.stack(rows, -1).reshape(time, 2, 2)
        shift = jax.random.uniform(keys[6], (1, 2), minval=-self.shift, maxval=self.shift)
        return matrix, shift + self.jitter_shift * jax.random.normal(keys[7], (time, 2)), mirrored

    def _relight(self, frames: Array, key: Array) -> Array:
        """Light and tone: a slope of light, colour, grey, gamma, contrast, brightness a clip; a gain a frame."""
        time, height, width, channels = frames.shape
        keys = jax.random.split(key, 9)

        def a_clip(key: Array, reach: float) -> Array:
            return jax.random.uniform(key, minval=-reach, maxval=reach)

        angle = jax.random.uniform(keys[0], maxval=2 * jnp.pi)
        x, y = jnp.linspace(-1, 1, width)[None], jnp.linspace(-1, 1, height)[:, None]
        ramp = jnp.cos(angle) * x + jnp.sin(angle) * y  # [height, width]
        gain = 1.0 + a_clip(keys[1], self.slope) * ramp[None, :, :, None]
        if channels == 3:
            gain = gain * jnp.exp(self.colour * jax.random.normal(keys[2], (1, 1, 1, 3)))
        gain = gain * (1.0 + self.flicker * jax.random.normal(keys[3], (time, 1, 1, 1)))
        gamma = jnp.exp(a_clip(keys[4], self.gamma))
        logarithms = jnp.log(jnp.clip(frames * gain, 1e-3, 1.0))
        # In a third of a power's time, and not again for the mean.
        frames = lax.optimization_barrier(jnp.exp(gamma * logarithms))
        mean = frames.mean()
        frames = mean + (frames - mean) * jnp.exp(a_clip(keys[5], self.contrast))
        frames = frames + a_clip(keys[6], self.brightness)
        if channels == 1:
            return frames
        # Every third value of whole rows: a sum over an axis of three takes twice as long on a CPU.
        rows = frames.reshape(time, height, width * 3)
        luma = 0.299 * rows[..., 0::3] + 0.587 * rows[..., 1::3] + 0.114 * rows[..., 2::3]
        return jnp.where(jax.random.bernoulli(keys[7], self.grey), luma[..., None], frames)

    def _record(self, frames: Array, key: Array) -> Array:
        """Blur the clip as a lens or a small picture does, add sensor noise, clip to [0, 1]."""
        time, height, width, _ = frames.shape
        keys = jax.random.split(key, 4)
        if self.blur:
            sigma = jax.random.uniform(keys[1], maxval=self.blur * max(height, width))
            sigma = jnp.where(jax.random.bernoulli(keys[0]), 0.05, jnp.maximum(sigma, 0.05))
            radius = math.ceil(3.5 * self.blur * max(height, width))
            frames = blurred(frames, sigma, min(radius, max(height, width) - 1))
        if self.noise:
            level = jax.random.uniform(keys[2], maxval=self.noise)
            frames = frames + level * _noise(keys[3], time, height * width).reshape(
                time, height, width, 1
            )
        return jnp.clip(frames, 0.0, 1.0)

    def _erase(self, frames: Array, key: Array) -> Array:
        """Cover a rectangle of some clips, at the same place in all frames, with one random grey."""
        _, height, width, _ = frames.shape
        keys = jax.random.split(key, 4)
        low, high = self.erase_side
        sides = jax.random.uniform(keys[0], (2,), minval=low, maxval=high)
        corner = jax.random.uniform(keys[1], (2,)) * (1 - sides)

        def within(axis: int, length: int) -> Array:
            places = (jnp.arange(length) + 0.5) / length
            return (places >= corner[axis]) & (places < corner[axis] + sides[axis])

        covered = within(0, height)[:, None] & within(1, width)[None, :]
        covered &= jax.random.bernoulli(keys[2], self.erase)
        return jnp.where(covered[None, :, :, None], jax.random.uniform(keys[3]), frames)


def _noise(key: Array, time: int, pixels: int) -> Array:
    """Nearly normal numbers [time, pixels] of mean 0 and variance 1.

    Random bits are most of the cost, so frames take stretches of one row of numbers, twice as long as a frame, each
    from another random place: no pixel keeps its number, but frames see parts of one pattern, displaced.
    """
    field, places = jax.random.split(key)
    more = pixels if time > 1 else 0
    # Four bytes add up to a nearly normal number, at a fraction of an inverse error function's cost.
    bits = jax.random.bits(field, (pixels + more,), jnp.uint32)
    total = sum(((bits >> (8 * byte)) & 0xFF).astype(jnp.float32) for byte in range(4))
    numbers = lax.optimization_barrier((total - 510.0) / (4 * (256**2 - 1) / 12) ** 0.5)
    apart = max((more + 1) // time, 1)
    starts = apart * jnp.arange(time) + jax.random.randint(places, (time,), 0, apart)
    return jax.vmap(lambda start: lax.dynamic_slice(numbers, (start,), (pixels,)))(starts)


def blurred(frames: Array, sigma: Array, radius: int) -> Array:
    """Frames through a Gaussian of `sigma` pixels, cut off at `radius`; beyond the border nothing is seen.

    Args:
        frames: float32 [time, height, width, channel].
        sigma: float32 [].
        radius: Pixels.
    """
    time, height, width, channels = frames.shape
    weights = jnp.exp(-0.5 * jnp.square(jnp.arange(radius + 1) / sigma))

    def sums(x: Array, axis: int, step: int = 1) -> Array:
        """Weighted sums over neighbours `step` places apart."""
        padding = [(radius * step,) * 2 if place == axis else (0, 0) for place in range(x.ndim)]
        # Without the barrier XLA checks the bounds of every neighbour of every pixel.
        whole = lax.optimization_barrier(jnp.pad(x, padding))

        def moved(by: int) -> Array:
            start = (radius + by) * step
            return lax.slice_in_dim(whole, start, start + x.shape[axis], axis=axis)

        pairs = [weights[by] * (moved(-by) + moved(by)) for by in range(1, radius + 1)]
        return functools.reduce(operator.add, pairs, weights[0] * moved(0))

    # Rows are one axis with their channels, so that the last axis is a long one.
    rows = sums(frames.reshape(time, height, width * channels), axis=1)
    rows = sums(rows, axis=2, step=channels)
    inside = sums(jnp.ones(height), 0)[:, None] * sums(jnp.ones(width), 0)[None]
    return rows.reshape(frames.shape) * (1 / inside)[None, ..., None]


def warp(frames: Array, matrix: Array, shift: Array) -> Array:
    """Look at each frame through an affine map, bilinear; beyond the frame its border is repeated.

    Args:
        frames: float32 [time, height, width, channel], of two pixels a side or more.
        matrix: float32 [time, 2, 2], see `Faces`.
        shift: float32 [time, 2].
    """
    _, height, width, channels = frames.shape
    side = max(height, width)
    y, x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    middle = jnp.array([[(width - 1) / 2, (height - 1) / 2]])
    limits = jnp.array([[[width - 1.0, height - 1.0]]])
    places = jnp.stack([x, y], -1).reshape(-1, 2) - middle  # [pixel, (x, y)]
    places = jnp.einsum("pi,tji->tpj", places, matrix) + shift[:, None] * side + middle[None]
    places = jnp.clip(places, 0.0, limits)
    corner = jnp.maximum(jnp.minimum(jnp.floor(places), limits - 1.0), 0.0)
    first = corner.astype(jnp.int32)[..., 1] * width + corner.astype(jnp.int32)[..., 0]
    # Settled here: computed again in another place, a floor may be another pixel's, and its part would not fit.
    first, part = lax.optimization_barrier((first, places - corner))

    def one(frame: Array, first: Array, part: Array) -> Array:
        across, down = part[:, :1], part[:, 1:]
        pixels = frame.reshape(-1)

        def pairs(offset: int) -> Array:
            """Each pixel and its right neighbour: [pixel, 2 * channel]."""
            return lax.gather(
                pixels,
                ((first + offset) * channels)[:, None],
                lax.GatherDimensionNumbers((1,), (), (0,)),
                (2 * channels,),
                mode="promise_in_bounds",
            )

        upper, lower = pairs(0), pairs(width)
        both = upper + down * (lower - upper)
        left, right = both[:, :channels], both[:, channels:]
        return (left + across * (right - left)).reshape(height, width, channels)

    return jax.vmap(one)(frames, first, part)


def _moved(points: Array, matrix: Array, shift: Array, mirrored: Array) -> Array:
    """Points [time, 49, 2] in crop coordinates as the clip's view shows them; mirrored ones change names."""
    found = (
        jnp.einsum("ij,tpj->tpi", jnp.linalg.inv(matrix), points - 0.5 - shift[None, None]) + 0.5
    )
    return jnp.where(mirrored, found[:, MIRRORED], found)
