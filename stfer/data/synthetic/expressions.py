"""Performances: how a person's face units, head and eyes move over the frames of one sequence.

As in CK+, a sequence starts neutral and ends at the apex. Each unit rises as fast as measured on recorded faces:
ONSET_TIMES, in seconds, from 10 to 90 % of its way. The set has FRAME_RATE frames a second, half of a usual
camera's: so 15 to 30 frames hold a whole smile, and the frame 15 before the end, which late fusion takes for
neutral (the paper, section IV-B), is neutral or nearly so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic import calm
from stfer.data.synthetic.head import load_head
from stfer.data.synthetic.recipes import VARIANTS, both_sides, mirrored

NEUTRAL = "neutral"
FRAME_RATE = 15.0  # Frames a second of the set.
MIN_FRAMES, MAX_FRAMES = 15, 30
# Seconds from 10 to 90 % of the apex: lips and cheeks, brows and wide eyes, jaw.
ONSET_TIMES = {"mouth": (0.37, 0.90), "brow": (0.20, 0.33), "jaw": (0.28, 0.47)}
INTENSITIES = (0.3, 1.15)
# Decimetres that an apex moves some point of the skin at least, so that it can be seen: 3.4 pixels.
MIN_REACH = 0.04
LID_UNITS = tuple(
    f"eye{way}{side}" for way in ("Blink", "LookUp", "LookDown") for side in ("Left", "Right")
)
LOOK_RANGE = 0.5  # Radians that a whole eyeLookUp or eyeLookDown stands for.
# Beyond this most targets tear; those of the brows and mouth corners move little.
UNIT_LIMIT = 1.15
UNIT_LIMITS = {
    "browInnerUp": 1.5,
    "browOuterUp": 1.4,
    "browDown": 1.3,
    "mouthFrown": 1.3,
    "mouthSmile": 1.25,
}
# A resting mouth that turns down gives way to a smile, and so on.
ANTAGONISTS = (
    ("mouthFrown", "mouthSmile"),
    ("mouthSmile", "mouthFrown"),
    ("browDown", "browOuterUp"),
    ("eyeSquint", "cheekSquint"),  # Both together would shut the eyes.
)


@dataclass(frozen=True)
class Performance:
    """How one sequence is played, frame by frame.

    Attributes:
        units: names of the face units.
        weights: float32 [frames, units], the identity's resting expression included.
        rotation: float32 [frames, 3], head pitch, yaw, roll in radians.
        shift: float32 [frames, 3], head translation in decimetres.
        gaze: float32 [frames, 2], eye yaw and pitch in radians, relative to the camera.
        progress: float32 [frames], share of the apex that is reached, 0 to 1; 0 throughout if nothing is expressed.
        apexes: (emotion, way of VARIANTS, intensity, frame) of each expression, in order.
    """

    units: tuple[str, ...]
    weights: np.ndarray
    rotation: np.ndarray
    shift: np.ndarray
    gaze: np.ndarray
    progress: np.ndarray
    apexes: tuple[tuple[str, str, float, int], ...] = ()

    def __len__(self) -> int:
        return len(self.weights)


def smoothstep(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def group_of(unit: str) -> str:
    """Which of ONSET_TIMES a face unit follows."""
    if unit.startswith(("brow", "eyeWide")):
        return "brow"
    return "jaw" if unit.startswith(("jaw", "mouthFunnel")) else "mouth"


def draw_onsets(rng: np.random.Generator, units: Mapping[str, float]) -> dict[str, tuple]:
    """When each group of units rises, relative to the apex: group -> (start, end, skew), seconds below 0.

    The slowest group takes its whole time before the apex; the others lie within it, nearer to its end.
    """
    rises = {}
    for group, (least, most) in ONSET_TIMES.items():
        share = rng.beta(1.2, 2.5) if group == "mouth" else rng.random()
        skew = np.exp(rng.normal(0, 0.15))
        # Where smoothstep(x) ** skew is 0.1 and 0.9.
        low, high = (
            0.5 - np.sin(np.arcsin(1 - 2 * level ** (1 / skew)) / 3) for level in (0.1, 0.9)
        )
        rises[group] = (least + share * (most - least)) / (high - low), skew
    end, places = -rng.uniform(0, 0.1), rng.uniform(0, 0.7, len(rises))
    longest = max(rises[group_of(unit)][0] for unit in units)
    onsets = {}
    for (group, (length, skew)), place in zip(rises.items(), places, strict=True):
        stop = end - place * max(longest - length, 0)
        onsets[group] = (stop - length, stop, skew)
    return onsets


def rise(times: np.ndarray, onset: tuple[float, float, float]) -> np.ndarray:
    """Share of the apex at `times` relative to it, float [frames]: 0 before the onset, 1 after it."""
    start, end, skew = onset
    return smoothstep((times - start) / (end - start)) ** skew


def wander(rng: np.random.Generator, frames: int, channels: int, scale: float) -> np.ndarray:
    """Smooth random drift, float [frames, channels], zero at the first frame, about `scale` at the last."""
    steps = rng.normal(size=(frames, channels))
    path = np.cumsum(steps, axis=0)
    kernel = np.hanning(9) / np.hanning(9).sum()
    padded = np.pad(path, ((4, 4), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(column, kernel, "valid") for column in padded.T], axis=1)
    return (smooth - smooth[0]) * scale / np.sqrt(frames)


def draw_intensity(rng: np.random.Generator) -> float:
    """Intensity of an apex within INTENSITIES: a quarter weak (below 0.6), most of the others around 0.9."""
    least, most = INTENSITIES
    weak, share = rng.random() < 0.25, rng.beta(2, 2)
    return float(least + 0.3 * share if weak else 0.6 + (most - 0.6) * share)


def apex_weights(
    rng: np.random.Generator,
    emotion: str,
    variant: str | None = None,
    intensity: float | None = None,
) -> tuple[dict[str, float], str, float]:
    """One apex: a way of the emotion with random intensity, mix and asymmetry.

    Args:
        rng: the sequence's stream.
        emotion: one of EMOTIONS_6.
        variant: a key of VARIANTS[emotion]; drawn if None.
        intensity: drawn from INTENSITIES if None.

    Returns:
        The weights of the face units, the way, and the intensity. Both may be asked for or drawn; an apex that would
        move nothing by MIN_REACH is played stronger, and its intensity is what it was raised to.
    """
    names = list(VARIANTS[emotion])
    drawn, strength = names[rng.integers(len(names))], draw_intensity(rng)
    variant = drawn if variant is None else variant
    strength = strength if intensity is None else intensity
    recipe = both_sides(VARIANTS[emotion][variant])
    if rng.random() < 0.5:
        recipe = mirrored(recipe)
    left = rng.normal(0, 0.08)
    mix: dict[str, float] = {}
    weights: dict[str, float] = {}
    for name, weight in recipe.items():
        stem = name.removesuffix("Left").removesuffix("Right")
        mix.setdefault(stem, np.clip(rng.normal(1, 0.18), 0.55, 1.45))
        side = 1 + left if name.endswith("Left") else 1 - left if name.endswith("Right") else 1
        weights[name] = float(weight * mix[stem] * (side + rng.normal(0, 0.05)))
    # A trace of another expression, as posers mix them.
    if rng.random() < 0.2:
        other = VARIANTS[EMOTIONS_6[rng.integers(len(EMOTIONS_6))]]
        trace = rng.uniform(0.05, 0.15)
        for name, weight in both_sides(next(iter(other.values()))).items():
            weights[name] = weights.get(name, 0.0) + trace * weight
    head = load_head()
    moves = np.linalg.norm(head.displacement(weights)[head.vertices_of("skin")], axis=1)
    strength = max(strength, min(MIN_REACH / float(moves.max()), INTENSITIES[1]))
    return {name: weight * strength for name, weight in weights.items()}, variant, strength


def draw_pose(rng: np.random.Generator, frames: int, turn: float | None) -> np.ndarray:
    """Head pitch, yaw and roll over the frames, float [frames, 3], radians.

    Most people face the camera within a few degrees; every seventh sequence is turned, up to 20 degrees.

    Args:
        rng: the sequence's stream.
        frames: their number.
        turn: degrees of yaw to either side; drawn if None.
    """
    spread = np.array([5.0, 10.0, 4.5]) if rng.random() < 0.15 else np.array([2.5, 3.0, 2.0])
    start = rng.normal(0, spread).clip([-14, -20, -20], [14, 20, 20])
    drift = wander(rng, frames, 3, rng.uniform(0.8, 2.5))
    if turn is not None:
        start[1] = turn if start[1] > 0 else -turn
    return np.radians(start + drift)


def _yielding(
    unit: str, resting: Mapping[str, float], units: Mapping[str, np.ndarray]
) -> np.ndarray | float:
    """What is left of a resting unit while an expression pulls the other way: 1 at rest, a third at most pull."""
    for own, against in ANTAGONISTS:
        if unit.startswith(own):
            pull = units.get(unit.replace(own, against), 0.0)
            return resting.get(unit, 0.0) * (1 - 0.67 * np.clip(pull, 0, 1))
    return resting.get(unit, 0.0)


def finish(
    rng: np.random.Generator,
    times: np.ndarray,
    units: Mapping[str, np.ndarray],
    resting: Mapping[str, float],
    progress: np.ndarray,
    apexes: tuple[tuple[str, str, float, int], ...],
    turn: float | None = None,
) -> Performance:
    """Add what calm faces do, the head, the eyes and their lids to the curves of an expression.

    Args:
        rng: the sequence's stream.
        times: float [frames], seconds from the first frame.
        units: face unit -> float [frames], what the expression adds to the resting face.
        resting: face unit -> weight that the neutral face shows.
        progress: as in Performance.
        apexes: as in Performance.
        turn: degrees of yaw; drawn if None.
    """
    frames, expressed = len(times), bool(apexes)
    names = tuple(sorted({*units, *resting, *LID_UNITS, *calm.MOUTH_UNITS}))
    still = (1 - progress)[:, None]
    weights = np.zeros((frames, len(names)))
    for column, name in enumerate(names):
        weights[:, column] = _yielding(name, resting, units) + units.get(name, 0.0)
    weights *= 1 + wander(rng, frames, len(names), 0.04)
    mouth = calm.mouth(rng, times, busy=0.25 if expressed else 0.75)
    if expressed:
        mouth *= smoothstep(times / 0.2)[:, None]  # The first frame is the resting face.
    weights[:, [names.index(unit) for unit in calm.MOUTH_UNITS]] += mouth * still**3
    limits = [
        UNIT_LIMITS.get(n.removesuffix("Left").removesuffix("Right"), UNIT_LIMIT) for n in names
    ]
    weights = np.clip(weights, 0, limits)
    opened = 1 - smoothstep((progress - 0.3) / 0.4)  # An apex is not blinked away.
    closure = calm.blinks(rng, times, often=0.25 if expressed else 0.5) * opened
    for side in ("Left", "Right"):
        column = names.index(f"eyeBlink{side}")
        weights[:, column] = np.maximum(weights[:, column], closure)
    rotation = draw_pose(rng, frames, turn)
    shift = rng.normal(0, [0.06, 0.05, 0.15]) + wander(rng, frames, 3, 0.04)
    gaze = rng.normal(0, np.radians(2.5), 2) + wander(rng, frames, 2, np.radians(2.0))
    gaze = gaze + calm.glances(rng, times, often=0.25 if expressed else 0.6) * still
    gaze[:, 1] -= 0.7 * LOOK_RANGE * weights[:, names.index("eyeLookDownLeft")]
    # Lids follow the eyes; looking into the camera with a lowered head is looking up.
    upwards = (gaze[:, 1] + rotation[:, 0]) / LOOK_RANGE
    for way, amount in (("Up", upwards), ("Down", -upwards)):
        for side in ("Left", "Right"):
            weights[:, names.index(f"eyeLook{way}{side}")] = np.clip(amount, 0, 1)
    w, r, s, g, p = (a.astype(np.float32) for a in (weights, rotation, shift, gaze, progress))
    return Performance(names, w, r, s, g, p, apexes)


def expression_curves(
    apex: Mapping[str, float], times: np.ndarray, onsets: Mapping[str, tuple]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each unit's way to its apex at `times` relative to it, and the mean share reached, weighted by the apex."""
    curves = {name: weight * rise(times, onsets[group_of(name)]) for name, weight in apex.items()}
    reached = sum((np.abs(c) for c in curves.values()), np.zeros(times.shape))
    return curves, reached / sum(map(abs, apex.values()))


def perform(
    rng: np.random.Generator,
    emotion: str,
    resting: Mapping[str, float],
    variant: str | None = None,
    intensity: float | None = None,
    turn: float | None = None,
) -> Performance:
    """Draw one sequence: neutral to apex, or a calm face that expresses nothing.

    Args:
        rng: the sequence's own random stream.
        emotion: one of EMOTIONS_6, or NEUTRAL.
        resting: face units that the person's neutral face already shows.
        variant: as in `apex_weights`; drawn if None.
        intensity: as in `apex_weights`; drawn if None.
        turn: as in `draw_pose`; drawn if None.
    """
    if emotion == NEUTRAL:
        frames = int(rng.integers(MIN_FRAMES, MAX_FRAMES + 1))
        times = np.arange(frames) / FRAME_RATE
        return finish(rng, times, {}, resting, np.zeros(frames), (), turn)
    apex, way, strength = apex_weights(rng, emotion, variant, intensity)
    onsets = draw_onsets(rng, apex)
    first = min(onsets[group_of(unit)][0] for unit in apex)
    frames = int(np.ceil((rng.uniform(0.1, 0.9) - first) * FRAME_RATE)) + 1
    frames = int(np.clip(frames, MIN_FRAMES, MAX_FRAMES))
    times = np.arange(frames) / FRAME_RATE
    curves, progress = expression_curves(apex, times - times[-1], onsets)
    apexes = ((emotion, way, strength, frames - 1),)
    return finish(rng, times, curves, resting, progress, apexes, turn)
