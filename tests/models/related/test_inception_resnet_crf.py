"""Inception-ResNet with a chain: every size of the figure, the trunk's count block by block, what each stage trains."""

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.models.related.inception_resnet_crf import InceptionResNetCRF, Trunk, means_around

pytestmark = pytest.mark.slow

SIZES = {
    "stem1": (147, 147, 64),
    "stem2": (73, 73, 160),
    "stem3": (71, 71, 192),
    "stem4": (35, 35, 384),
    "A": (35, 35, 384),
    "reduction_A": (17, 17, 1152),
    "B": (17, 17, 1152),
    "reduction_B": (8, 8, 2144),
    "C": (8, 8, 2144),
}
COUNTS = {
    "stem": 604_864,
    "A": 137_328,
    "reduction_A": 2_901_248,
    "B": 1_171_232,
    "reduction_B": 3_928_064,
    "C": 2_087_872,
}


def test_every_size_of_the_figure_and_the_trunk_s_count():
    frame = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    variables = counting.shapes(Trunk(), frame)
    _, out = jax.eval_shape(Trunk().apply, variables, frame)
    assert {name: value.shape[1:] for name, value in out.items()} == SIZES
    counts = {name: counting.count({"params": tree}) for name, tree in variables["params"].items()}
    assert counts == COUNTS
    assert sum(counts.values()) == 10_830_608


@pytest.mark.parametrize(("head", "first_dense"), [("flat", 137_217_000), ("global", 2_145_000)])
def test_the_whole(head, first_dense):
    model = InceptionResNetCRF(head=head, frames=2)
    variables = counting.shapes(model, counting.frames(model, 299))
    # Six expressions and neutral: 7 logits of 1000 features, 119 parameters of the chain.
    assert counting.count(variables) == 10_830_608 + first_dense + 7_007 + 119


def test_means_around_each_pixel_of_the_map():
    x = np.random.default_rng(0).random((2, 9, 11, 3), np.float32)
    for values, side in ((x, 8), (x[:, :5], 8), (x, 3)):
        rows, columns = values.shape[1:3]
        before = [(min(side, size) - 1) // 2 for size in (rows, columns)]

        def near(axis: int, place: int, size: int, side=side, before=before) -> slice:
            start = place - before[axis]
            return slice(max(start, 0), min(start + min(side, size), size))

        expected = [
            [values[:, near(0, i, rows), near(1, j, columns)].mean((1, 2)) for j in range(columns)]
            for i in range(rows)
        ]
        expected = np.moveaxis(np.array(expected), 2, 0)
        np.testing.assert_allclose(means_around(jnp.asarray(values), side), expected, rtol=1e-6)


def test_each_stage_s_gradients():
    random = np.random.default_rng(0)
    clips = random.random((1, 3, 75, 75, 3)).astype(np.float32)
    fields = {"frames": 3, "size": 75, "divide": 16, "head": "global"}
    variables = counting.started(InceptionResNetCRF(**fields), clips)
    moved = {}
    for stage in ("network", "chain"):
        model = InceptionResNetCRF(**fields, stage=stage)

        def loss(params, model=model):
            outputs, _ = model.apply(
                {"params": params}, clips, train=True, rngs={"dropout": jax.random.key(0)}
            )
            return sum(jnp.square(leaf + 1).sum() for leaf in jax.tree.leaves(outputs))

        gradients = jax.jit(jax.grad(loss), compiler_options=counting.QUICK)(variables["params"])
        moved[stage] = {
            name
            for name, tree in gradients.items()
            if any(np.any(leaf != 0) for leaf in jax.tree.leaves(tree))
        }
    assert moved == {"network": {"trunk", "dense1", "logits"}, "chain": {"chain"}}


def test_unknown_fields_are_refused():
    model = InceptionResNetCRF(head="pyramid", frames=1, size=75)
    with pytest.raises(ValueError, match="head is 'pyramid'"):
        counting.shapes(model, counting.frames(model, 75))
