"""What a face does while it expresses nothing: blinks, glances, swallows, speaks, and lets the head drift.

These are the hard negatives of "neutral": the eyes and the mouth move, and no expression is meant. Nothing here
touches a unit of EXPRESSIVE. Durations are in seconds: a blink takes 0.25 to 0.4 (Schiffman 2001: 0.1 to 0.4),
glances last 0.25 to 0.7, speech opens the jaw 3 to 5 times a second (Chandrasekaran et al. 2009: 2 to 7).
"""

import numpy as np

# Units that only expressions move; the mouth of a speaker moves all others at times.
EXPRESSIVE = (
    "browDown", "browInnerUp", "browOuterUp", "cheekSquint", "eyeSquint", "eyeWide", "mouthFrown",
    "mouthSmile", "mouthStretch", "noseSneer",
)  # fmt: skip
SPEECH_UNITS = (
    "jawOpen",
    "mouthFunnel",
    "mouthPucker",
    "mouthRollLower",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
)
SWALLOW_UNITS = (
    "mouthPressLeft", "mouthPressRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
)  # fmt: skip
STRETCH = 2.0  # Seconds.
MOUTH_UNITS = tuple(sorted({*SPEECH_UNITS, *SWALLOW_UNITS}))


def blinks(rng: np.random.Generator, times: np.ndarray, often: float) -> np.ndarray:
    """Closure of the lids, float [frames] in [0, 0.95].

    Args:
        rng: the sequence's stream.
        times: float [frames], seconds.
        often: blinks a second, on average.
    """
    closure = np.zeros(len(times))
    for _ in range(rng.poisson(often * (times[-1] - times[0] + 0.2))):
        middle = rng.uniform(times[0] - 0.1, times[-1] + 0.1)
        closing, opening = rng.uniform(0.1, 0.14), rng.uniform(0.15, 0.26)
        side = np.where(times < middle, closing, opening)
        closure = np.maximum(closure, 0.95 * np.clip(1.25 - np.abs(times - middle) / side, 0, 1))
    return closure


def glances(rng: np.random.Generator, times: np.ndarray, often: float) -> np.ndarray:
    """Where the eyes go besides the camera, float [frames, 2], yaw and pitch in radians."""
    away = np.zeros((len(times), 2))
    for _ in range(rng.poisson(often * (times[-1] - times[0]))):
        start, duration = rng.uniform(times[0], times[-1]), rng.uniform(0.25, 0.7)
        to = rng.normal(0, np.radians([9, 5])).clip(np.radians([-18, -10]), np.radians([18, 8]))
        inside = np.clip((duration / 2 - np.abs(times - start - duration / 2)) / 0.05 + 1, 0, 1)
        away = np.where(inside[:, None] > 0, inside[:, None] * to, away)
    return away


def swallow(rng: np.random.Generator, times: np.ndarray, start: float) -> np.ndarray:
    """Weights of MOUTH_UNITS by one swallow from `start` on, float [frames, units]."""
    duration = rng.uniform(0.5, 0.9)
    hump = np.sin(np.pi * np.clip((times - start) / duration, 0, 1)) ** 2
    weights = np.zeros((len(times), len(MOUTH_UNITS)))
    for unit, most in zip(SWALLOW_UNITS, (0.5, 0.5, 0.35, 0.25, 0.3), strict=True):
        weights[:, MOUTH_UNITS.index(unit)] = rng.uniform(0.4, 1) * most * hump
    return weights


def speech(rng: np.random.Generator, times: np.ndarray, start: float, end: float) -> np.ndarray:
    """Weights of MOUTH_UNITS of a mouth that speaks from `start` to `end`, float [frames, units]."""
    weights = np.zeros((len(times), len(MOUTH_UNITS)))
    loud, moment = rng.uniform(0.5, 1), start
    while moment < end:
        duration = rng.uniform(0.2, 0.33)  # One syllable.
        hump = np.sin(np.pi * np.clip((times - moment) / duration, 0, 1)) ** 2
        open_, round_, spread = rng.uniform(0.04, 0.22), rng.random(), rng.random()
        shape = {"jawOpen": open_, "mouthRollLower": 0.25 * (rng.random() < 0.2)}
        if round_ > 0.55:
            shape |= {"mouthFunnel": 0.35 * round_, "mouthPucker": 0.4 * (round_ - 0.55)}
        for side in ("Left", "Right"):
            shape[f"mouthLowerDown{side}"] = 0.4 * spread
            shape[f"mouthUpperUp{side}"] = 0.15 * spread
        for unit, weight in shape.items():
            weights[:, MOUTH_UNITS.index(unit)] += loud * weight * hump
        moment += duration * rng.uniform(0.8, 1.1)
    return weights


def mouth(rng: np.random.Generator, times: np.ndarray, busy: float) -> np.ndarray:
    """Weights of MOUTH_UNITS of a calm mouth that is still, speaks or swallows, float [frames, units].

    Args:
        rng: the sequence's stream.
        times: float [frames], seconds.
        busy: how often it is not still, in [0, 1]; drawn anew every STRETCH seconds.
    """
    weights = np.zeros((len(times), len(MOUTH_UNITS)))
    for first in np.arange(times[0], times[-1], STRETCH):
        choice, start = rng.random() / busy, rng.uniform(first, first + STRETCH / 2)
        if choice < 0.65:
            weights += speech(rng, times, start, rng.uniform(start + 0.3, first + STRETCH))
        elif choice < 1:
            weights += swallow(rng, times, start)
    return weights
