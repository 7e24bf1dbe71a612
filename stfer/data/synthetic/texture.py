"""The head's texture as a canvas: where each texel lies on the average head, noise, and painting by place.

The texture is a window of the mesh's UV square. Every texel belongs to one place of the average head, so what is
painted (a brow, a hairline, a wrinkle) moves with the skin when targets deform it. Colours are stored as the square
root of linear reflectance, which is close to sRGB.
"""

import functools

import cv2
import numpy as np

from stfer.data.synthetic.head import load_head
from stfer.data.synthetic.head_format import ATLAS, HEAD_UV
from stfer.data.synthetic.rasterizer import interpolate, planes, rasterize


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


def blend(image: np.ndarray, colour: np.ndarray, amount: np.ndarray) -> None:
    """Blend `colour` into the image by amount [height, width], in place."""
    image += amount[..., None].astype(np.float32) * (colour.astype(np.float32) - image)
