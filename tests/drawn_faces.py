"""A drawn face, which the cascade takes for one; nothing here uses the code under test."""

import cv2
import numpy as np


def draw_face(
    height: int = 120, width: int = 160, x: int = 80, y: int = 60, side: int = 70
) -> np.ndarray:
    """A grey cartoon face that the cascade takes for one; (x, y) is its centre, `side` its width."""
    image = np.full((height, width), 120, np.uint8)

    def ellipse(cx, cy, rx, ry, grey):
        centre = (round(x + cx * side), round(y + cy * side))
        cv2.ellipse(
            image, centre, (max(1, round(rx * side)), max(1, round(ry * side))), 0, 0, 360, grey, -1
        )

    ellipse(0, 0.0, 0.5, 0.68, 200)
    for eye in (-0.21, 0.21):
        ellipse(eye, -0.2, 0.13, 0.045, 70)
        ellipse(eye, -0.1, 0.1, 0.05, 90)
        ellipse(eye, -0.1, 0.045, 0.045, 20)
    ellipse(0, 0.05, 0.05, 0.17, 225)
    ellipse(-0.06, 0.18, 0.04, 0.025, 110)
    ellipse(0.06, 0.18, 0.04, 0.025, 110)
    ellipse(0, 0.33, 0.17, 0.045, 80)
    return cv2.GaussianBlur(image, (0, 0), max(0.8, side / 60))
