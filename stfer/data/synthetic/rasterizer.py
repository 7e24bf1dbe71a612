"""A z-buffer in NumPy: which triangle is seen at each pixel, and values interpolated over triangles.

Triangles are cut into spans of pixels along rows (all triangles at once), the spans into fragments, and
`np.minimum.at` keeps the nearest fragment of a pixel. Values are then planes over the screen: each triangle has
three coefficients per value, so that a pixel costs one gather and one multiply-add.

Screen: x to the right, y downwards, pixel (row r, column c) has its centre at (c + 0.5, r + 0.5).
"""

import numpy as np


def planes(corners: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Coefficients (a, b, c) with value = a x + b y + c over each triangle.

    Args:
        corners: float [triangles, 3, 2], screen positions.
        values: float [triangles, 3, channels] at the corners.

    Returns:
        float32 [triangles, 3, channels]; zero slope for triangles without area.
    """
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    inverse = np.where(np.abs(area) > 1e-9, 1 / np.where(area == 0, 1, area), 0)[:, None]
    step1, step2 = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    a = (step1 * edge2[:, 1:2] - step2 * edge1[:, 1:2]) * inverse
    b = (step2 * edge1[:, :1] - step1 * edge2[:, :1]) * inverse
    c = values[:, 0] - a * corners[:, 0, :1] - b * corners[:, 0, 1:2]
    return np.stack([a, b, c], axis=1).astype(np.float32)


def _ramp(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For counts (2, 3): owners (0, 0, 1, 1, 1) and steps (0, 1, 0, 1, 2)."""
    owners = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    return owners, np.arange(len(owners)) - starts[owners]


def _spans(corners: np.ndarray, height: int, width: int):
    """Rows that triangles cover: triangle [n], row [n], first column [n], columns [n]."""
    top = np.clip(np.ceil(corners[:, :, 1].min(1) - 0.5), 0, height).astype(np.int64)
    end = np.clip(np.ceil(corners[:, :, 1].max(1) - 0.5), 0, height).astype(np.int64)
    triangle, step = _ramp(np.maximum(end - top, 0))
    row = top[triangle] + step
    y = row + 0.5
    left, right = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for first, second in ((0, 1), (1, 2), (2, 0)):
        x1, y1 = corners[triangle, first].T
        x2, y2 = corners[triangle, second].T
        crossed = (np.minimum(y1, y2) <= y) & (y < np.maximum(y1, y2))
        slope = (x2 - x1) / np.where(crossed, y2 - y1, 1)
        x = x1 + (y - y1) * slope
        left = np.where(crossed, np.minimum(left, x), left)
        right = np.where(crossed, np.maximum(right, x), right)
    seen = left <= right
    triangle, row, left, right = triangle[seen], row[seen], left[seen], right[seen]
    start = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
    stop = np.clip(np.ceil(right - 0.5), 0, width).astype(np.int64)
    return triangle, row, start, np.maximum(stop - start, 0)


def rasterize(
    corners: np.ndarray, depth: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest triangle at every pixel.

    Args:
        corners: float [triangles, 3, 2], screen positions.
        depth: float [triangles, 3], distance from the camera; smaller is nearer.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Returns:
        triangle: int64 [height * width], -1 where none is; ties go to the later triangle.
        nearest: float32 [height * width], depth there, inf where none is.
    """
    nearest = np.full(height * width, np.inf, np.float32)
    winner = np.full(height * width, -1, np.int64)
    triangle, row, start, columns = _spans(corners, height, width)
    span, step = _ramp(columns)
    if not len(span):
        return winner, nearest
    plane = planes(corners, depth[:, :, None])[triangle, :, 0]
    at_start = plane[:, 0] * (start + 0.5) + plane[:, 1] * (row + 0.5) + plane[:, 2]
    place = (row * width + start)[span] + step
    distance = (at_start[span] + plane[span, 0] * step).astype(np.float32)
    np.minimum.at(nearest, place, distance)
    front = distance == nearest[place]
    winner[place[front]] = triangle[span[front]]
    return winner, nearest


def interpolate(
    plane: np.ndarray, triangle: np.ndarray, place: np.ndarray, width: int
) -> np.ndarray:
    """Values at pixels from `planes` coefficients.

    Args:
        plane: float32 [triangles, 3, channels].
        triangle: int [pixels], which triangle each pixel shows.
        place: int [pixels], row * width + column.
        width: of the image.

    Returns:
        float32 [pixels, channels].
    """
    y, x = np.divmod(place, width)
    x, y = (x + 0.5).astype(np.float32)[:, None], (y + 0.5).astype(np.float32)[:, None]
    channels = plane.shape[2]
    rows = plane.reshape(len(plane), 3 * channels).take(triangle, axis=0)
    values = rows[:, :channels] * x
    values += rows[:, channels : 2 * channels] * y
    values += rows[:, 2 * channels :]
    return values
