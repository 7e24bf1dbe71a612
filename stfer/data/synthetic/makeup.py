"""Make-up: lipstick, eyeshadow, eyeliner, rouge and brow pencil, painted into the head's texture."""

from collections.abc import Mapping

import cv2
import numpy as np

from stfer.data.synthetic.texture import blend, bump, tone

# Square root of linear RGB.
LIPSTICKS = np.array(
    [
        (0.76, 0.42, 0.42),
        (0.80, 0.18, 0.22),
        (0.55, 0.10, 0.16),
        (0.85, 0.35, 0.50),
        (0.45, 0.2, 0.2),
    ]
)
SHADOWS = np.array([(0.45, 0.33, 0.28), (0.25, 0.22, 0.24), (0.42, 0.32, 0.46), (0.30, 0.38, 0.5)])


def apply(
    image: np.ndarray,
    look: Mapping[str, float],
    place: np.ndarray,
    lips: np.ndarray,
    brows: np.ndarray,
    lids: np.ndarray,
) -> None:
    """Paint a person's make-up into a texture, in place.

    Args:
        image: float32 [height, width, 3], square root of reflectance.
        look: the person's settings: `makeup` (strength), `lipstick`, `eyeshadow`, `eyeliner`, `rouge` and colours.
        place: float32 [height, width, 3], place of each texel on the average head.
        lips: float32 [height, width] in [0, 1].
        brows: as `lips`.
        lids: as `lips`.
    """
    strength = look["makeup"]
    x, y = np.abs(place[..., 0]), place[..., 1]
    if look["lipstick"] < 0.75:
        blend(image, tone(LIPSTICKS, look["lipstick"] / 0.75), (0.25 + 0.45 * strength) * lips)
    if look["eyeshadow"] < 0.7:
        # The lid and the hollow up to the brow, strongest at the lid.
        hollow = bump(x - 0.33, 0.15) * bump(y - 7.36, 0.05) * (place[..., 2] > 0.7)
        amount = np.clip(0.6 * lids + 0.5 * hollow, 0, 1) * (0.2 + 0.5 * strength)
        blend(image, tone(SHADOWS, look["eyeshadow"] / 0.7), amount * (1 - brows))
    if look["eyeliner"] < 0.7:
        edge = lids - cv2.erode(lids, np.ones((5, 5), np.uint8))
        blend(image, np.full(3, 0.08), np.clip(edge * (0.5 + 0.6 * strength), 0, 0.9))
    if look["rouge"] < 0.6:
        cheek = bump(x - 0.48 - 0.2 * (y - 7.0), 0.11) * bump(y - 7.0, 0.09)
        pink = np.clip(image.mean((0, 1)) * np.array([1.1, 0.8, 0.85]), 0, 1)
        blend(image, pink, (0.1 + 0.3 * strength) * cheek)
    blend(image, np.full(3, 0.12), 0.45 * strength * brows)
