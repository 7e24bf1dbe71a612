"""Draws frames of one person: head, eyes, teeth and hair, lit, shadowed and seen by a noisy camera.

Everything is drawn at twice the frame's size and averaged. The body is rasterised once; where it shows an eye socket,
the eyeball is drawn as an exact sphere behind the lids, and where it shows the mouth's interior, teeth and tongue
are. So an eyeball never breaks through a lid nor a tooth through a chin, and an iris stays round whatever the
targets do to the lids. Colours are linear inside, square root of linear outside (close to sRGB).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from stfer.data.synthetic.appearance import Appearance, noise, texture_place, wrinkle_maps
from stfer.data.synthetic.build_head import PARTS
from stfer.data.synthetic.expressions import Performance, smoothstep
from stfer.data.synthetic.head import Head, load_head
from stfer.data.synthetic.identities import Identity
from stfer.data.synthetic.rasterizer import interpolate, planes, rasterize

HEIGHT, WIDTH = 240, 320
SUPERSAMPLING = 2
DISTANCE = 13.0  # Decimetres from the camera to the eyes.
PIXELS_PER_DM = 84.0  # At the eyes, in frame pixels; a head is about 24 cm high.
EYE_ROW = 0.45
IRIS_RADIUS = 0.060
# How much each face unit deepens each of WRINKLES (forehead, frown, crow, cheek, nose, chin).
WRINKLING = {
    "browInnerUp": (0.7, 0.15, 0, 0, 0, 0),
    "browOuterUpLeft": (0.35, 0, 0, 0, 0, 0),
    "browOuterUpRight": (0.35, 0, 0, 0, 0, 0),
    "browDownLeft": (0, 0.6, 0, 0, 0, 0),
    "browDownRight": (0, 0.6, 0, 0, 0, 0),
    "cheekSquintLeft": (0, 0, 0.5, 0.15, 0, 0),
    "cheekSquintRight": (0, 0, 0.5, 0.15, 0, 0),
    "mouthSmileLeft": (0, 0, 0.1, 0.35, 0, 0),
    "mouthSmileRight": (0, 0, 0.1, 0.35, 0, 0),
    "noseSneerLeft": (0, 0, 0, 0.3, 0.55, 0),
    "noseSneerRight": (0, 0, 0, 0.3, 0.55, 0),
    "mouthShrugLower": (0, 0, 0, 0, 0, 0.9),
    "mouthFrownLeft": (0, 0, 0, 0.15, 0, 0.2),
    "mouthFrownRight": (0, 0, 0, 0.15, 0, 0.2),
}


@dataclass(frozen=True)
class Light:
    """One sequence's light and camera.

    Attributes:
      direction: float [3], unit vector to the key light.
      key, ambient: float [3], linear RGB.
      background: uint8 [height, width, 3] at the frame's size.
      exposure, sensor_noise, blur: floats; noise in grey levels, blur in pixels.
      grey: whether the camera is monochrome.
      zoom: scale of the picture.
    """

    direction: np.ndarray
    key: np.ndarray
    ambient: np.ndarray
    background: np.ndarray
    exposure: float
    sensor_noise: float
    blur: float
    grey: bool
    zoom: float


def draw_light(rng: np.random.Generator, rng_sequence: np.random.Generator) -> Light:
    """Light and camera from the person's stream (the session) and the sequence's (small changes)."""
    azimuth = rng.normal(0, np.radians(32)) + rng_sequence.normal(0, np.radians(4))
    elevation = rng.uniform(np.radians(5), np.radians(50))
    direction = np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    warmth = rng.normal(0, 0.06)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    strength = rng.uniform(0.5, 0.85)
    shade = rng.uniform(0.04, 0.6)
    tint = shade * (1 + rng.normal(0, 0.12, 3))
    slope = rng.normal(0, 0.12) * np.linspace(-1, 1, WIDTH)[:, None]
    mottle = rng.uniform(0, 0.06) * noise(rng, (HEIGHT, WIDTH), (60, 60))
    background = tint + shade * (slope[None] + mottle[..., None])
    return Light(
        direction=direction,
        key=strength * white,
        ambient=rng.uniform(0.28, 0.45) * (2 - white),
        background=(np.clip(np.sqrt(np.clip(background, 0, 1)), 0, 1) * 255).astype(np.uint8),
        exposure=float(rng.uniform(0.85, 1.15)),
        sensor_noise=float(rng.uniform(1.5, 4.5)),
        blur=float(rng.uniform(0.35, 0.8)),
        grey=bool(rng.random() < 0.25),
        zoom=float(rng.uniform(0.93, 1.07)),
    )


def _rotation(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Rotation matrix [3, 3]; angles in radians about x, y, z."""
    return cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0] @ (
        cv2.Rodrigues(np.array([0.0, yaw, 0.0]))[0] @ cv2.Rodrigues(np.array([pitch, 0.0, 0.0]))[0]
    )


class Portrait:
    """One person in front of one camera; `frame` draws one moment of a performance."""

    def __init__(self, identity: Identity, appearance: Appearance, light: Light):
        self.head: Head = load_head()
        self.identity, self.appearance, self.light = identity, appearance, light
        self.vertices = self._person()
        self.body = self.head.part("skin", "torso", "mouth", "socket")
        self.mouth = self.head.part("upper_teeth", "lower_teeth", "tongue")
        self.hair = self.head.part("hair") if identity.look["long_hair"] else None
        self.size = (HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING)
        self.background = cv2.resize(light.background, self.size[::-1]).astype(np.float32) / 255
        anchors = self.head.anchors
        joints = [self.vertices[anchors[f"joint-{side}-eye"]].mean(0) for side in "lr"]
        self.origin = np.mean(joints, axis=0)
        self.neck = self.vertices[anchors["joint-neck"]].mean(0)
        base = self.head.vertices[:, 1]
        self.follow = smoothstep((base - 5.2) / 1.1)[:, None].astype(np.float32)

    def _person(self) -> np.ndarray:
        """The neutral vertices of this person without the resting expression, hair raised."""
        head = self.head
        vertices = head.vertices + head.displacement(self.identity.shape)
        volume = 0.03 + 0.16 * self.identity.look["hair_volume"]
        rng = np.random.default_rng(self.identity.seed + 1)
        curls = 1 + 0.25 * self.identity.look["hair_curl"] * rng.normal(size=len(vertices))
        raised = (self.appearance.scalp * volume * curls)[:, None]
        return (vertices + raised * head.normals(vertices)).astype(np.float32)

    def frame(
        self, performance: Performance, moment: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draw frame `moment` of a performance: uint8 [HEIGHT, WIDTH, 3], RGB."""
        weights = dict(zip(performance.units, performance.weights[moment], strict=True))
        vertices = self.vertices + self.head.displacement(weights)
        eyes = [self._eyeball(vertices, side) for side in "lr"]
        turn = _rotation(*performance.rotation[moment]).astype(np.float32)
        shift = performance.shift[moment]

        def pose(points: np.ndarray, follow: np.ndarray | float) -> np.ndarray:
            moved = (points - self.neck) @ turn.T + self.neck
            return points + follow * (moved - points) + shift - self.origin

        posed = pose(vertices, self.follow)
        eyes = [(pose(centre, 1.0), radius) for centre, radius in eyes]
        image, triangle, depth = self._body(posed, weights)
        self._eyes(image, triangle, eyes, performance.gaze[moment])
        self._mouth_interior(image, triangle, depth, posed)
        return self._camera(image, triangle, rng)

    def _eyeball(self, vertices: np.ndarray, side: str) -> tuple[np.ndarray, float]:
        """Centre and radius of the sphere that fits the eyeball's vertices."""
        points = vertices[self.head.anchors[f"helper-{side}-eye"]]
        centre = points.mean(0)
        radius = float(np.linalg.norm(points - centre, axis=1).mean())
        return centre.astype(np.float64), radius

    def _project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Screen places [n, 2] and distances [n] of points relative to the eyes [n, 3]."""
        distance = DISTANCE - points[:, 2]
        scale = PIXELS_PER_DM * self.light.zoom * SUPERSAMPLING * DISTANCE / distance
        height, width = self.size
        x = width / 2 + scale * points[:, 0]
        y = EYE_ROW * height - scale * points[:, 1]
        return np.stack([x, y], 1), distance

    def _lit(self, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Diffuse light [n, 3] and highlight [n] at unit normals; red light wraps around skin."""
        light = self.light
        facing = normals @ light.direction
        wrap = np.array([0.35, 0.2, 0.15])
        key = np.clip((facing[:, None] + wrap) / (1 + wrap), 0, None) ** 1.2 * light.key
        sky = (0.75 + 0.25 * normals[:, 1:2]) * light.ambient
        half = light.direction + np.array([0.0, 0.0, 1.0])
        half = half / np.linalg.norm(half)
        gloss = np.clip(normals @ half, 0, None) ** 24
        return key + sky, gloss * (0.04 + 0.10 * self.identity.look["shine"])

    def _body(self, posed: np.ndarray, weights: dict[str, float]):
        """Draw skin, cloth and hair: linear image, visible triangle [pixels], depth [rows, columns]."""
        head, (height, width) = self.head, self.size
        screen, distance = self._project(posed)
        normals = head.normals(posed)
        diffuse, gloss = self._lit(normals)
        corners = screen[head.triangles[self.body]]
        edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        facing = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0] < 0
        body, corners = self.body[facing], corners[facing]
        ids = head.triangles[body]
        winner, nearest = rasterize(corners, distance[ids], height, width)
        place = np.flatnonzero(winner >= 0)
        shown = winner[place]
        values = np.concatenate(
            [texture_place(head.uv[body]), diffuse[ids], gloss[ids, None], head.vertices[ids]], -1
        )
        at = interpolate(planes(corners, values), shown, place, width)
        triangle = np.full(height * width, -1, np.int64)
        triangle[place] = body[shown]
        depth = nearest.reshape(height, width)
        colour = self._albedo(at, place, head.parts[body[shown]], weights)
        shadow = self._shadow(depth, height, width).reshape(-1)[place]
        cavity = self._occlusion(depth).reshape(-1)[place]
        image = np.square(self.background).reshape(-1, 3)
        self._long_hair(image, posed, triangle)
        key_share = 1 - 0.55 * shadow
        image[place] = colour * at[:, 2:5] * (key_share * cavity)[:, None]
        image[place] += (at[:, 5] * key_share * cavity)[:, None]
        return image, triangle, depth

    def _albedo(self, at, place, parts, weights) -> np.ndarray:
        """Linear reflectance [pixels, 3]: texture on the head, cloth or skin on the torso."""
        height, width = self.size
        maps = np.full((2, height * width), -1, np.float32)
        maps[:, place] = at[:, :2].T
        maps = maps.reshape(2, height, width)

        def sample(texture: np.ndarray) -> np.ndarray:
            picture = cv2.remap(texture, maps[0], maps[1], cv2.INTER_LINEAR)
            return picture.reshape(-1, 3)[place].astype(np.float32) / 255

        depth = np.zeros(6, np.float32)
        for unit, rows in WRINKLING.items():
            depth += weights.get(unit, 0.0) * np.array(rows, np.float32)
        depth *= 0.12 + 0.25 * self.identity.age
        colour = sample(self.appearance.texture)
        for layer, strength in zip(wrinkle_maps(), depth.reshape(2, 3), strict=True):
            colour *= 1 - (sample(layer) @ strength)[:, None]
        torso = parts == PARTS.index("torso")
        look = self.identity.look
        x, y = at[torso, 6], at[torso, 7]
        collar = 5.55 + 0.2 * look["cloth_neck"] - (0.35 if look["cloth_neck"] < 0.4 else 0.05) * (
            np.exp(-np.square(x / 0.35))
        )
        cloth = smoothstep((collar - y) / 0.03)[:, None]
        colour[torso] = self.appearance.skin + cloth * (self.appearance.cloth - self.appearance.skin)
        colour[parts == PARTS.index("mouth")] = (0.32, 0.12, 0.11)
        colour[parts == PARTS.index("socket")] = (0.45, 0.25, 0.22)
        return np.square(colour)

    def _shadow(self, depth: np.ndarray, height: int, width: int) -> np.ndarray:
        """Cast shadow of the key light in [0, 1], by marching through the depth image (half size)."""
        small = cv2.resize(depth, (width // 2, height // 2), interpolation=cv2.INTER_NEAREST)
        small = np.where(np.isfinite(small), small, 99)
        step = PIXELS_PER_DM * self.light.zoom * SUPERSAMPLING / 2
        shadow = np.zeros_like(small)
        towards = self.light.direction
        for reach in np.linspace(0.05, 0.6, 9):
            dx, dy = (round(float(v)) for v in (towards[0] * reach * step, -towards[1] * reach * step))
            moved = np.full_like(small, 99)
            rows, columns = small.shape
            target = (slice(max(-dy, 0), rows - max(dy, 0)), slice(max(-dx, 0), columns - max(dx, 0)))
            source = (slice(max(dy, 0), rows - max(-dy, 0)), slice(max(dx, 0), columns - max(-dx, 0)))
            moved[target] = small[source]
            above = small - towards[2] * reach - moved
            shadow = np.maximum(shadow, np.clip((above - 0.03) / 0.05, 0, 1) * (above < 0.8))
        shadow = cv2.GaussianBlur(shadow, (0, 0), 1.6)
        return cv2.resize(shadow, (width, height), interpolation=cv2.INTER_LINEAR)

    def _occlusion(self, depth: np.ndarray) -> np.ndarray:
        """Ambient light that reaches hollows: the depth against its blurred self (Luft et al. 2006)."""
        seen = np.isfinite(depth)
        far = np.where(seen, depth, 0).astype(np.float32)
        weight = cv2.blur(seen.astype(np.float32), (25, 25))
        mean = cv2.blur(far, (25, 25)) / np.maximum(weight, 1e-6)
        return np.where(seen, 1 - np.clip((far - mean) * 2.2, -0.08, 0.5), 1)

    def _long_hair(self, image: np.ndarray, posed: np.ndarray, triangle: np.ndarray) -> None:
        """Hair behind head and neck, drawn where no body is seen (in place)."""
        if self.hair is None:
            return
        height, width = self.size
        screen, distance = self._project(posed)
        ids = self.head.triangles[self.hair]
        winner, _ = rasterize(screen[ids], distance[ids], height, width)
        place = np.flatnonzero((winner >= 0) & (triangle < 0))
        columns = np.random.default_rng(self.identity.seed).normal(0, 0.12, width)
        shade = 0.45 + columns[place % width]
        image[place] = np.square(self.appearance.hair) * shade[:, None]

    def _eyes(self, image, triangle, eyes, gaze) -> None:
        """Draw both eyeballs where an eye socket is seen (in place)."""
        height, width = self.size
        sockets = self.head.parts[np.maximum(triangle, 0)] == PARTS.index("socket")
        mask = (sockets & (triangle >= 0)).reshape(height, width)
        openness = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 3.0)
        above = np.roll(openness, 4, axis=0)
        light = np.clip(0.25 + 1.1 * np.minimum(openness, above), 0, 1).reshape(-1)
        place = np.flatnonzero(mask)
        y, x = np.divmod(place, width)
        scale = PIXELS_PER_DM * self.light.zoom * SUPERSAMPLING * DISTANCE
        ray = np.stack(
            [(x + 0.5 - width / 2) / scale, (EYE_ROW * height - y - 0.5) / scale, np.full(len(x), -1.0)], 1
        )
        start = np.array([0.0, 0.0, DISTANCE])
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        for centre, radius in eyes:
            near = np.flatnonzero(np.sign(x - width / 2) == np.sign(centre[0]))
            if not len(near):
                continue
            to = start - centre
            along = ray[near] @ to
            inside = along**2 - (to @ to - radius**2)
            hit = -along - np.sqrt(np.maximum(inside, 0))
            normal = (to + hit[:, None] * ray[near]) / radius
            colour = self._eye_colour(normal, gaze, radius)
            miss = inside < 0
            colour[miss] = (0.2, 0.07, 0.06)
            image[place[near]] = colour * light[place[near], None]
        self._lashes(image, mask)

    def _eye_colour(self, normal: np.ndarray, gaze: np.ndarray, radius: float) -> np.ndarray:
        """Linear colour of an eyeball at unit normals [n, 3] that looks along `gaze` (yaw, pitch)."""
        yaw, pitch = gaze
        ahead = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
        angle = np.arccos(np.clip(normal @ ahead, -1, 1)) * radius
        iris = smoothstep((IRIS_RADIUS - angle) / 0.008)[:, None]
        pupil_radius = 0.018 + 0.014 * self.identity.look["pupil"]
        pupil = smoothstep((pupil_radius - angle) / 0.006)[:, None]
        ring = np.clip(angle / IRIS_RADIUS, 0, 1)[:, None]
        white = np.array([0.60, 0.55, 0.52]) * (1 - 0.35 * np.clip(angle / 0.16, 0, 1)[:, None] ** 2)
        colour = np.square(self.appearance.iris) * (1.25 - 0.75 * ring**3)
        colour = white + iris * (colour - white)
        colour = colour * (1 - 0.97 * pupil)
        diffuse, _ = self._lit(normal)
        half = self.light.direction + np.array([0.0, 0.0, 1.0])
        half = half / np.linalg.norm(half)
        glint = np.clip(normal @ half, 0, 1) ** 350 * 0.9
        return colour * diffuse + glint[:, None]

    def _lashes(self, image: np.ndarray, mask: np.ndarray) -> None:
        """Darken the lid's edge above the open eye, and a little below (in place)."""
        height, width = self.size
        eye = mask.astype(np.float32)
        upper = np.maximum(np.roll(eye, -1, 0), np.roll(eye, -2, 0)) * (1 - eye)
        lower = np.roll(eye, 1, 0) * (1 - eye)
        strength = 0.45 + 0.5 * self.identity.look["lashes"]
        dark = cv2.GaussianBlur(strength * upper + 0.3 * strength * lower, (0, 0), 0.8)
        image *= 1 - np.clip(dark, 0, 0.95).reshape(height * width, 1)

    def _mouth_interior(self, image, triangle, depth, posed) -> None:
        """Draw teeth and tongue where the mouth's interior is seen (in place)."""
        head, (height, width) = self.head, self.size
        interior = (triangle >= 0) & (head.parts[np.maximum(triangle, 0)] == PARTS.index("mouth"))
        if not interior.any():
            return
        screen, distance = self._project(posed)
        ids = head.triangles[self.mouth]
        winner, nearest = rasterize(screen[ids], distance[ids], height, width)
        place = np.flatnonzero(interior & (winner >= 0))
        if not len(place):
            return
        shown = winner[place]
        parts = head.parts[self.mouth[shown]]
        values = np.concatenate([head.normals(posed)[ids], head.vertices[ids]], -1)
        at = interpolate(planes(screen[ids], values), shown, place, width)
        tongue = parts == PARTS.index("tongue")
        colour = np.where(tongue[:, None], (0.42, 0.13, 0.12), (0.72, 0.66, 0.56))
        gaps = 1 - 0.3 * np.exp(-np.square(((at[:, 3] / 0.075) % 1 - 0.5) / 0.08))
        colour = colour * np.where(tongue, 1, gaps)[:, None]
        lips = np.min(depth.reshape(-1)[interior])
        light = np.exp(-np.clip(nearest[place] - lips, 0, None) * 2.2)
        normal = at[:, :3] * np.sign(at[:, 2:3])
        normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        diffuse, _ = self._lit(normal)
        image[place] = colour * diffuse * (0.75 * light)[:, None]

    def _camera(self, image, triangle, rng: np.random.Generator) -> np.ndarray:
        """Average to the frame's size, soften silhouettes, expose, add sensor noise: uint8 RGB."""
        light, (height, width) = self.light, self.size
        picture = np.sqrt(np.clip(image * light.exposure, 0, 1)).reshape(height, width, 3)
        picture = cv2.resize(picture.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        picture = cv2.GaussianBlur(picture, (0, 0), light.blur)
        if light.grey:
            picture = np.repeat((picture @ np.array([0.299, 0.587, 0.114], np.float32))[..., None], 3, 2)
        channels = 1 if light.grey else 3
        grain = rng.standard_normal((HEIGHT, WIDTH, channels), np.float32) * light.sensor_noise
        flicker = 1 + rng.normal(0, 0.006)
        return np.clip(picture * (255 * flicker) + grain + 0.5, 0, 255).astype(np.uint8)
