"""What is seen through the openings of the face: eyeballs between the lids, teeth and tongue between the lips.

Each is drawn only where the rasterised body shows the inside of an eye socket or of the mouth. So an eyeball never
breaks through a lid nor a tooth through a chin; and an iris is a circle on an exact sphere, which stays
where the gaze points whatever the targets do to the lids.
"""

import cv2
import numpy as np

from stfer.data.synthetic.appearance import Appearance
from stfer.data.synthetic.camera import DISTANCE, Session
from stfer.data.synthetic.expressions import smoothstep
from stfer.data.synthetic.head import Head
from stfer.data.synthetic.head_format import PARTS
from stfer.data.synthetic.rasterizer import interpolate, planes, rasterize

IRIS_RADIUS = 0.060  # Decimetres.
TONGUE_REST = np.array([0, -0.12, -0.3], np.float32)
MARGIN = 10  # Pixels around an opening that its drawing may touch.


def window(mask: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns that hold all of a boolean image's true pixels and MARGIN more; None if none is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return (
        slice(max(rows[0] - MARGIN, 0), rows[-1] + MARGIN + 1),
        slice(max(columns[0] - MARGIN, 0), columns[-1] + MARGIN + 1),
    )


def draw_eyes(
    image: np.ndarray,
    sockets: np.ndarray,
    eyeballs: list[tuple[np.ndarray, float]],
    gaze: np.ndarray,
    appearance: Appearance,
    session: Session,
) -> None:
    """Draw the eyeballs where sockets are seen, and the lashes around, in place.

    Args:
        image: float32 [height, width, 3], linear.
        sockets: bool [height, width].
        eyeballs: centre [3] and radius of each, relative to the camera's origin.
        gaze: yaw and pitch in radians.
        appearance: the person's colours.
        session: light and camera.
    """
    centres = np.stack([centre for centre, _ in eyeballs])
    screen, _ = session.project(centres)
    border = screen[:, 0].mean()
    columns = np.arange(sockets.shape[1]) < border
    for (centre, radius), place in zip(eyeballs, screen, strict=True):
        mask = sockets & (columns == (place[0] < border))
        box = window(mask)
        if box is None:
            continue
        part, mask = image[box], mask[box]
        opened = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3.0)
        above = np.zeros_like(opened)
        above[4:] = opened[:-4]  # The upper lid shades more than the lower one.
        light = np.clip(0.3 + 1.1 * np.minimum(opened, above), 0, 1)
        y, x = np.nonzero(mask)
        colour = _eyeball(
            x + box[1].start, y + box[0].start, centre, radius, gaze, appearance, session
        )
        part[y, x] = colour * light[y, x, None]
        _lashes(part, mask.astype(np.float32), appearance.lashes)


def _eyeball(x, y, centre, radius, gaze, appearance: Appearance, session: Session) -> np.ndarray:
    """Linear colour of the eyeball seen through pixels (x, y), [n, 3]."""
    ray = session.rays(x, y)
    to = np.array([0.0, 0.0, DISTANCE]) - centre
    along = ray @ to
    inside = along**2 - (to @ to - radius**2)
    hit = -along - np.sqrt(np.maximum(inside, 0))
    normal = (to + hit[:, None] * ray) / radius
    yaw, pitch = gaze
    ahead = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    angle = np.arccos(np.clip(normal @ ahead, -1, 1)) * radius
    ring = np.clip(angle / IRIS_RADIUS, 0, 1)[:, None]
    white = np.array([0.60, 0.55, 0.52]) * (1 - 0.35 * np.clip(angle / 0.16, 0, 1)[:, None] ** 2)
    iris = np.square(appearance.iris) * (1.3 - 0.9 * ring**4)
    colour = white + smoothstep((IRIS_RADIUS - angle) / 0.008)[:, None] * (iris - white)
    colour *= 1 - 0.97 * smoothstep((appearance.pupil - angle) / 0.006)[:, None]
    colour = colour * session.lit(normal) + 0.9 * session.highlight(normal, 350)[:, None]
    colour[inside < 0] = np.square(appearance.skin) * np.array([0.35, 0.2, 0.18])
    return colour


def _lashes(image: np.ndarray, eye: np.ndarray, strength: float) -> None:
    """Darken the lid's edge above the open eye, and a little below, in place."""
    around = np.zeros_like(eye)
    around[:-2] = 0.9 * np.maximum(eye[1:-1], eye[2:])
    around[1:] = np.maximum(around[1:], 0.3 * eye[:-1])
    dark = cv2.GaussianBlur(around * (1 - eye), (0, 0), 0.8)
    image *= 1 - np.clip((0.45 + 0.5 * strength) * dark, 0, 0.95)[..., None]


def draw_mouth(
    image: np.ndarray,
    interior: np.ndarray,
    depth: np.ndarray,
    head: Head,
    posed: np.ndarray,
    normals: np.ndarray,
    session: Session,
    tongue_out: float = 0.0,
) -> None:
    """Draw teeth and tongue where the mouth's interior is seen, and darken its depth, in place.

    Args:
        image: float32 [height, width, 3], linear.
        interior: bool [height, width].
        depth: float32 [height, width], distance of the body's surface.
        head: the mesh.
        posed: float32 [vertices, 3], relative to the camera's origin.
        normals: float32 [vertices, 3].
        session: light and camera.
        tongue_out: how far the tongue has come forward, in [0, 1].
    """
    box = window(interior)
    if box is None:
        return
    part, interior, depth = image[box], interior[box], depth[box]
    mouth = head.part("upper_teeth", "lower_teeth", "tongue")
    ids = head.triangles[mouth]
    used, inverse = np.unique(ids, return_inverse=True)
    placed = posed[used]
    # The mesh's tongue lies between the teeth; at rest it lies lower and further back.
    placed[np.isin(used, head.triangles[head.part("tongue")])] += (1 - tongue_out) * TONGUE_REST
    screen, distance = session.project(placed)
    corners = (screen - [box[1].start, box[0].start])[inverse.reshape(ids.shape)]
    height, width = interior.shape
    winner, nearest = rasterize(corners, distance[inverse.reshape(ids.shape)], height, width)
    lips = depth[interior].min()
    part[interior] *= np.exp(-3.5 * (depth[interior] - lips))[:, None]
    place = np.flatnonzero(interior.reshape(-1) & (winner >= 0))
    if not len(place):
        return
    shown = winner[place]
    tongue = (head.parts[mouth[shown]] == PARTS.index("tongue"))[:, None]
    values = np.concatenate([normals[ids], head.vertices[ids][..., :1]], -1)
    at = interpolate(planes(corners, values), shown, place, width)
    gaps = 1 - 0.3 * np.exp(-np.square(((at[:, 3:] / 0.075) % 1 - 0.5) / 0.08))
    colour = np.where(tongue, (0.26, 0.085, 0.08), np.array([0.70, 0.65, 0.56]) * gaps)
    # Coarse teeth look broken when each facet is lit alone: lean normals towards the camera.
    normal = at[:, :3] * np.sign(at[:, 2:3]) + np.array([0, 0, 1.5], np.float32)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    light = 0.85 * np.exp(-3.5 * np.clip(nearest[place] - lips, 0, None))
    # Cheeks shade the teeth at the corners.
    light *= 1 - 0.8 * smoothstep((np.abs(at[:, 3]) - 0.15) / 0.1)
    y, x = np.divmod(place, width)
    part[y, x] = colour * session.lit(normal) * light[:, None]
