"""Skin, lips, brows, hair and wrinkles, painted into the head's texture by place on the average head.

The texture is a window of the mesh's UV square. Every texel belongs to one place of the average head, so what is
painted here (a brow, an iris's lid, a hairline) moves with the skin when targets deform it. Colours are stored as
the square root of linear reflectance, which is close to sRGB.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from stfer.data.synthetic.expressions import smoothstep
from stfer.data.synthetic.head import Head, load_head
from stfer.data.synthetic.head_format import ATLAS, HEAD_UV
from stfer.data.synthetic.identities import Identity
from stfer.data.synthetic.rasterizer import interpolate, planes, rasterize

WRINKLES = ("forehead", "frown", "crow", "cheek", "nose", "chin")

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
HAIR_TONES = np.array(
    [(0.07, 0.06, 0.06), (0.20, 0.14, 0.10), (0.38, 0.27, 0.17), (0.66, 0.53, 0.36)]
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


def tone(tones: np.ndarray, place: float) -> np.ndarray:
    """Colour at `place` in [0, 1] along a list of colours [n, 3]."""
    x = np.linspace(0, 1, len(tones))
    return np.array([np.interp(place, x, channel) for channel in tones.T])


def texture_place(uv: np.ndarray) -> np.ndarray:
    """Texel coordinates (x, y) of UV coordinates, over the head's window."""
    return uv * ATLAS - np.array([round(HEAD_UV[0] * ATLAS), round(HEAD_UV[1] * ATLAS)])


@functools.cache
def places() -> np.ndarray:
    """The place on the average head that each texel shows, float32 [height, width, 3]; NaN outside."""
    head = load_head()
    height, width = head.masks["lips"].shape
    skin = head.part("skin")
    corners = texture_place(head.uv[skin])
    triangle, _ = rasterize(corners, np.zeros((len(skin), 3)), height, width)
    inside = np.flatnonzero(triangle >= 0)
    values = planes(corners, head.vertices[head.triangles[skin]])
    image = np.full((height * width, 3), np.nan, np.float32)
    image[inside] = interpolate(values, triangle[inside], inside, width)
    return image.reshape(height, width, 3)


def noise(
    rng: np.random.Generator, shape: tuple[int, int], sizes: tuple[float, float]
) -> np.ndarray:
    """Smooth noise of zero mean and unit deviation with blobs of `sizes` (rows, columns) texels."""
    rows, columns = (max(int(np.ceil(n / s)) + 3, 4) for n, s in zip(shape, sizes, strict=True))
    coarse = rng.normal(size=(rows, columns)).astype(np.float32)
    image = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return (image - image.mean()) / max(float(image.std()), 1e-6)


def bump(x: np.ndarray, width: float) -> np.ndarray:
    """1 at zero, falling as a Gaussian of the given deviation."""
    return np.exp(-0.5 * np.square(x / width))


@functools.cache
def wrinkle_maps() -> tuple[tuple[slice, slice], np.ndarray]:
    """Where each of WRINKLES darkens the skin.

    Returns:
      The rows and columns of the texture that wrinkles touch.
      Over these, a map for each, float32 [6, rows, columns] in [0, 1].
    """
    place = np.nan_to_num(places(), nan=-9.0)
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    front = z > 0.9
    wave = y - 0.02 * np.sin(9 * place[..., 0]) - 0.04 * np.square(x)
    forehead = sum(bump(wave - level, 0.011) for level in (7.67, 7.755, 7.84, 7.92)) * bump(x, 0.33)
    frown = bump(x - 0.055 - 0.08 * (y - 7.42), 0.013) * bump(y - 7.46, 0.07)
    ray = np.arctan2(y - 7.275, x - 0.42)
    reach = np.hypot(x - 0.44, y - 7.275)
    crow = sum(bump(ray - angle, 0.10) for angle in (-0.45, 0.0, 0.42)) * bump(reach - 0.13, 0.05)
    crow = crow * (x > 0.46)
    fold = x - (0.20 + 0.42 * (6.98 - y) - 0.25 * np.square(6.98 - y))
    cheek = bump(fold, 0.016) * smoothstep((7.03 - y) / 0.08) * smoothstep((y - 6.66) / 0.1)
    ridges = sum(bump(y - 0.25 * x - level, 0.012) for level in (7.19, 7.25, 7.31))
    nose = ridges * bump(x, 0.09)
    pits = noise(np.random.default_rng(7), x.shape, (5, 5))
    chin = bump(x, 0.12) * bump(y - 6.38, 0.07) * np.clip(0.5 + 0.5 * pits, 0, 1)
    stack = [np.clip(layer, 0, 1) * front for layer in (forehead, frown, crow, cheek, nose, chin)]
    maps = np.stack(stack).astype(np.float32)
    touched = maps.max(0) > 0.01
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return window, np.ascontiguousarray(maps[:, *window])


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
    if look["bald"]:
        heights[:5] = np.array([8.9, 8.9, 8.9, 8.3, 7.6])
    angles = np.array([0, 20, 42, 58, 74, 95, 120, 180])
    return place[..., 1] - np.interp(angle, angles, heights)


def _paint(image: np.ndarray, colour: np.ndarray, amount: np.ndarray) -> None:
    """Blend `colour` into the image by amount [height, width], in place."""
    image += amount[..., None].astype(np.float32) * (colour.astype(np.float32) - image)


def _brow_mask(place: np.ndarray, look: dict[str, float], rng: np.random.Generator) -> np.ndarray:
    """Opacity of the brows, [height, width]."""
    x, y = np.abs(place[..., 0]), place[..., 1]
    inner = 0.10 + 0.06 * look["brow_gap"]
    along = (x - inner) / (0.60 - inner)
    arch = 0.01 + 0.05 * look["brow_arch"]
    middle = (
        7.475
        + 0.05 * (look["brow_height"] - 0.5)
        + arch * np.sin(np.pi * np.clip(along, 0, 1) ** 1.2)
    )
    middle = middle - 0.05 * np.clip(along - 0.55, 0, 1)
    thickness = (0.026 + 0.03 * look["brow_thickness"]) * (1.1 - 0.75 * np.clip(along, 0, 1))
    across = bump((y - middle) / thickness, 0.75)
    ends = smoothstep((along + 0.06) / 0.12) * smoothstep((1.02 - along) / 0.2)
    # The hairs lie along the brow; the texture's columns run along y, its rows along x.
    strands = noise(rng, x.shape, (6.0, 1.7))
    density = 0.55 + 0.45 * look["brow_density"]
    return np.clip(across * ends * (density + 0.18 * strands), 0, 1) * (place[..., 2] > 0.8)


def _beard_mask(place: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Where a beard grows, [height, width]."""
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    jaw = smoothstep((6.72 + 0.55 * np.clip(x - 0.25, 0, 1) - y) / 0.14)
    moustache = bump(y - 6.768 + 0.35 * np.clip(x - 0.08, 0, 1), 0.026) * smoothstep(
        (0.30 - x) / 0.08
    )
    throat = smoothstep((y - 6.05) / 0.2) * smoothstep((z - 0.45) / 0.3)
    return np.clip(np.maximum(jaw, moustache), 0, 1) * throat * (1 - lips)


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
        _paint(image, base * 0.45, 0.8 * bump(distance, 0.012) * (place[..., 2] > 0.7))
    hollow = bump(x - 0.29, 0.13) * bump(y - 7.16, 0.035)
    image *= 1 - (0.05 + 0.10 * identity.age) * hollow[..., None]
    return image


def skin_colour(identity: Identity) -> np.ndarray:
    """The person's skin colour, float [3]."""
    warm = (identity.look["undertone"] - 0.5) * np.array([0.03, 0.0, -0.05])
    return np.clip(tone(SKIN_TONES, identity.melanin) + warm, 0.05, 0.98)


def hair_colour(identity: Identity) -> np.ndarray:
    """The person's hair colour, float [3]."""
    look = identity.look
    place = 0.22 * look["hair_tone"] if look["dark_hair"] else look["hair_tone"]
    place *= 1 - 0.8 * min(identity.african + identity.asian, 1)
    colour = tone(HAIR_TONES, place)
    if look["hair_red"] > 0.88 and not look["dark_hair"]:
        colour = colour * np.array([1.25, 0.9, 0.7])
    return colour + look["grey"] * 0.8 * (np.array([0.66, 0.65, 0.64]) - colour)


def _texture(identity: Identity, head: Head, hair: np.ndarray) -> np.ndarray:
    """The head's texture, uint8 [height, width, 3]."""
    rng = np.random.default_rng(identity.seed)
    look, place = identity.look, np.nan_to_num(places(), nan=-9.0)
    image = _skin(identity, place, rng)
    base = skin_colour(identity)
    lips = cv2.morphologyEx(head.masks["lips"], cv2.MORPH_CLOSE, np.ones((45, 15), np.uint8))
    lips = cv2.GaussianBlur(lips, (0, 0), 1.2).astype(np.float32) / 255
    lip_red = np.array([0.02 + 0.1 * look["lip_red"], -0.10, -0.07])
    lip = np.clip(base * (0.80 + 0.12 * look["lip_colour"]) + lip_red, 0.1, 0.95)
    _paint(image, lip, 0.8 * lips)
    lids = cv2.GaussianBlur(head.masks["eyelids"], (0, 0), 1.5).astype(np.float32) / 255
    image *= 1 - 0.16 * lids[..., None]
    ears = head.masks["ears"].astype(np.float32) / 255
    image += ears[..., None] * np.array([0.01, -0.03, -0.025], np.float32)
    window, maps = wrinkle_maps()
    lines = maps[:5].sum(0) * (0.05 + 0.95 * look["wrinkles"])
    image[window] *= 1 - 0.16 * max(identity.age - 0.15, 0) * lines[..., None]
    if look["beard"]:
        stubble = _beard_mask(place, lips) * (0.8 + 0.3 * noise(rng, lips.shape, (2, 2)))
        _paint(image, hair * 0.9, np.clip(stubble * (0.15 + 0.6 * look["beard"]), 0, 0.9))
    # Brows stay darker than the skin, whatever the hair's colour.
    brow = hair * min(0.85, 0.72 * base.mean() / hair.mean())
    _paint(image, brow, _brow_mask(place, look, rng))
    edge = hairline(place, identity) + 0.012 * noise(rng, lips.shape, (3, 5))
    scalp = smoothstep((edge + 0.04) / 0.13)
    streaks = 0.12 * noise(rng, lips.shape, (2.5, 14 - 11 * look["hair_curl"]))
    _paint(image, hair, scalp * 0.97)
    image *= 1 + (scalp * streaks)[..., None]
    outside = np.isnan(places()[..., 0])
    image[outside] = base
    return (np.clip(image, 0.02, 1) * 255).astype(np.uint8)


def _hair_height(identity: Identity, head: Head) -> np.ndarray:
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
        hair_height=_hair_height(identity, head),
        pupil=0.018 + 0.014 * look["pupil"],
        lashes=look["lashes"],
        gloss=0.04 + 0.10 * look["shine"],
        collar=5.78 + 0.2 * look["cloth_neck"],
        collar_dip=dip,
    )
