"""What a network looks at: Grad-CAM and occlusion over the frames of a clip, and occlusion over time.

Grad-CAM (Selvaraju et al. 2017) weighs the maps A_k of a convolution by the gradient of a class's score y, here taken
place by place (HiResCAM, Draelos and Carin 2020): our networks flatten their maps before a dense layer, so a place has
weights of its own, and a mean over places would explain what no place does. The score is the class's log odds, its
logit less the log of the others' summed exponentials: what raises all classes alike speaks for none.

    L = relu(sum_k dy / dA_k * A_k)

A place of the last convolution sees far beyond its own pixels; one of the first sees only these, but knows little of
the class. As in Guided Grad-CAM (Selvaraju et al., section 3.2) a coarse map says where, and a fine one what there:
what is shown is the product of L of the last convolution and of each before it that has more places than the ones after
(without padding that is every convolution). As in SmoothGrad (Smilkov et al. 2017) the sum over k is averaged over
copies of the clip with a little noise, before it is cut at 0: what has no part in the class is as often for it as
against it. There is one map a frame where frames go through shared towers, one for the whole clip where they are
stacked.

Occlusion (Zeiler and Fergus 2014) hides a part of all frames, or one whole frame, and counts what the class's
probability loses.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from stfer.inference.model import TrainedModel
from stfer.models.apply import scale_frames
from stfer.models.layers.convolution import Convolution
from stfer.models.layers.towers import TOWER_AXIS, over_towers

OCCLUDED = 0.25  # a hidden square's side, as a share of the face's
STEPS = 9  # places of the hidden square along a side
NOISY = 16  # copies of a clip with noise, over which Grad-CAM is averaged
NOISE = 0.06  # its deviation, as a share of the range of a pixel
_FIELD_DRAWS = 8


@dataclass(frozen=True)
class Explanation:
    """What a class's probability for one clip rests on.

    Attributes:
        label: The class that is explained.
        probability: Its probability for the whole clip.
        grad_cam: float32 [time, size, size], at least 0, with a largest value of 1 (or all 0); the same for every frame
            where frames are stacked.
        occlusion: float32 [size, size], what the probability loses when the surroundings of a pixel are hidden in all
            frames; below 0 where it gains.
        over_time: float32 [time], what the probability loses without each frame; see `occlusion_over_time`.
    """

    label: str
    probability: float
    grad_cam: np.ndarray
    occlusion: np.ndarray
    over_time: np.ndarray


def explain(model: TrainedModel, clip: np.ndarray, label: str | None = None) -> Explanation:
    """Explain one clip.

    Args:
        model: A trained model of frames alone.
        clip: uint8 [time, size, size, 3] faces, as `TrainedModel.predict_clips` takes them.
        label: The class to explain; None for the one that the model gives.

    Raises:
        ValueError: The class is unknown, or the model has no convolution over frames.
    """
    probabilities = model.predict_clips(clip[None])[0]
    if label is not None and label not in model.classes:
        raise ValueError(f"{label!r} is no class of this model: {', '.join(model.classes)}")
    number = int(np.argmax(probabilities)) if label is None else model.classes.index(label)
    return Explanation(
        model.classes[number],
        float(probabilities[number]),
        grad_cam(model, clip, number),
        occlusion(model, clip, number),
        occlusion_over_time(model, clip, number),
    )


def mass_inside(values: np.ndarray, region: np.ndarray) -> float:
    """The share of a map's positive mass [..., height, width] in a region, bool [height, width]."""
    positive = np.maximum(values, 0)
    return float((positive * region).sum() / max(positive.sum(), 1e-12))


# Grad-CAM


def grad_cam(
    model: TrainedModel,
    clip: np.ndarray,
    number: int,
    layers: tuple[int, ...] | None = None,
    copies: int = NOISY,
) -> np.ndarray:
    """Grad-CAM of class `number`: float32 [time, size, size], see `Explanation`.

    Args:
        model: As in `explain`.
        clip: As in `explain`.
        number: The class.
        layers: Which of the network's convolutions over frames, in the order that they run; of several the maps are
            multiplied. None for those of `_coarse_to_fine`.
        copies: How many noisy copies the maps are averaged over; 0: the clip itself, without noise.

    Raises:
        ValueError: The model has no convolution whose maps have several places.
    """
    look = _look(model, clip.shape, layers)
    random = np.random.default_rng(0)
    draws = (random.normal(0, 255 * NOISE, clip.shape) for _ in range(copies))
    noisy = [np.clip(clip + noise, 0, 255).round().astype(np.uint8) for noise in draws]
    found = (look.spoken(model.variables, each[None], number) for each in noisy or [clip])
    total = functools.reduce(functools.partial(jax.tree.map, jnp.add), found)
    product = np.ones((len(clip), *clip.shape[1:3]))
    for path, spoken in total.items():
        product *= _one_map(np.asarray(spoken), look.centres[path], clip)
    return (product / max(float(product.max()), 1e-12)).astype(np.float32)


def _one_map(spoken: np.ndarray, centres: tuple, clip: np.ndarray) -> np.ndarray:
    """L of one convolution, with a largest value of 1: [time, size, size]."""
    coarse = np.maximum(spoken, 0)
    coarse = coarse.reshape(-1, *coarse.shape[-2:])
    if len(coarse) != len(clip):  # Maps of stacked frames are of the clip as a whole.
        coarse = np.broadcast_to(coarse.mean(0), (len(clip), *coarse.shape[1:]))
    fine = np.stack([_at_places(each, centres, clip.shape[1]) for each in coarse])
    return fine / max(float(fine.max()), 1e-12)


_Path = tuple[str, ...]


class _Look:
    """A look at convolutions of a model: what all clips of a shape have in common.

    Args:
        model: As in `grad_cam`.
        shape: Of a clip, [time, height, width, channel].
        layers: See `grad_cam`.

    Attributes:
        spoken: Compiled; from the variables, uint8 clips [1, time, height, width, channel] and a class's number to the
            sum over k of each convolution, by the path of its module: what every place says for the class.
        centres: See `_field_centres`, by path.
    """

    def __init__(self, model: TrainedModel, shape: tuple[int, ...], layers: tuple[int, ...] | None):
        frames = jnp.zeros((1, *shape), jnp.float32)
        known = _layers(model, frames)
        if not known:
            raise ValueError(
                f"{model.architecture} has no convolution that Grad-CAM could look into"
            )
        maps = dict(_coarse_to_fine(known) if layers is None else [known[n] for n in layers])

        def spoken(variables: Any, clips: jax.Array, number: int) -> dict[_Path, jax.Array]:
            def score(added: dict) -> tuple[jax.Array, dict]:
                logits, found = _run(model.module, variables, scale_frames(clips), added)
                others = jnp.where(jnp.arange(len(logits)) == number, -jnp.inf, logits)
                return logits[number] - jax.nn.logsumexp(others), found

            gradients, found = jax.grad(score, has_aux=True)(_zeros(maps))
            return jax.tree.map(lambda gradient, a: (gradient * a).sum(-1), gradients, found)

        self.spoken = jax.jit(spoken)
        self.centres = {
            path: _field_centres(model, frames.shape, path, of_maps)
            for path, of_maps in maps.items()
        }


_look = functools.lru_cache(maxsize=1)(_Look)


def _zeros(maps: Mapping[_Path, tuple[int, ...]]) -> dict[_Path, jax.Array]:
    """Nothing to add to the maps of convolutions, by path."""
    return {path: jnp.zeros(shape, jnp.float32) for path, shape in maps.items()}


def _coarse_to_fine(
    layers: list[tuple[_Path, tuple[int, ...]]],
) -> list[tuple[_Path, tuple[int, ...]]]:
    """The last convolution, and going back from it each whose maps have more places than all chosen before."""
    chosen = [layers[-1]]
    for path, maps in reversed(layers[:-1]):
        if min(maps[-3:-1]) > min(chosen[-1][1][-3:-1]):
            chosen.append((path, maps))
    return chosen


def _layers(model: TrainedModel, frames: jax.Array) -> list[tuple[_Path, tuple[int, ...]]]:
    """Each convolution over frames that runs once: its path and the shape of its maps, with towers first."""
    found: dict[_Path, list[tuple[int, ...]]] = {}

    def look(next_fun, args, kwargs, context):
        y = next_fun(*args, **kwargs)
        if isinstance(context.module, Convolution | nn.Conv) and context.method_name == "__call__":
            towers = (jax.lax.axis_size(TOWER_AXIS),) if over_towers() else ()
            found.setdefault(context.module.path, []).append((*towers, *y.shape))
        return y

    with nn.intercept_methods(look):
        jax.eval_shape(functools.partial(model.module.apply, train=False), model.variables, frames)
    # Maps of a single place, and layers that run several times, say nothing about where.
    return [
        (path, shapes[0])
        for path, shapes in found.items()
        if len(set(shapes)) == 1 and min(shapes[0][-3:-1]) > 1
    ]


def _run(
    module: nn.Module, variables: Any, frames: jax.Array, added: Mapping[_Path, jax.Array]
) -> tuple[jax.Array, dict[_Path, jax.Array]]:
    """The logits [classes] of one clip with something added to convolutions' maps by their path, and these maps."""
    captured: dict[_Path, jax.Array] = {}

    def add(next_fun, args, kwargs, context):
        y = next_fun(*args, **kwargs)
        path = context.module.path
        if path not in added or context.method_name != "__call__":
            return y
        if over_towers():
            return y + added[path][jax.lax.axis_index(TOWER_AXIS)].astype(y.dtype)
        captured[path] = y + added[path].astype(y.dtype)
        return captured[path]

    with nn.intercept_methods(add):
        _, endpoints = module.apply(variables, frames, train=False)
    for path in added.keys() - captured.keys():
        # What a tower computes comes out of the map over towers as an endpoint alone: [batch, tower, ...].
        names = [n for n in endpoints if path[-len(n.split("/")) :] == tuple(n.split("/"))]
        if not names:
            raise ValueError(
                f"the convolution {'/'.join(path)} of a tower is none of the endpoints"
            )
        captured[path] = jnp.moveaxis(endpoints[names[0]], 1, 0)
    logits = endpoints["logits"].astype(jnp.float32)
    return logits.reshape(-1, logits.shape[-1])[-1], captured


def _field_centres(
    model: TrainedModel, frames: tuple[int, ...], path: _Path, maps: tuple[int, ...]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The pixels (row, column) that the first and the last place of a convolution's maps look at.

    Measured: the centre of mass of the place's gradient, over some clips of noise. What normalises a frame by its
    surroundings reaches far but weakly, so the middle of all that is reached would say nothing.

    Args:
        model: As in `grad_cam`.
        frames: The shape of a batch of one clip.
        path: Of the convolution.
        maps: The shape of its maps.
    """
    random = np.random.default_rng(0)

    @jax.jit
    def reached(variables: Any, clip: jax.Array, row: int, column: int) -> jax.Array:
        def total(clip: jax.Array) -> jax.Array:
            found = _run(model.module, variables, clip, _zeros({path: maps}))[1][path]
            return found[..., row, column, :].sum()

        return jnp.abs(jax.grad(total)(clip)).sum((0, 1, 4))

    centres = []
    for row, column in ((0, 0), (maps[-3] - 1, maps[-2] - 1)):
        clips = (random.random(frames, np.float32) for _ in range(_FIELD_DRAWS))
        seen = np.sum(
            [np.asarray(reached(model.variables, clip, row, column)) for clip in clips], axis=0
        )
        middle = [
            np.average(np.arange(seen.shape[axis]), weights=seen.sum(1 - axis)) for axis in (0, 1)
        ]
        centres.append((float(middle[0]), float(middle[1])))
    return centres[0], centres[1]


def _at_places(coarse: np.ndarray, centres: tuple, size: int) -> np.ndarray:
    """A map [rows, columns] on `size` pixels a side: linear between the places, and to 0 beyond the outer ones."""

    def tents(count: int, first: float, last: float) -> np.ndarray:
        step = (last - first) / (count - 1)
        away = np.abs(np.arange(size)[:, None] - (first + step * np.arange(count)))
        return np.maximum(1 - away / step, 0)

    (top, left), (bottom, right) = centres
    rows, columns = coarse.shape
    return tents(rows, top, bottom) @ coarse @ tents(columns, left, right).T


# Occlusion


def occlusion(model: TrainedModel, clip: np.ndarray, number: int) -> np.ndarray:
    """What the probability of class `number` loses when a square is hidden in all frames: float32 [size, size].

    The square, a quarter of the face wide, has the clip's mean colour; a pixel gets the mean over the squares on it.
    """
    size = clip.shape[1]
    side = max(1, round(OCCLUDED * size))
    starts = np.round(np.linspace(0, size - side, STEPS)).astype(int)
    corners = [(row, column) for row in starts for column in starts]
    colour = clip.mean((0, 1, 2)).astype(np.uint8)
    hidden = np.repeat(clip[None], len(corners), axis=0)
    for one, (row, column) in zip(hidden, corners, strict=True):
        one[:, row : row + side, column : column + side] = colour
    before = float(model.predict_clips(clip[None])[0, number])
    losses = before - model.predict_clips(hidden)[:, number]
    total, count = np.zeros((size, size)), np.zeros((size, size))
    for loss, (row, column) in zip(losses, corners, strict=True):
        total[row : row + side, column : column + side] += loss
        count[row : row + side, column : column + side] += 1
    return (total / np.maximum(count, 1)).astype(np.float32)


def occlusion_over_time(model: TrainedModel, clip: np.ndarray, number: int) -> np.ndarray:
    """What the probability of class `number` loses without each frame: float32 [time].

    A frame is replaced by the one before it, the first by the one after it; the only one by its mean colour.
    """
    hidden = np.repeat(clip[None], len(clip), axis=0)
    for frame, one in enumerate(hidden):
        one[frame] = (
            clip[frame - 1 if frame else 1]
            if len(clip) > 1
            else clip[0].mean((0, 1)).astype(np.uint8)
        )
    before = float(model.predict_clips(clip[None])[0, number])
    return (before - model.predict_clips(hidden)[:, number]).astype(np.float32)
