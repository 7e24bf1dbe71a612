"""What a person looks like: skin, lips, brows, hair and make-up painted into the head's texture, and clothes."""

from dataclasses import dataclass

import cv2
import numpy as np

from stfer.data.synthetic import makeup
from stfer.data.synthetic.expressions import smoothstep
from stfer.data.synthetic.hair import beard_mask, brow_mask, hair_colour, hair_height, hairline
from stfer.data.synthetic.head import Head, load_head
from stfer.data.synthetic.identities import Identity
from stfer.data.synthetic.texture import blend, bump, noise, places, tone
from stfer.data.synthetic.wrinkles import wrinkle_maps

# Skin from light to dark, square root of linear RGB in [0, 1] (about the Monk tones 2 to 10).
SKIN_TONES = np.array(
    [
        (0.95, 0.82, 0.74),
        (0.91, 0.75, 0.64),
        (0.83, 0.65, 0.52),
        (0.71, 0.52, 0.40),
        (0.56, 0.39, 0.30),
        (0.42, 0.29, 0.23),
    ]
)
IRIS_TONES = np.array(
    [(0.13, 0.08, 0.05), (0.32, 0.20, 0.10), (0.36, 0.40, 0.24), (0.34, 0.46, 0.58)]
)


@dataclass(frozen=True)
class Appearance:
    """What an identity looks like.

    Attributes:
        texture: uint8 [height, width, 3], RGB of the head's skin and scalp hair, square root of reflectance.
        skin, hair, iris, cloth: float [3], RGB, square root of reflectance.
        hair_height: float32 [vertices], how far hair lifts the surface, in decimetres.
        pupil: radius in decimetres.
        lashes, gloss: strengths.
        collar, collar_dip: height of the collar on the average body and its dip in front, in decimetres.
    """

    texture: np.ndarray
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    cloth: np.ndarray
    hair_height: np.ndarray
    pupil: float
    lashes: float
    gloss: float
    collar: float
    collar_dip: float


def _skin(identity: Identity, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The bare skin, float32 [height, width, 3]."""
    look, shape = identity.look, place.shape[:2]
    base = skin_colour(identity)
    image = np.broadcast_to(base, (*shape, 3)).astype(np.float32)
    x, y = np.abs(place[..., 0]), place[..., 1]
    flush = bump(x - 0.38, 0.16) * bump(y - 6.98, 0.14) + bump(x, 0.13) * bump(y - 7.0, 0.09)
    flush = (0.25 + 0.75 * look["redness"]) * flush * (1.1 - identity.melanin)
    image += flush[..., None] * np.array([0.02, -0.055, -0.05], np.float32)
    for size, amount in ((40, 0.008), (9, 0.005), (3, 0.008)):
        image += (amount * (0.5 + look["mottle"])) * noise(rng, shape, (size, size))[..., None]
    freckles = np.clip(noise(rng, shape, (3.2, 3.2)) - 1.5, 0, 1)
    freckles = freckles * bump(y - 7.05, 0.2) * bump(x, 0.4) * max(look["freckles"] - 0.6, 0) * 1.6
    image *= 1 - freckles[..., None] * np.array([0.3, 0.45, 0.5], np.float32)
    for _ in range(int(look["moles"] * 5)):
        mole = np.array([rng.uniform(-0.6, 0.6), rng.uniform(6.4, 7.8)])
        distance = np.hypot(place[..., 0] - mole[0], y - mole[1])
        blend(image, base * 0.45, 0.8 * bump(distance, 0.012) * (place[..., 2] > 0.7))
    hollow = bump(x - 0.29, 0.13) * bump(y - 7.16, 0.035)
    image *= 1 - (0.05 + 0.10 * identity.age) * hollow[..., None]
    return image


def skin_colour(identity: Identity) -> np.ndarray:
    """The person's skin colour, float [3]."""
    warm = (identity.look["undertone"] - 0.5) * np.array([0.03, 0.0, -0.05])
    return np.clip(tone(SKIN_TONES, identity.melanin) + warm, 0.05, 0.98)


def _texture(identity: Identity, head: Head, hair: np.ndarray) -> np.ndarray:
    """The head's texture, uint8 [height, width, 3]."""
    rng = np.random.default_rng(identity.seed)
    look, place = identity.look, np.nan_to_num(places(), nan=-9.0)
    image = _skin(identity, place, rng)
    base = skin_colour(identity)
    lips = cv2.morphologyEx(head.masks["lips"], cv2.MORPH_CLOSE, np.ones((45, 15), np.uint8))
    lips = cv2.GaussianBlur(lips, (0, 0), 1.2).astype(np.float32) / 255
    lip_red = np.array([0.01 + 0.06 * look["lip_red"], -0.10, -0.07]) * (1.1 - identity.melanin)
    lip = np.clip(base * (0.80 + 0.12 * look["lip_colour"]) + lip_red, 0.1, 0.95)
    blend(image, lip, 0.8 * lips)
    lids = cv2.GaussianBlur(head.masks["eyelids"], (0, 0), 1.5).astype(np.float32) / 255
    image *= 1 - 0.11 * lids[..., None]
    ears = head.masks["ears"].astype(np.float32) / 255
    image += ears[..., None] * np.array([0.01, -0.03, -0.025], np.float32)
    window, maps = wrinkle_maps()
    lines = maps[:5].sum(0) * (0.05 + 0.95 * look["wrinkles"])
    image[window] *= 1 - 0.16 * max(identity.age - 0.15, 0) * lines[..., None]
    if look["beard"]:
        stubble = beard_mask(place, lips, look["beard_style"])
        stubble *= 0.85 + 0.15 * noise(rng, lips.shape, (2, 2))
        blend(image, hair * 0.9, np.clip(stubble * (0.15 + 0.75 * look["beard"]), 0, 0.95))
    # Brows stay darker than the skin, whatever the hair's colour.
    brow = hair * min(0.85, 0.72 * base.mean() / hair.mean())
    brows = brow_mask(place, look, rng)
    blend(image, brow, brows)
    if look["makeup"]:
        makeup.apply(image, look, place, lips, brows, lids)
    edge = hairline(place, identity) + 0.012 * noise(rng, lips.shape, (3, 5))
    scalp = smoothstep((edge + 0.04) / 0.13)
    streaks = 0.12 * noise(rng, lips.shape, (2.5, 14 - 11 * look["hair_curl"]))
    blend(image, hair, scalp * 0.97)
    image *= 1 + (scalp * streaks)[..., None]
    outside = np.isnan(places()[..., 0])
    image[outside] = base
    return (np.clip(image, 0.02, 1) * 255).astype(np.uint8)


def paint(identity: Identity) -> Appearance:
    """Paint one identity. Takes about 0.2 s; the result serves all the person's sequences."""
    head, look = load_head(), identity.look
    hair = hair_colour(identity)
    hue = look["cloth_hue"] * 2 * np.pi
    tint = 0.5 + 0.5 * np.cos(hue + np.array([0.0, 2.1, 4.2]))
    cloth = (0.15 + 0.7 * look["cloth_tone"]) * (0.6 + 0.4 * tint)
    dark = 0.35 + 0.65 * max(identity.african, identity.asian)
    eye = (1 - min(dark, 1)) * (0.4 + 0.6 * look["eye_blue"]) if look["eye_tone"] > 0.2 else 0.1
    dip = 0.3 if look["cloth_neck"] < 0.4 else 0.06
    return Appearance(
        texture=_texture(identity, head, hair),
        skin=skin_colour(identity),
        hair=hair,
        iris=tone(IRIS_TONES, eye * 1.4 if eye < 0.7 else 1.0),
        cloth=cloth,
        hair_height=hair_height(identity, head),
        pupil=0.018 + 0.014 * look["pupil"],
        lashes=look["lashes"],
        gloss=0.04 + 0.10 * look["shine"],
        collar=5.78 + 0.2 * look["cloth_neck"],
        collar_dip=dip,
    )
