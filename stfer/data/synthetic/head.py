"""The CC0 head of the synthetic set: its mesh, its targets and their sums.

`head.npz` is MakeHuman's base mesh hm08 above the chest with 398 targets, rebuilt by `build_head.py`; see
HEAD_LICENSE.md. Lengths are decimetres; x points to the person's left, y up, z out of the face.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from stfer.data.synthetic.head_format import PARTS

HEAD_FILE = Path(__file__).with_name("head.npz")
MOVE_UNIT = 1e-3


@dataclass(frozen=True)
class Head:
    """The mesh and its targets.

    Attributes:
        vertices: float32 [vertices, 3], the neutral average head.
        triangles: int64 [triangles, 3], counter-clockwise seen from outside.
        uv: float32 [triangles, 3, 2], texture place of each corner, v downwards, in the unit square.
        parts: uint8 [triangles], index into PARTS.
        anchors: vertex ids of joints and eyeballs by group name of the base mesh.
        targets: name -> (vertex ids [k], displacements float32 [k, 3]).
        masks: lips, eyelids, ears: uint8 images over the head's window of the texture square.
        to_vertices: sparse [vertices, triangles], sums a triangle's value into its corners.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    parts: np.ndarray
    anchors: Mapping[str, np.ndarray]
    targets: Mapping[str, tuple[np.ndarray, np.ndarray]]
    masks: Mapping[str, np.ndarray]
    to_vertices: sparse.csr_array

    def part(self, *names: str) -> np.ndarray:
        """Triangle ids of the named parts, int64 [k]."""
        return np.flatnonzero(np.isin(self.parts, [PARTS.index(name) for name in names]))

    def vertices_of(self, *names: str) -> np.ndarray:
        """Vertex ids of the named parts, ascending, int64 [k]."""
        return np.unique(self.triangles[self.part(*names)])

    def displacement(self, weights: Mapping[str, float]) -> np.ndarray:
        """The weighted sum of targets, float32 [vertices, 3].

        Raises:
            ValueError: a name that is no target of this head.
        """
        total = np.zeros_like(self.vertices)
        for name, weight in weights.items():
            if name not in self.targets:
                raise ValueError(f"{name!r} is no target of {HEAD_FILE.name}")
            ids, moves = self.targets[name]
            total[ids] += np.float32(weight) * moves
        return total

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """Unit vertex normals, float32 [vertices, 3], weighted by the area of the triangles around."""
        corners = vertices[self.triangles]
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = self.to_vertices @ faces
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@functools.cache
def load_head() -> Head:
    """Read the packaged head (once a process)."""
    with np.load(HEAD_FILE, allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    triangles = data["triangles"].astype(np.int64)
    count, corners = len(data["vertices"]), triangles.ravel()
    faces = np.repeat(np.arange(len(triangles)), 3)
    ones = np.ones(len(corners), np.float32)
    starts = data["target_starts"]
    return Head(
        vertices=data["vertices"],
        triangles=triangles,
        uv=data["uv"].astype(np.float32) / 65535,
        parts=data["parts"],
        anchors={k: np.array(v) for k, v in json.loads(str(data["anchors"])).items()},
        targets={
            str(name): (
                data["target_vertices"][a:b].astype(np.int64),
                data["target_moves"][a:b].astype(np.float32) * np.float32(MOVE_UNIT),
            )
            for name, a, b in zip(data["target_names"], starts[:-1], starts[1:], strict=True)
        },
        masks={name: data[f"mask_{name}"] for name in ("lips", "eyelids", "ears")},
        to_vertices=sparse.csr_array((ones, (corners, faces)), shape=(count, len(triangles))),
    )
