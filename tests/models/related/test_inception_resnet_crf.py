"""Inception-ResNet with a chain: every size of the figure, the trunk's count block by block, what each stage trains."""

import counting
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stfer.models.related.inception_resnet_crf import InceptionResNetCRF, Trunk

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


def test_the_flat_head_takes_means_over_eight_by_eight_pixels_of_the_map():
    model = InceptionResNetCRF(size=139, divide=8, frames=1, stage="network")
    frames = np.random.default_rng(0).random((2, 1, 139, 139, 3), np.float32)
    variables = model.init(jax.random.key(0), frames)
    logits, out = model.apply(variables, frames)
    last = np.asarray(out["C"][:, 0], np.float64)
    rows, columns = last.shape[1:3]
    window_rows, window_columns = min(8, rows), min(8, columns)

    def window(place: int, size: int, side: int) -> slice:
        start = place - (size - 1) // 2
        return slice(max(start, 0), min(start + size, side))

    means = np.stack(
        [
            last[:, window(i, window_rows, rows), window(j, window_columns, columns)].mean((1, 2))
            for i in range(rows)
            for j in range(columns)
        ],
        axis=1,
    )
    params = jax.tree.map(np.asarray, variables["params"])
    first, second = params["dense1"], params["logits"]
    hidden = np.maximum(means.reshape(2, -1) @ first["kernel"] + first["bias"], 0)
    expected = hidden @ second["kernel"] + second["bias"]
    assert rows > 1
    np.testing.assert_allclose(logits[:, 0], expected, atol=1e-5 * np.abs(expected).max())


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
