"""Glasses: frames of several shapes that sit on the nose and turn with the head, and lenses that mirror the light.

The frame is a set of lines in space, drawn in short pieces, each only where no skin lies before it.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from stfer.data.synthetic.camera import Session
from stfer.data.synthetic.head import Head
from stfer.data.synthetic.texture import tone

# A lens: half its width and height in distances of the eyes, exponent of the super-ellipse (2 is an ellipse, more
# is squarer), how much higher it ends outside, and which rim is drawn.
SHAPES = (
    (0.36, 0.34, 2.0, 0.00, "whole"),  # Round.
    (0.40, 0.26, 4.0, 0.00, "whole"),  # Rectangular.
    (0.41, 0.35, 2.6, -0.05, "whole"),  # Aviator.
    (0.40, 0.29, 3.0, 0.06, "whole"),  # Cat's eye.
    (0.40, 0.25, 3.2, 0.00, "upper"),  # Half-rimmed.
    (0.37, 0.25, 2.4, 0.00, "thin"),  # Oval, wire.
    (0.42, 0.37, 3.4, 0.01, "whole"),  # Large.
)
# Square root of linear RGB: black, dark brown, tortoise, red, gold, silver, clear.
TONES = np.array(
    [(0.05, 0.05, 0.06), (0.15, 0.09, 0.06), (0.33, 0.19, 0.09), (0.4, 0.08, 0.1), (0.6, 0.48, 0.28),
     (0.6, 0.6, 0.62), (0.75, 0.72, 0.7)]
)  # fmt: skip
PIECES = 40  # Of an outline.


def fit(head: Head, vertices: np.ndarray, look: Mapping[str, float]) -> dict[str, np.ndarray]:
    """The lines of a person's glasses in the space of the neutral vertices.

    Returns:
        lens_l, lens_r: float [PIECES, 3], closed outlines; bridge, temple_l, temple_r: float [n, 3], open lines.
    """
    joints = {s: vertices[head.anchors[f"joint-{s}-eye"]].mean(0) for s in "lr"}
    middle = (joints["l"] + joints["r"]) / 2
    skin = vertices[head.vertices_of("skin")]
    front = skin[skin[:, 2] > middle[2]]
    # The bridge of the nose just below the eyes carries it; the lids and lashes stay behind it.
    bridge = front[(np.abs(front[:, 0]) < 0.06) & (np.abs(front[:, 1] - middle[1] + 0.03) < 0.06)]
    near = front[(np.abs(np.abs(front[:, 0]) - joints["l"][0]) < 0.2)
                 & (np.abs(front[:, 1] - middle[1]) < 0.16)]  # fmt: skip
    plane = max(bridge[:, 2].max() - 0.02, near[:, 2].max() + 0.05)
    wide, high, power, slant, _ = SHAPES[int(look["glasses_shape"] * len(SHAPES))]
    scale = (0.92 + 0.14 * look["glasses_size"]) * (joints["l"] - joints["r"])[0]
    around = np.linspace(0, 2 * np.pi, PIECES, endpoint=False)
    cos, sin = np.cos(around), np.sin(around)
    outline = np.stack([np.sign(cos) * np.abs(cos) ** (2 / power) * wide,
                        np.sign(sin) * np.abs(sin) ** (2 / power) * high], 1) * scale  # fmt: skip
    outline[:, 1] += slant * outline[:, 0] / wide
    lines = {}
    for side, sign in (("l", 1), ("r", -1)):
        x = sign * (outline[:, 0] + abs(joints[side][0] - middle[0]) + 0.01) + middle[0]
        y = outline[:, 1] + joints[side][1] - 0.03
        # Lenses bend back a little towards the temples.
        lens = np.stack([x, y, plane - 0.18 * np.square(x - middle[0])], 1)
        lines[f"lens_{side}"] = lens
        hinge = lens[np.argmax(sign * lens[:, 0] + 0.3 * lens[:, 1])]
        side_skin = skin[np.abs(skin[:, 1] - joints[side][1]) < 0.25]
        ear = np.array(
            [sign * (np.abs(side_skin[:, 0]).max() - 0.08), joints[side][1] + 0.02, middle[2] - 1.0]
        )
        lines[f"temple_{side}"] = np.linspace(hinge, ear, PIECES)
    inner = [
        lines["lens_l"][np.argmin(lines["lens_l"][:, 0])],
        lines["lens_r"][np.argmax(lines["lens_r"][:, 0])],
    ]
    share = np.linspace(0, 1, 9)[:, None]
    arch = inner[0] + share * (inner[1] - inner[0])
    arch[:, 1] += 0.05 + 0.05 * np.sin(np.pi * share[:, 0])
    lines["bridge"] = arch
    return lines


def draw(
    image: np.ndarray,
    depth: np.ndarray,
    lines: Mapping[str, np.ndarray],
    look: Mapping[str, float],
    session: Session,
) -> None:
    """Draw glasses over a face, in place.

    Args:
        image: float32 [height, width, 3], linear.
        depth: float32 [height, width], distance of the body's surface, inf where none is.
        lines: as `fit` gives them, posed, relative to the camera's origin.
        look: the person's settings.
        session: light and camera.
    """
    screens = {name: session.project(points) for name, points in lines.items()}
    scale = session.scale
    light = session.lit(np.array([[0, 0.3, 0.95]], np.float32))[0]
    for side in "lr":
        _lens(image, screens[f"lens_{side}"][0], look, session, light)
    *_, rim = SHAPES[int(look["glasses_shape"] * len(SHAPES))]
    thick = (0.012 if rim == "thin" else 0.011 + 0.018 * look["glasses_rim"] ** 2) * scale
    colour = np.square(tone(TONES, look["glasses_tone"])) * light * 0.8
    _shade(image, depth, screens, thick)
    for name, (places, distance) in screens.items():
        closed = name.startswith("lens")
        width = thick * (0.8 if name.startswith("temple") else 1)
        for first in range(len(places) - (0 if closed else 1)):
            ends = places[[first, (first + 1) % len(places)]]
            if closed and rim == "upper" and ends[:, 1].mean() > places[:, 1].mean() + 2:
                continue
            x, y = np.clip(np.rint(ends.mean(0)), 0, np.array(depth.shape[::-1]) - 1).astype(int)
            if distance[first] < depth[y, x] + 0.02:
                _line(image, ends, colour, width)


def _line(image: np.ndarray, ends: np.ndarray, colour: np.ndarray, width: float) -> None:
    fixed = np.rint(ends * 16).astype(int).tolist()
    cv2.line(image, fixed[0], fixed[1], colour.tolist(), max(round(width), 1), cv2.LINE_AA, 4)


def _lens(
    image: np.ndarray,
    outline: np.ndarray,
    look: Mapping[str, float],
    session: Session,
    light: np.ndarray,
) -> None:
    """Take a little light away behind a lens, and add a soft mirrored band."""
    low = np.maximum(np.floor(outline.min(0)).astype(int) - 2, 0)
    high = np.ceil(outline.max(0)).astype(int) + 3
    part = image[low[1] : high[1], low[0] : high[0]]
    if not part.size:
        return
    mask = np.zeros(part.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.rint((outline - low) * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] / max(part.shape)
    # Where the band lies depends on the light; how strong it is, on the lens's coating.
    centre = 0.5 + 0.5 * session.light.direction[0] - 0.3 * session.light.direction[1]
    band = np.exp(-np.square((x + 0.6 * y - centre) / (0.06 + 0.2 * look["glasses_rim"])))
    strength = 0.01 + 0.09 * look["glasses_mirror"] ** 3
    mirrored = (strength * (0.1 + band) * mask)[..., None].astype(np.float32)
    part *= 1 - 0.06 * mask[..., None]
    part += mirrored * (light.astype(np.float32) - part)


def _shade(image: np.ndarray, depth: np.ndarray, screens: Mapping, thick: float) -> None:
    """A soft shadow of the rims on the skin below."""
    lenses = np.concatenate([screens["lens_l"][0], screens["lens_r"][0]])
    low = np.maximum(np.floor(lenses.min(0)).astype(int) - 12, 0)
    high = np.ceil(lenses.max(0)).astype(int) + 24
    box = slice(low[1], high[1]), slice(low[0], high[0])
    mask: np.ndarray = np.zeros(depth[box].shape, np.float32)
    for side in "lr":
        outline = np.rint((screens[f"lens_{side}"][0] - low + [0, thick]) * 16).astype(np.int32)
        cv2.polylines(mask, [outline], True, 1.0, max(round(thick), 1), cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), 2.5) * np.isfinite(depth[box])
    image[box] *= 1 - 0.1 * mask[..., None]
