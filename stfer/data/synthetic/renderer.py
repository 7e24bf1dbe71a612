"""Draws frames of one person: the head posed, lit, textured and given to the camera.

Everything is drawn at twice the frame's size and averaged. Skin, hair and cloth are one rasterised mesh;
eyes and mouth are drawn in its openings (`openings.py`), shadows come from its depth image (`shadows.py`).
"""

from collections.abc import Callable

import cv2
import numpy as np

from stfer.data.synthetic import glasses
from stfer.data.synthetic.appearance import Appearance
from stfer.data.synthetic.camera import SUPERSAMPLING, Session, develop
from stfer.data.synthetic.expressions import Performance, smoothstep
from stfer.data.synthetic.head import load_head
from stfer.data.synthetic.head_format import PARTS
from stfer.data.synthetic.identities import Identity
from stfer.data.synthetic.openings import draw_eyes, draw_mouth
from stfer.data.synthetic.rasterizer import interpolate, planes, rasterize
from stfer.data.synthetic.shadows import visibility
from stfer.data.synthetic.texture import texture_place
from stfer.data.synthetic.wrinkles import wrinkled

SQUARES = np.square(np.arange(256, dtype=np.float32) / 255)
PACKED = 1024  # Columns in which scattered pixels are packed for OpenCV's remap.


def _rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rotation matrix [3, 3]; angles in radians about x, y, z, applied in that order."""
    x, y, z = (
        cv2.Rodrigues(angle * axis)[0]
        for angle, axis in zip((pitch, yaw, roll), np.eye(3), strict=True)
    )
    return (z @ y @ x).astype(np.float32)


class Portrait:
    """One person in front of one camera; `frame` draws one moment of a performance."""

    def __init__(self, identity: Identity, appearance: Appearance, session: Session):
        self.head = load_head()
        self.identity, self.appearance, self.session = identity, appearance, session
        self.vertices = self._person()
        self.body = self.head.part("skin", "torso", "mouth", "socket")
        self.texels = texture_place(self.head.uv).astype(np.float32)
        anchors = self.head.anchors
        joints = [self.vertices[anchors[f"joint-{side}-eye"]].mean(0) for side in "lr"]
        self.origin = np.mean(joints, axis=0)
        self.rest_gaze = self._rest_gaze()
        self.neck = self.vertices[anchors["joint-neck"]].mean(0)
        worn = identity.look["glasses"]
        self.glasses = glasses.fit(self.head, self.vertices, identity.look) if worn else {}
        # The head turns on the neck; the chest stays.
        self.follow = smoothstep((self.head.vertices[:, 1:2] - 5.2) / 1.1).astype(np.float32)

    def _person(self) -> np.ndarray:
        """The neutral vertices of this person without the resting expression, hair raised."""
        vertices = self.head.vertices + self.head.displacement(self.identity.shape)
        raised = self.appearance.hair_height[:, None] * self.head.normals(vertices)
        return (vertices + raised).astype(np.float32)

    def _rest_gaze(self) -> np.ndarray:
        """Yaw and pitch that keep the irises between this person's lids as on the average head, [2]."""
        head = self.head
        edge = np.intersect1d(
            head.triangles[head.part("socket")], head.triangles[head.part("skin")]
        )

        def aim(vertices: np.ndarray) -> np.ndarray:
            angles = []
            for side, sign in (("l", 1), ("r", -1)):
                centre, radius = self._eyeball(vertices, side)
                opening = vertices[edge[head.vertices[edge, 0] * sign > 0]].mean(0) - centre
                angles.append(np.arcsin(np.clip(opening[:2] / radius, -0.5, 0.5)))
            return np.mean(angles, axis=0)

        return 0.8 * (aim(self.vertices) - aim(head.vertices))

    def frame(self, performance: Performance, moment: int, rng: np.random.Generator) -> np.ndarray:
        """Draw frame `moment` of a performance: uint8 [HEIGHT, WIDTH, 3], RGB.

        Args:
            performance: what the face does.
            moment: the frame's number, from 0.
            rng: the frame's stream; the camera's noise is drawn from it.
        """
        weights, vertices, pose = self._moment(performance, moment)
        posed = pose(vertices, self.follow)
        eyeballs = [self._eyeball(vertices, side) for side in "lr"]
        eyeballs = [(pose(centre, 1.0), radius) for centre, radius in eyeballs]
        normals = self.head.normals(posed)
        image, parts, depth = self._body(posed, normals, weights)
        gaze = performance.gaze[moment] + self.rest_gaze
        draw_eyes(
            image, parts == PARTS.index("socket"), eyeballs, gaze, self.appearance, self.session
        )
        draw_mouth(
            image,
            parts == PARTS.index("mouth"),
            depth,
            self.head,
            posed,
            normals,
            self.session,
            tongue_out=min(weights.get("tongueOut", 0.0), 1.0),
        )
        if self.glasses:
            lines = {name: pose(line, 1.0) for name, line in self.glasses.items()}
            glasses.draw(image, depth, lines, self.identity.look, self.session)
        return develop(self.session, image, rng)

    def places(
        self, performance: Performance, moment: int, vertices: np.ndarray | None = None
    ) -> np.ndarray:
        """Where vertices (ids; all if None) of frame `moment` lie: float64 [n, 2], frame pixels, x before y."""
        _, shape, pose = self._moment(performance, moment)
        posed = pose(shape, self.follow)
        return (
            self.session.project(posed if vertices is None else posed[vertices])[0] / SUPERSAMPLING
        )

    def _moment(
        self, performance: Performance, moment: int
    ) -> tuple[dict[str, float], np.ndarray, Callable]:
        """Weights of the face units, unposed vertices, and the function (points, follow) that poses points."""
        weights = dict(zip(performance.units, performance.weights[moment], strict=True))
        vertices = self.vertices + self.head.displacement(weights)
        turn, shift = _rotation(*performance.rotation[moment]), performance.shift[moment]

        def pose(points: np.ndarray, follow: np.ndarray | float) -> np.ndarray:
            moved = (points - self.neck) @ turn.T + self.neck
            return points + follow * (moved - points) + (shift - self.origin)

        return weights, vertices, pose

    def _eyeball(self, vertices: np.ndarray, side: str) -> tuple[np.ndarray, float]:
        """Centre [3] and radius of the sphere that fits the eyeball's vertices."""
        points = vertices[self.head.anchors[f"helper-{side}-eye"]]
        centre = points.mean(0)
        return centre, float(np.linalg.norm(points - centre, axis=1).mean())

    def _body(
        self, posed: np.ndarray, normals: np.ndarray, weights: dict[str, float]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw skin, cloth and hair.

        Returns:
            image: float32 [height, width, 3], linear.
            parts: int [height, width], index into PARTS, -1 where the background is seen.
            depth: float32 [height, width], inf there.
        """
        head, session = self.head, self.session
        height, width = session.size
        screen, distance = session.project(posed)
        gloss = session.highlight(normals, 24) * np.float32(self.appearance.gloss)
        light = np.concatenate([session.lit(normals), gloss[:, None]], axis=1)
        corners = screen[head.triangles[self.body]]
        edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        facing = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0] < 0
        body, corners = self.body[facing], corners[facing]
        ids = head.triangles[body]
        winner, nearest = rasterize(corners, distance[ids], height, width)
        place = np.flatnonzero(winner >= 0)
        shown = winner[place]
        values = np.concatenate([self.texels[body], light[ids]], axis=2)
        at = interpolate(planes(corners, values), shown, place, width)
        seen = head.parts[body].take(shown)
        parts = np.full(height * width, -1, np.int8)
        parts[place] = seen
        colour = self._albedo(at[:, :2], seen, weights)
        torso = np.flatnonzero(seen == PARTS.index("torso"))
        flat = planes(corners, head.vertices[ids][..., :2])
        colour[torso] = self._cloth(interpolate(flat, shown[torso], place[torso], width))
        depth = nearest.reshape(height, width)
        direction = session.light.direction
        reached = visibility(depth, direction, session.scale).reshape(-1, 2)[place]
        colour *= np.maximum(at[:, 2:5], 0)
        colour += np.maximum(at[:, 5:6], 0)
        shadow = 1 - np.float32(0.85 * session.light.hardness) * (1 - reached[:, 0])
        colour *= (shadow * reached[:, 1])[:, None]
        image = session.background.copy()
        self._long_hair(image, posed, parts)
        image.reshape(-1, 3)[place] = colour
        return image, parts.reshape(height, width), depth

    def _albedo(
        self, texels: np.ndarray, parts: np.ndarray, weights: dict[str, float]
    ) -> np.ndarray:
        """Linear reflectance [pixels, 3] of the head at texels [pixels, 2]."""
        texture = wrinkled(self.appearance.texture, weights, 0.12 + 0.25 * self.identity.age)
        packed = np.zeros((-(-len(texels) // PACKED) * PACKED, 2), np.float32)
        packed[: len(texels)] = texels
        picture = cv2.remap(  # type: ignore[call-overload]  # Its stubs lack None for the second map.
            texture,
            packed.reshape(-1, PACKED, 2),
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        colour = SQUARES[picture.reshape(-1, 3)[: len(texels)]]
        colour[parts == PARTS.index("mouth")] = (0.14, 0.035, 0.03)
        return colour

    def _cloth(self, places: np.ndarray) -> np.ndarray:
        """Linear reflectance [pixels, 3] of the torso at places (x, y) [pixels, 2] of the average body."""
        x, y = places.T
        look = self.appearance
        collar = look.collar - look.collar_dip * np.exp(-np.square(x / 0.3)) + 0.25 * np.abs(x) ** 2
        cover = smoothstep((collar - y) / 0.03)[:, None]
        return np.square(look.skin) + cover * (np.square(look.cloth) - np.square(look.skin))

    def _long_hair(self, image: np.ndarray, posed: np.ndarray, parts: np.ndarray) -> None:
        """Draw hair behind head and neck, where no body is seen, in place."""
        if not self.identity.look["long_hair"]:
            return
        height, width = self.session.size
        ids = self.head.triangles[self.head.part("hair")]
        used, inverse = np.unique(ids, return_inverse=True)
        screen, distance = self.session.project(posed[used])
        inverse = inverse.reshape(ids.shape)
        winner, _ = rasterize(screen[inverse], distance[inverse], height, width)
        # The helper's strips leave slits; hair does not.
        mask = (winner >= 0).astype(np.uint8).reshape(height, width)
        small = cv2.resize(mask, (width // 2, height // 2), interpolation=cv2.INTER_NEAREST)
        small = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
        small = cv2.morphologyEx(small, cv2.MORPH_OPEN, np.ones((13, 13), np.uint8))
        back = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
        mask = np.asarray(back, np.uint8)
        # On some heads the helper's parting stands up; the scalp's own hair ends at the crown.
        crown = int(np.flatnonzero(parts >= 0)[0]) // width
        mask[: crown + 8] = 0
        # It ends between the jaw and the chest.
        end = 0.7 + 2.2 * self.identity.look["hair_length"]
        _, row = self.session.project(np.array([[0, -end, 0]], np.float32))[0][0]
        ends = smoothstep((row + 8 - np.arange(height)) / 16)
        place = np.flatnonzero((mask * (ends > 0.5)[:, None]).reshape(-1) & (parts < 0))
        y, x = np.divmod(place, width)
        strands = np.random.default_rng(self.identity.seed).normal(size=(1, width + 64))
        strands = cv2.GaussianBlur(strands, (0, 0), 1.5)[0]
        # Locks sway a little on their way down.
        sway = (6 * np.sin(y / 45) + 6).astype(int)
        shade = np.clip(0.42 + 0.16 * strands[x + sway] - 0.0003 * y, 0.16, 1)
        light = self.session.lit(np.array([[0, 0.3, 0.95]], np.float32))
        colour = np.square(self.appearance.hair) * light * 1.3
        image.reshape(-1, 3)[place] = colour * shade[:, None]
