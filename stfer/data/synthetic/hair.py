"""Hair of a person: its colour, hairline, height, brows and beard, by place on the average head."""

from collections.abc import Mapping

import numpy as np

from stfer.data.synthetic.expressions import smoothstep
from stfer.data.synthetic.head import Head
from stfer.data.synthetic.identities import Identity
from stfer.data.synthetic.texture import bump, noise, tone

HAIR_TONES = np.array(
    [(0.07, 0.06, 0.06), (0.20, 0.14, 0.10), (0.38, 0.27, 0.17), (0.66, 0.53, 0.36)]
)


def hair_colour(identity: Identity) -> np.ndarray:
    """The person's hair colour, float [3]."""
    look = identity.look
    place = 0.22 * look["hair_tone"] if look["dark_hair"] else look["hair_tone"]
    place *= 1 - 0.8 * min(identity.african + identity.asian, 1)
    colour = tone(HAIR_TONES, place)
    if look["hair_red"] > 0.88 and not look["dark_hair"]:
        colour = colour * np.array([1.25, 0.9, 0.7])
    return colour + look["grey"] * 0.8 * (np.array([0.66, 0.65, 0.64]) - colour)


def hairline(place: np.ndarray, identity: Identity) -> np.ndarray:
    """Signed height above the hairline in decimetres at places [..., 3] of the average head."""
    look = identity.look
    angle = np.degrees(np.arctan2(np.abs(place[..., 0]), place[..., 2] - 0.45))
    rise = 0.16 * (look["hairline"] - 0.5) + 0.1 * identity.male * identity.age
    temples = 0.12 * look["hairline"] * identity.male
    sideburn = 7.25 - 0.25 * (look["hair_curl"] > 0.6) * (identity.male > 0.5)
    heights = np.array(
        [8.0 + rise, 7.98 + rise, 7.82 + rise + temples, 7.62, sideburn, 7.35, 6.9, 6.5]
    )
    if look["fringe"]:
        heights[:3] = np.array([7.72, 7.74, 7.66]) + 0.14 * look["hairline"]
    if look["bald"]:
        heights[:5] = np.array([8.9, 8.9, 8.9, 8.3, 7.6])
    angles = np.array([0, 20, 42, 58, 74, 95, 120, 180])
    return place[..., 1] - np.interp(angle, angles, heights)


def hair_height(identity: Identity, head: Head) -> np.ndarray:
    """How far hair lifts each vertex, float32 [vertices]: thin at the hairline, uneven for curls."""
    look = identity.look
    scalp = smoothstep((hairline(head.vertices, identity) + 0.02) / 0.3)
    # Waves of a few centimetres; noise by vertex would tear the outline.
    rng = np.random.default_rng(identity.seed + 1)
    waves = np.zeros(len(head.vertices))
    for _ in range(8):
        direction = rng.normal(0, 6, 3)
        waves += np.sin(head.vertices @ direction + rng.uniform(0, 2 * np.pi))
    volume = 0.03 + 0.14 * look["hair_volume"] * (1 - 0.8 * look["bald"])
    height = scalp * volume * (1 + 0.08 * look["hair_curl"] * waves)
    return height.astype(np.float32)


def brow_mask(place: np.ndarray, look: Mapping[str, float], rng: np.random.Generator) -> np.ndarray:
    """Opacity of the brows, [height, width]."""
    x, y = np.abs(place[..., 0]), place[..., 1]
    inner = 0.11 + 0.07 * look["brow_gap"]
    along = (x - inner) / (0.60 - inner)
    arch = 0.01 + 0.05 * look["brow_arch"]
    middle = (
        7.488
        + 0.05 * (look["brow_height"] - 0.5)
        + arch * np.sin(np.pi * np.clip(along, 0, 1) ** 1.2)
    )
    middle = middle - 0.05 * np.clip(along - 0.55, 0, 1)
    thickness = (0.026 + 0.03 * look["brow_thickness"]) * (0.95 - 0.6 * np.clip(along, 0, 1))
    across = bump((y - middle) / thickness, 0.75)
    ends = smoothstep((along + 0.06) / 0.12) * smoothstep((1.02 - along) / 0.2)
    # The hairs lie along the brow; the texture's columns run along y, its rows along x.
    strands = noise(rng, x.shape, (6.0, 1.7))
    density = 0.55 + 0.45 * look["brow_density"]
    return np.clip(across * ends * (density + 0.18 * strands), 0, 1) * (place[..., 2] > 0.8)


def beard_mask(place: np.ndarray, lips: np.ndarray, style: float) -> np.ndarray:
    """Where a beard grows, [height, width].

    Args:
        place: float32 [height, width, 3], place of each texel on the average head.
        lips: float32 [height, width] in [0, 1].
        style: from 0 to 1: all of it up to 0.5, then moustache, goatee, and chin and jaw without moustache.
    """
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    jaw = smoothstep((6.72 + 0.55 * np.clip(x - 0.25, 0, 1) - y) / 0.14)
    moustache = bump(y - 6.768 + 0.35 * np.clip(x - 0.08, 0, 1), 0.026)
    moustache = moustache * smoothstep((0.30 - x) / 0.08)
    chin = jaw * smoothstep((0.24 - x) / 0.1)
    throat = smoothstep((y - 6.05) / 0.2) * smoothstep((z - 0.45) / 0.3)
    if style < 0.5:
        beard = np.maximum(jaw, moustache)
    elif style < 0.7:
        beard = moustache
    else:
        beard = np.maximum(chin, moustache) if style < 0.87 else jaw
    return np.clip(beard, 0, 1) * throat * (1 - lips)
