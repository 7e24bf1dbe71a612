"""What is seen behind a person: a wall, things at a wall, or the panorama that gives the light, out of focus."""

import cv2
import numpy as np

from stfer.data.synthetic.lights import load_lights
from stfer.data.synthetic.texture import noise


def draw_background(
    rng: np.random.Generator, height: int, width: int, panorama: str, angle: float
) -> np.ndarray:
    """A background: float32 [height, width, 3], linear.

    Args:
        rng: the session's stream.
        height: of the background, in pixels.
        width: of the background, in pixels.
        panorama: the light's name; a panorama is seen in two thirds of its sessions.
        angle: radians that the panorama is turned by.
    """
    wall = _wall(rng, height, width)
    things = _things(rng, wall)
    surroundings = _surroundings(rng, height, width, panorama, angle)
    choice = rng.random()
    if surroundings is not None and choice < 0.67:
        return surroundings
    return things if choice < 0.67 else wall


def _wall(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One tint, a slope of light across it and soft blotches."""
    shade = rng.uniform(0.04, 0.65)
    tint = 1 + rng.normal(0, 0.12, 3)
    slope = rng.normal(0, 0.12) * np.linspace(-1, 1, width)
    blotches = rng.uniform(0, 0.06) * noise(rng, (height, width), (height / 4, height / 4))
    return np.clip(shade * (tint + (slope + blotches)[..., None]), 0, 1).astype(np.float32)


def _things(rng: np.random.Generator, wall: np.ndarray) -> np.ndarray:
    """The wall with boards, frames, doors or books of other colours, more or less in focus."""
    height, width = wall.shape[:2]
    image = wall.copy()
    for _ in range(rng.integers(2, 12)):
        middle = rng.uniform(0, 1, 2) * (width, height)
        size = np.exp(rng.normal(-1.6, 0.7, 2)) * height
        angle = float(rng.normal(0, 4))
        corners = cv2.boxPoints((middle.tolist(), size.tolist(), angle)).astype(np.int32)
        colour = np.clip(rng.uniform(0.02, 0.7) * (1 + rng.normal(0, 0.25, 3)), 0, 1)
        filled = rng.random() < 0.7
        if filled:
            cv2.fillConvexPoly(image, corners, colour.tolist(), cv2.LINE_AA)
        else:
            thick = int(rng.integers(2, 14))
            cv2.polylines(image, [corners], True, colour.tolist(), thick, cv2.LINE_AA)
    if rng.random() < 0.3:  # Blinds, curtains or shelves.
        period, phase = rng.uniform(8, 60), rng.uniform(0, 7)
        along = np.arange(width if rng.random() < 0.6 else height)
        stripes = 1 + rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * along / period + phase)
        image *= stripes[None, :, None] if len(along) == width else stripes[:, None, None]
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), float(rng.uniform(0.8, 9)))


def _surroundings(
    rng: np.random.Generator, height: int, width: int, panorama: str, angle: float
) -> np.ndarray | None:
    """The part of a panorama that lies behind the person, blurred; None for other lights."""
    names, _, bands = load_lights()
    turn = rng.uniform(-0.4, 0.4)
    if panorama not in names:
        return None
    band = bands[names.index(panorama)]
    rows, columns = band.shape[:2]
    # The camera looks at -z: half a turn from the panorama's first column.
    middle = (0.5 + (angle + turn) / (2 * np.pi)) * columns
    reach = columns / 8  # 45 degrees wide, as a face camera sees.
    x = np.linspace(middle - reach, middle + reach, width, dtype=np.float32) % columns
    y = np.linspace(
        0.5 * rows - reach * height / width, 0.5 * rows + reach * height / width, height
    )
    wrapped = np.hstack([band, band[:, :2]])
    across, down = np.meshgrid(x, y.astype(np.float32))
    picture = cv2.remap(wrapped, across, down, cv2.INTER_CUBIC).astype(np.float32) / 255
    return cv2.GaussianBlur(np.square(picture), (0, 0), float(rng.uniform(3, 8)))
