"""The six expressions in time: recipes of face units, their variants, onset curves, blinks and head drift.

The recipes follow the action units that the basic expressions are usually coded with (Ekman, Friesen and Hager,
*FACS*, 2002; Lucey et al., *CK+*, 2010, table 1), in the names of ARKit's blend shapes. As in CK+, a sequence
starts neutral and ends at the apex.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stfer.data.sequence import EMOTIONS_6

# Each emotion is played in one of several ways. `*` stands for Left and Right.
VARIANTS: Mapping[str, tuple[Mapping[str, float], ...]] = {
    "anger": (
        {"browDown*": 1, "eyeSquint*": 0.7, "mouthPress*": 0.8, "noseSneer*": 0.3,
         "mouthRollUpper": 0.35, "mouthRollLower": 0.35, "mouthShrugLower": 0.3},
        {"browDown*": 1, "eyeWide*": 0.35, "mouthFunnel": 0.35, "mouthUpperUp*": 0.35,
         "mouthLowerDown*": 0.7, "jawOpen": 0.12, "noseSneer*": 0.35},
    ),
    "disgust": (
        {"noseSneer*": 1, "mouthUpperUp*": 0.8, "browDown*": 0.6, "eyeSquint*": 0.6,
         "mouthShrugLower": 0.3, "cheekSquint*": 0.4},
        {"noseSneer*": 1, "mouthUpperUp*": 0.9, "browDown*": 0.45, "eyeSquint*": 0.7,
         "jawOpen": 0.22, "mouthLowerDown*": 0.3, "cheekSquint*": 0.5},
    ),
    "fear": (
        {"browInnerUp": 1, "browOuterUp*": 0.4, "browDown*": 0.4, "eyeWide*": 1,
         "mouthStretch*": 1, "jawOpen": 0.25},
        {"browInnerUp": 0.9, "browOuterUp*": 0.6, "browDown*": 0.35, "eyeWide*": 1,
         "mouthStretch*": 0.9, "mouthLowerDown*": 0.7, "jawOpen": 0.1},
    ),
    "happiness": (
        {"mouthSmile*": 1, "cheekSquint*": 0.8, "mouthDimple*": 0.3, "jawOpen": 0.15,
         "mouthUpperUp*": 0.45, "eyeSquint*": 0.25},
        {"mouthSmile*": 1, "cheekSquint*": 0.7, "mouthDimple*": 0.4, "eyeSquint*": 0.35},
    ),
    "sadness": (
        {"browInnerUp": 1, "mouthFrown*": 1, "mouthShrugLower": 0.6, "browDown*": 0.2},
        {"browInnerUp": 0.9, "mouthFrown*": 0.9, "mouthRollLower": 0.3, "browDown*": 0.3,
         "eyeSquint*": 0.35, "mouthPress*": 0.25, "eyeLookDown*": 0.35},
    ),
    "surprise": (
        {"browInnerUp": 1, "browOuterUp*": 1, "eyeWide*": 1, "jawOpen": 0.75},
        {"browInnerUp": 0.8, "browOuterUp*": 1, "eyeWide*": 0.7, "jawOpen": 0.52, "mouthFunnel": 0.3},
    ),
}  # fmt: skip

MIN_FRAMES, MAX_FRAMES = 15, 30
LID_UNITS = tuple(
    f"eye{way}{side}" for way in ("Blink", "LookUp", "LookDown") for side in ("Left", "Right")
)
LOOK_RANGE = 0.5  # Radians that a whole eyeLookUp or eyeLookDown stands for.
UNIT_LIMIT = 1.15  # Beyond this the targets tear.


@dataclass(frozen=True)
class Performance:
    """How one sequence is played, frame by frame.

    Attributes:
      units: names of the face units.
      weights: float32 [frames, units], the identity's resting expression included.
      rotation: float32 [frames, 3], head pitch, yaw, roll in radians.
      shift: float32 [frames, 3], head translation in decimetres.
      gaze: float32 [frames, 2], eye yaw and pitch in radians, relative to the camera.
    """

    units: tuple[str, ...]
    weights: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    gaze: np.ndarray


def both_sides(recipe: Mapping[str, float]) -> dict[str, float]:
    """Replace `name*` by nameLeft and nameRight."""
    sides = {}
    for name, weight in recipe.items():
        if name.endswith("*"):
            sides |= {f"{name[:-1]}Left": weight, f"{name[:-1]}Right": weight}
        else:
            sides[name] = weight
    return sides


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def onset_curve(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Intensity of the expression over the frames, float [frames], from 0 to 1 at the last frame.

    The rise takes 8 to 14 frames and ends within the last two, so that the last ten frames hold most of it.
    """
    end = frames - 1 - rng.uniform(0, 2)
    start = max(end - rng.uniform(8, 14), 0.5)
    skew = np.exp(rng.normal(0, 0.2))
    return smoothstep((np.arange(frames) - start) / (end - start)) ** skew


def wander(rng: np.random.Generator, frames: int, channels: int, scale: float) -> np.ndarray:
    """Smooth random drift, float [frames, channels], zero at the first frame, about `scale` at the last."""
    steps = rng.normal(size=(frames, channels))
    path = np.cumsum(steps, axis=0)
    kernel = np.hanning(9) / np.hanning(9).sum()
    padded = np.pad(path, ((4, 4), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
    return (smooth - smooth[0]) * scale / np.sqrt(frames)


def apex_weights(rng: np.random.Generator, emotion: str) -> dict[str, float]:
    """One apex: a variant of the emotion with random strength, mix and asymmetry."""
    variants = VARIANTS[emotion]
    recipe = both_sides(variants[rng.integers(len(variants))])
    strength = rng.uniform(0.85, 1.15)
    left = rng.normal(0, 0.08)
    mix = {}
    weights = {}
    for name, weight in recipe.items():
        stem = name.removesuffix("Left").removesuffix("Right")
        mix.setdefault(stem, np.clip(rng.normal(1, 0.15), 0.6, 1.4))
        side = 1 + left if name.endswith("Left") else 1 - left if name.endswith("Right") else 1
        weights[name] = float(weight * strength * mix[stem] * side)
    # A trace of another expression, as posers mix them.
    if rng.random() < 0.25:
        other = EMOTIONS_6[rng.integers(len(EMOTIONS_6))]
        trace = rng.uniform(0.05, 0.2)
        for name, weight in both_sides(VARIANTS[other][0]).items():
            weights[name] = weights.get(name, 0.0) + trace * weight
    return weights


def _blink(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Lid closure by a blink in the first half of some sequences, float [frames]."""
    closure = np.zeros(frames)
    if rng.random() < 0.3:
        middle = rng.uniform(1, frames / 2)
        closure = np.clip(1 - np.abs(np.arange(frames) - middle) / 2.2, 0, 1) * 0.9
    return closure


def perform(rng: np.random.Generator, emotion: str, resting: Mapping[str, float]) -> Performance:
    """Draw one neutral-to-apex sequence.

    Args:
      rng: the sequence's own random stream.
      emotion: one of EMOTIONS_6.
      resting: face units that the person's neutral face already shows.
    """
    frames = int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1))
    apex = apex_weights(rng, emotion)
    units = tuple(sorted({*apex, *resting, *LID_UNITS}))
    upper = onset_curve(rng, frames)
    lag = rng.integers(-1, 2)  # The mouth leads or follows the brows by a frame.
    lower = np.concatenate([upper[:1].repeat(max(lag, 0)), upper, upper[-1:].repeat(max(-lag, 0))])
    lower = lower[max(-lag, 0) :][:frames]
    lower[0] = 0
    weights = np.zeros((frames, len(units)))
    tremor = 1 + wander(rng, frames, len(units), 0.06)
    for column, name in enumerate(units):
        curve = lower if name.startswith(("mouth", "jaw")) else upper
        weights[:, column] = resting.get(name, 0.0) + apex.get(name, 0.0) * curve
    weights = np.clip(weights * tremor, 0, UNIT_LIMIT)
    blink = _blink(rng, frames)
    for side in ("Left", "Right"):
        column = units.index(f"eyeBlink{side}")
        weights[:, column] = np.maximum(weights[:, column], blink)
    start = rng.normal(0, np.radians([2.0, 2.5, 1.5]))
    rotation = start + wander(rng, frames, 3, np.radians(1.5))
    shift = rng.normal(0, [0.06, 0.05, 0.15]) + wander(rng, frames, 3, 0.04)
    gaze = rng.normal(0, np.radians(2.5), 2) + wander(rng, frames, 2, np.radians(2.0))
    gaze[:, 1] -= 0.7 * LOOK_RANGE * weights[:, units.index("eyeLookDownLeft")]
    # Lids follow the eyes; looking into the camera with a lowered head is looking up.
    upwards = (gaze[:, 1] + rotation[:, 0]) / LOOK_RANGE
    for way, amount in (("Up", upwards), ("Down", -upwards)):
        for side in ("Left", "Right"):
            weights[:, units.index(f"eyeLook{way}{side}")] = np.clip(amount, 0, 1)
    as_float = (array.astype(np.float32) for array in (weights, rotation, shift, gaze))
    return Performance(units, *as_float)
