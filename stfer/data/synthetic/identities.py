"""People of the synthetic set: the shape of a head, what its neutral face already shows, its colours.

A shape is a convex mix of ancestry, sex and age targets, a little body weight, and a random sum of some forty
local targets. `resting` are face units that the neutral face shows: a low brow or a downturned mouth makes a calm
person look angry or sad, so that one frame tells less than the change from the first frame to the last.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stfer.data.synthetic.recipes import both_sides

ANCESTRIES = ("african", "asian", "caucasian")

# Local targets drawn for each identity: (decreasing name, increasing name, spread). `{s}` is set to l and r alike.
LOCAL_PAIRS: tuple[tuple[str, str, float], ...] = (
    ("head-scale-horiz-decr", "head-scale-horiz-incr", 0.25),
    ("head-scale-vert-decr", "head-scale-vert-incr", 0.2),
    ("head-fat-decr", "head-fat-incr", 0.3),
    ("forehead-scale-vert-decr", "forehead-scale-vert-incr", 0.3),
    ("forehead-temple-decr", "forehead-temple-incr", 0.3),
    ("forehead-nubian-decr", "forehead-nubian-incr", 0.3),
    ("forehead-trans-backward", "forehead-trans-forward", 0.25),
    ("eyebrows-angle-down", "eyebrows-angle-up", 0.5),
    ("eyebrows-trans-down", "eyebrows-trans-up", 0.5),
    ("eyebrows-trans-backward", "eyebrows-trans-forward", 0.4),
    ("{s}-eye-scale-decr", "{s}-eye-scale-incr", 0.25),
    ("{s}-eye-trans-in", "{s}-eye-trans-out", 0.25),
    ("{s}-eye-trans-down", "{s}-eye-trans-up", 0.15),
    ("{s}-eye-height1-decr", "{s}-eye-height1-incr", 0.35),
    ("{s}-eye-height2-decr", "{s}-eye-height2-incr", 0.35),
    ("{s}-eye-height3-decr", "{s}-eye-height3-incr", 0.35),
    ("{s}-eye-corner1-down", "{s}-eye-corner1-up", 0.3),
    ("{s}-eye-corner2-down", "{s}-eye-corner2-up", 0.35),
    ("{s}-eye-bag-decr", "{s}-eye-bag-incr", 0.35),
    ("{s}-eye-eyefold-down", "{s}-eye-eyefold-up", 0.35),
    ("{s}-eye-eyefold-concave", "{s}-eye-eyefold-convex", 0.35),
    ("{s}-cheek-bones-decr", "{s}-cheek-bones-incr", 0.4),
    ("{s}-cheek-inner-decr", "{s}-cheek-inner-incr", 0.3),
    ("{s}-cheek-volume-decr", "{s}-cheek-volume-incr", 0.4),
    ("{s}-cheek-trans-down", "{s}-cheek-trans-up", 0.3),
    ("{s}-ear-scale-decr", "{s}-ear-scale-incr", 0.3),
    ("{s}-ear-wing-decr", "{s}-ear-wing-incr", 0.35),
    ("{s}-ear-trans-down", "{s}-ear-trans-up", 0.2),
    ("nose-scale-horiz-decr", "nose-scale-horiz-incr", 0.35),
    ("nose-scale-vert-decr", "nose-scale-vert-incr", 0.35),
    ("nose-scale-depth-decr", "nose-scale-depth-incr", 0.3),
    ("nose-hump-decr", "nose-hump-incr", 0.35),
    ("nose-point-down", "nose-point-up", 0.35),
    ("nose-point-width-decr", "nose-point-width-incr", 0.35),
    ("nose-width1-decr", "nose-width1-incr", 0.3),
    ("nose-width3-decr", "nose-width3-incr", 0.3),
    ("nose-curve-concave", "nose-curve-convex", 0.3),
    ("nose-flaring-decr", "nose-flaring-incr", 0.3),
    ("nose-trans-down", "nose-trans-up", 0.25),
    ("mouth-scale-horiz-decr", "mouth-scale-horiz-incr", 0.35),
    ("mouth-trans-down", "mouth-trans-up", 0.25),
    ("mouth-angles-down", "mouth-angles-up", 0.4),
    ("mouth-upperlip-height-decr", "mouth-upperlip-height-incr", 0.35),
    ("mouth-lowerlip-height-decr", "mouth-lowerlip-height-incr", 0.35),
    ("mouth-upperlip-volume-decr", "mouth-upperlip-volume-incr", 0.35),
    ("mouth-lowerlip-volume-decr", "mouth-lowerlip-volume-incr", 0.35),
    ("mouth-cupidsbow-decr", "mouth-cupidsbow-incr", 0.35),
    ("chin-width-decr", "chin-width-incr", 0.3),
    ("chin-height-decr", "chin-height-incr", 0.25),
    ("chin-prominent-decr", "chin-prominent-incr", 0.3),
    ("chin-bones-decr", "chin-bones-incr", 0.3),
    ("chin-jaw-drop-decr", "chin-jaw-drop-incr", 0.25),
    ("neck-scale-horiz-decr", "neck-scale-horiz-incr", 0.3),
)
VARIETY = 0.8  # Scales all spreads above.
HEAD_SHAPES = (
    "oval",
    "round",
    "square",
    "rectangular",
    "diamond",
    "triangular",
    "invertedtriangular",
)
ASYMMETRIES = ("brown-1", "cheek-1", "eye-1", "eye-4", "jaw-1", "mouth-1", "nose-1", "temple-1")

# What a neutral face may already show, and how much of it at most; each resembles an expression.
RESTING: Mapping[str, Mapping[str, float]] = {
    "low brow": {"browDown*": 0.7},
    "narrow eyes": {"eyeSquint*": 0.6},
    "downturned mouth": {"mouthFrown*": 0.6},
    "worried brow": {"browInnerUp": 0.55},
    "raised brows": {"browInnerUp": 0.35, "browOuterUp*": 0.5},
    "wide eyes": {"eyeWide*": 0.6},
    "upturned mouth": {"mouthSmile*": 0.4},
    "raised upper lip": {"mouthUpperUp*": 0.4, "noseSneer*": 0.3},
    "pressed lips": {"mouthPress*": 0.5, "mouthRollLower": 0.25},
    "open mouth": {"jawOpen": 0.12, "mouthLowerDown*": 0.15},
    "stretched mouth": {"mouthStretch*": 0.4},
}


@dataclass(frozen=True)
class Identity:
    """One person: everything that stays the same over that person's sequences.

    Attributes:
        shape: target name -> weight.
        resting: face unit -> weight that the neutral face shows.
        resting_names: keys of RESTING that were drawn.
        male, age, african, asian, caucasian: the mix, each in [0, 1].
        melanin: 0 light to 1 dark skin.
        look: further appearance settings, floats, by name (see `appearance.py`).
        seed: of the person's texture noise.
    """

    shape: Mapping[str, float]
    resting: Mapping[str, float]
    resting_names: tuple[str, ...]
    male: float
    age: float
    african: float
    asian: float
    caucasian: float
    melanin: float
    look: Mapping[str, float]
    seed: int


def _macros(ancestry: np.ndarray, male: float, age: float, weight: float) -> dict[str, float]:
    """Weights of the ancestry-sex-age targets (they sum to one) and of body weight."""
    shape = {}
    build = "max" if weight > 0 else "min"
    for sex, of_sex in (("male", male), ("female", 1 - male)):
        for years, of_age in (("old", age), ("young", 1 - age)):
            for name, share in zip(ANCESTRIES, ancestry, strict=True):
                shape[f"{name}-{sex}-{years}"] = float(share * of_sex * of_age)
            shape[f"universal-{sex}-{years}-averagemuscle-{build}weight"] = float(
                abs(weight) * of_sex * of_age
            )
    return shape


def _local(rng: np.random.Generator) -> dict[str, float]:
    """Weights of the local targets."""
    shape: dict[str, float] = {}
    for lower, higher, spread in LOCAL_PAIRS:
        spread *= VARIETY
        value = float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread))
        name = higher if value > 0 else lower
        for side in "lr" if "{s}" in name else " ":
            shape[name.format(s=side)] = abs(value)
    shape[f"head-{HEAD_SHAPES[rng.integers(len(HEAD_SHAPES))]}"] = float(rng.uniform(0, 0.35))
    for name in ASYMMETRIES:
        shape[f"asym-{name}-{'lr'[rng.integers(2)]}"] = float(rng.uniform(0, 0.35))
    return shape


def _resting(rng: np.random.Generator) -> tuple[tuple[str, ...], dict[str, float]]:
    """Up to three resemblances of the neutral face: their names, and the sum of their units."""
    count = rng.choice(4, p=(0.15, 0.35, 0.3, 0.2))
    names = tuple(str(name) for name in rng.choice(list(RESTING), size=count, replace=False))
    units: dict[str, float] = {}
    for name in names:
        amount = rng.uniform(0.4, 0.85)
        for unit, weight in both_sides(RESTING[name]).items():
            units[unit] = units.get(unit, 0.0) + float(amount * weight)
    return names, units


def _look(rng: np.random.Generator, male: float, age: float, african: float) -> dict[str, float]:
    """Appearance settings: uniform numbers that `appearance.py` turns into colours and masks."""
    look = {
        name: float(rng.random())
        for name in (
            "redness", "mottle", "freckles", "lip_colour", "lip_red", "undertone", "hair_tone",
            "hair_red", "hairline", "hair_volume", "hair_curl", "brow_thickness", "brow_arch",
            "brow_height", "brow_density", "brow_gap", "eye_tone", "eye_blue", "eye_green",
            "pupil", "lashes", "wrinkles", "cloth_hue", "cloth_tone", "cloth_neck", "shine", "moles",
        )
    }  # fmt: skip
    look["beard"] = float(rng.random()) if male > 0.6 and rng.random() < 0.45 else 0.0
    look["long_hair"] = float(rng.random() < (0.08 if male > 0.5 else 0.6))
    bald = male > 0.5 and rng.random() < 0.12 + 0.3 * age
    look["bald"] = float(bald and not look["long_hair"])
    if look["long_hair"]:
        look["hairline"] *= 0.4
    look["grey"] = float(np.clip((age - 0.45) * 2 + rng.normal(0, 0.15), 0, 1))
    look["dark_hair"] = float(rng.random() < 0.55 + 0.4 * african)
    return look | _grooming(rng, male, look)


def _grooming(rng: np.random.Generator, male: float, look: Mapping[str, float]) -> dict[str, float]:
    """What a person wears: glasses, make-up, a style of beard, a fringe; strengths are 0 where it is not worn."""
    worn = {
        name: float(rng.random())
        for name in (
            "beard_style", "glasses_shape", "glasses_tone", "glasses_rim", "glasses_mirror",
            "glasses_size", "hair_length", "lipstick", "eyeshadow", "eyeliner", "rouge", "makeup_strength",
        )
    }  # fmt: skip
    worn["glasses"] = float(rng.random() < 0.2)
    wears = rng.random() < (0.03 if male > 0.5 else 0.5)
    worn["makeup"] = (0.3 + 0.7 * worn["makeup_strength"]) * wears
    fringe = rng.random() < (0.12 if male > 0.5 else 0.3)
    worn["fringe"] = float(fringe and not look["bald"])
    return worn


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw one person from that person's random stream."""
    ancestry = rng.dirichlet((0.45, 0.45, 0.55))
    african, asian, caucasian = (float(share) for share in ancestry)
    male = float(np.clip(rng.beta(0.5, 0.5), 0.05, 0.95))
    age = float(rng.beta(1.1, 1.8) * 0.85)
    weight = float(np.clip(rng.normal(0, 0.3), -0.6, 0.6))
    melanin = african * 0.8 + asian * 0.3 + caucasian * 0.12 + rng.normal(0, 0.08)
    names, resting = _resting(rng)
    return Identity(
        shape=_macros(ancestry, male, age, weight) | _local(rng),
        resting=resting,
        resting_names=names,
        male=male,
        age=age,
        african=african,
        asian=asian,
        caucasian=caucasian,
        melanin=float(np.clip(melanin, 0, 1)),
        look=_look(rng, male, age, african),
        seed=int(rng.integers(2**31)),
    )
