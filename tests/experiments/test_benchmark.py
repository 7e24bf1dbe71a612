"""The benchmark: our contender end to end, peers that are absent, operations by hand, bad flags."""

import json
import subprocess
import sys

import jax
import pytest

from experiments.benchmark import networks
from experiments.benchmark.peers import systems
from patience import PATIENCE
from stfer.models import create_model
from stfer.models.related import RELATED


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.benchmark", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.slow
def test_one_measurement_and_absent_peers(tmp_path):
    out = tmp_path / "figures" / "benchmark.json"
    done = run(
        "--archs=single_frame",
        "--contenders=ours,torch_eager,keras",
        "--batch_size=1",
        "--size=128",
        "--repeats=1",
        "--loop_steps=2",
        "--torch_python=/nowhere/python",
        f"--keras_python={_without_keras(tmp_path)}",
        f"--out={out}",
    )
    assert done.returncode == 0, done.stderr
    assert "torch_eager      absent: /nowhere/python: No such file or directory" in done.stdout
    assert "is keras and tensorflow installed?" in done.stdout
    figures = json.loads(out.read_text())["single_frame"]
    assert set(figures["absent"]) == {"torch_eager", "keras"}
    ours = figures["contenders"]["ours"]
    assert all(ours[what]["median_seconds"] > 0 for what in ("forward", "step", "loop"))
    assert ours["memory"]["resident"] > 100e6
    assert figures["ratios"] == {}


def _without_keras(folder):
    """An interpreter that cannot import anything but the standard library."""
    script = folder / "python"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    script.chmod(0o755)
    return script


def test_operations_of_the_single_frame_by_hand():
    layers = [  # outputs a side, kernel side, channels in, features
        (54, 11, 3, 96),
        (23, 5, 96, 256),
        (9, 3, 256, 384),
        (7, 3, 384, 384),
        (5, 3, 384, 256),
        (1, 1, 1024, 4096),
        (1, 1, 4096, 4096),
        (1, 1, 4096, 6),
    ]
    by_hand = [2 * side**2 * size**2 * c * f for side, size, c, f in layers]
    found = networks.operations("single_frame", 1, 170)
    assert found == {"forward": sum(by_hand), "training": 3 * sum(by_hand) - by_hand[0]}


@pytest.mark.slow
def test_operations_count_towers_and_windows():
    single = networks.operations("single_frame", 2, 170)["forward"]
    first = 2 * 2 * 54**2 * 11**2 * 3 * 96
    assert networks.operations("early_fusion", 2, 170)["forward"] == single + 9 * first
    head = 2 * 2 * (1024 * 4096 + 4096 * 4096 + 4096 * 6)
    late = 2 * (single - head) + head + 2 * 2 * 1024 * 4096
    assert networks.operations("late_fusion", 2, 170)["forward"] == late
    recurrent = 2 * 2 * 5 * (1024 * 15 + 5 * 15) + 2 * 2 * 5 * 6
    assert networks.operations("rnn", 2, 170)["forward"] == 5 * (single - head) + recurrent


def test_section_iii_s_entries_are_what_our_modules_take():
    """Every system of section III has an entry, of a size and fields that its module answers with logits."""
    assert {name.partition(":")[0] for name in systems.SYSTEMS} == set(RELATED)
    for name, system in systems.SYSTEMS.items():
        model = create_model(name.partition(":")[0], **system.fields)
        inputs = [jax.ShapeDtypeStruct(s, "float32") for s in systems.shapes(name, 2).values()]
        (outputs, _), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), *inputs)
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        assert (logits.shape[0], logits.shape[-1]) in ((2, 6), (2, 7)), name


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["archs", "contenders"])
def test_unknown_names_are_one_sentence(flag):
    done = run(f"--{flag}=nobody")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: --{flag}: unknown 'nobody'; known are ")
    assert len(done.stderr.splitlines()) == 1


def test_ratios_take_the_fastest_peer():
    def row(seconds):
        one = {"median_seconds": seconds, "median_cpu_seconds": 2 * seconds}
        return {"forward": one, "step": one, "loop": one}

    rows = {"ours": row(1.0), "keras": row(4.0), "torch_eager": row(2.0)}
    assert set(networks.ratios(rows).values()) == {0.5}
    assert networks.ratios({"ours": row(1.0)}) == {}


@pytest.mark.slow
def test_predictions_are_timed_whole_and_in_parts(capsys):
    from experiments.benchmark import prediction

    shipped, large, single = prediction.measure(["single_frame"], frames=40, repeats=1)
    assert [shipped["size"], large["size"]] == [(640, 360), (1920, 1080)]
    assert shipped["model"] == large["model"] == "ships with stfer"
    assert single["model"] == "single_frame"
    for row in (shipped, large, single):
        assert all(row[name] > 0 for name in ("frames_per_second", "core_ms"))
        assert all(row[name] > 0 for name in ("decode", "faces", "network", "draw"))
    prediction.print_rows([shipped | {"frames_per_second": 59.9}])
    assert "59.9" in (shown := capsys.readouterr().out)
    assert shown.rstrip().endswith("below the goal of 60")


@pytest.mark.slow
def test_single_layers_are_timed_in_both_forms(monkeypatch):
    from experiments.benchmark import layers

    every = layers.layers(batch=2, size=170)
    # The sides of SPEC's table at 170 pixels: what each convolution sees.
    sides = [shapes[0][1] for name, *_, shapes in every if "conv" in name]
    assert sides == [170, 27, 11, 9, 7]
    few = [
        row for row in every if row[0].startswith(("block3 conv3", "block3 pool", "head dense1"))
    ]
    monkeypatch.setattr(layers, "layers", lambda batch, size: few)
    conv, pool, dense = layers.measure(2, 170, repeats=1)
    for row in layers.augmentations(2, 24, repeats=1):
        assert set(row) == {"layer", "ours"}
        assert row["ours"] > 0
    assert set(conv) == set(pool) == {"layer", "ours", "xla", "ours_gradients", "xla_gradients"}
    assert set(dense) == {"layer", "ours", "ours_gradients"}
    assert all(row[kind] > 0 for row in (conv, pool, dense) for kind in row if kind != "layer")
