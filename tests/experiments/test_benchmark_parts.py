"""A benchmark in parts: what is kept, what is made again, what the time leaves; and all parts with tiny networks."""

import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

import stfer
import tiny
from experiments.benchmark import gpu, networks, origin, parts, scale
from experiments.benchmark.parts import Part
from speed_figures import figures
from stfer.reporting import speed, tables
from stfer.runs import source
from stfer.runs.environment import hardware
from stfer.storage.locks import held

PLAN = [Part("a", 1.0), Part("b", 5.0), Part("c", 1.0)]
HERE = {"device": "a card", "code": "stfer 1 (abc)"}


class Clock:
    """A clock that parts move."""

    def __init__(self):
        self.time = 0.0
        self.made = []

    def __call__(self):
        return self.time

    def make(self, failing=(), seconds=2.0):
        def make(name, left):
            assert left > 0
            self.made.append(name)
            self.time += seconds
            if name in failing:
                raise RuntimeError(f"{name} broke\n  in two lines")
            return {"result": {"of": name}, "device": HERE["device"]}

        return make


def run(path, clock, make, budget=100.0, settings=None, here=HERE, lacks=lambda result: False):
    said = []
    settings = settings or {"size": 1}
    found = parts.run(path, settings, PLAN, make, budget, here, lacks, said.append, clock)
    assert json.loads(path.read_text()) == found
    return found["parts"], said


def test_a_failed_part_is_noted_the_rest_goes_on_and_the_next_run_makes_what_is_missing(tmp_path):
    path, clock = tmp_path / "gpu.json", Clock()
    found, _ = run(path, clock, clock.make(failing="b"))
    assert clock.made == ["a", "b", "c"]
    assert found["a"] == {"result": {"of": "a"}, "seconds": 2.0, **HERE}
    assert found["b"] == {"error": "b broke in two lines", "seconds": 2.0, **HERE}
    found, _ = run(path, clock, clock.make())
    assert clock.made == ["a", "b", "c", "b"]
    assert all("result" in found[name] for name in "abc")
    run(path, clock, clock.make())
    assert len(clock.made) == 4


def test_a_part_that_the_time_does_not_hold_is_left_for_the_next_run(tmp_path):
    path, clock = tmp_path / "gpu.json", Clock()
    found, said = run(path, clock, clock.make(), budget=6.0)
    assert clock.made == ["a", "c"]
    assert set(found) == {"a", "c"}
    assert said[1] == "b: left for the next run (4 s left, 5 s needed)"
    run(path, clock, clock.make(), budget=6.0)
    assert clock.made == ["a", "c", "b"]


def test_what_was_never_tried_comes_before_what_failed(tmp_path):
    path, clock = tmp_path / "gpu.json", Clock()
    run(path, clock, clock.make(failing="a"), budget=4.0)
    assert clock.made == ["a", "c"]
    run(path, clock, clock.make())
    assert clock.made == ["a", "c", "b", "a"]


def test_a_file_of_other_settings_is_refused(tmp_path):
    path, clock = tmp_path / "gpu.json", Clock()
    run(path, clock, clock.make())
    with pytest.raises(ValueError, match=r"holds another measurement \(size was 1\); give another"):
        run(path, clock, clock.make(), settings={"size": 2})


@pytest.mark.parametrize("here", [HERE | {"device": "a CPU"}, HERE | {"code": "stfer 1 (def)"}])
def test_a_file_from_another_device_or_other_code_is_refused_with_both_names(tmp_path, here):
    path, clock = tmp_path / "gpu.json", Clock()
    run(path, clock, clock.make(), budget=2.0)
    before = path.read_text()
    with pytest.raises(
        ValueError, match=r"gpu\.json holds a from .*; give another --out$"
    ) as found:
        run(path, clock, clock.make(), here=here)
    assert "a from a card with stfer 1 (abc)" in str(found.value)
    assert f"this is {here['device']} with {here['code']}" in str(found.value)
    assert path.read_text() == before
    old = json.loads(before)
    del old["parts"]["a"]["device"]
    path.write_text(json.dumps(old))
    with pytest.raises(ValueError, match="a from an unknown device with"):
        run(path, clock, clock.make())


def test_a_part_that_ran_on_another_device_than_the_rest_is_no_result(tmp_path):
    def make(name, left):
        return {"result": 1, "device": "a CPU" if name == "b" else "a card"}

    found, _ = run(tmp_path / "gpu.json", Clock(), make)
    assert {name for name, part in found.items() if "result" in part} == {"a", "c"}
    assert found["b"]["error"] == "it was made on a CPU, and the other parts on a card"


def test_a_part_that_lacks_something_is_made_again_after_all_others_and_kept_where_that_fails(
    tmp_path,
):
    path, clock = tmp_path / "gpu.json", Clock()
    run(path, clock, clock.make(failing="b"), budget=6.0)
    run(path, clock, clock.make(failing="b"))

    def lacks(result):
        return result == {"of": "a"}

    clock.made.clear()
    found, said = run(path, clock, clock.make(failing="a"), lacks=lacks)
    assert clock.made == ["b", "a"]
    assert found["a"]["result"] == {"of": "a"}
    assert said[1].startswith("a: a broke")

    def richer(name, left):
        return {"result": {"of": name, "torch": True}, "device": "a card"}

    found, _ = run(path, clock, richer, lacks=lacks)
    assert found["a"]["result"]["torch"]
    assert found["c"]["result"] == {"of": "c"}


def test_only_what_was_made_without_pytorch_lacks_it_and_only_while_pytorch_is_there(monkeypatch):
    flags = types.SimpleNamespace(
        contenders=["ours", "torch_eager"], torch_python="/nowhere/python"
    )
    for module in (gpu, networks):
        monkeypatch.setattr(module, "FLAGS", flags)
    networks.has_torch.cache_clear()
    assert not networks.has_torch()
    assert not gpu.lacks({"torch": False})
    monkeypatch.setattr(networks, "has_torch", lambda: True)
    assert gpu.lacks({"torch": False})
    assert not any(gpu.lacks(made) for made in ({"torch": True}, {"torch": None}, {}, [1]))
    flags.contenders = ["ours"]
    assert not gpu.lacks({"torch": False})


@pytest.mark.slow
def test_where_figures_come_from():
    known = {"device": origin.device(os.environ), "code": origin.code()}
    assert known["device"] == hardware()["device"]
    digest = source.package_digest("stfer")
    assert known["code"].startswith(f"stfer {stfer.__version__} ({digest}-")
    with pytest.raises(ValueError, match=r"^JAX finds no device to measure: .*nonsense"):
        origin.device(os.environ | {"JAX_PLATFORMS": "nonsense"})


@pytest.mark.slow
def test_shapes_are_counted_without_taking_a_device():
    words = (
        "from experiments.benchmark import networks; networks.operations('single_frame', 2, 128); "
        "import jax; jax.config.update('jax_num_cpu_devices', 3); print(jax.device_count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "3", done.stderr


@pytest.mark.parametrize(("seconds", "measured"), [((2.0, 7.0), True), ((2.0, 1.9), False)])
def test_a_longer_training_that_took_no_longer_gives_no_figure(monkeypatch, seconds, measured):
    class Worker:
        def ask(self, what, steps=1):
            took = seconds[steps > 1] / steps
            return {"loop": {"seconds": took}, "matrix_product": {"rate": 1e12}}.get(what, {})

    flags = types.SimpleNamespace(epochs=5, repeats=3, batch_size=32, size=128)
    monkeypatch.setattr(gpu, "FLAGS", flags)
    training = {"folds_per_device": 2, "sequences": 198, "subjects": 118, "fields": {}}
    found = gpu._seconds_a_subject(Worker(), training, "single_frame")
    if measured:
        assert found["seconds_an_epoch"] == pytest.approx(0.5)
        assert found["seconds_once"] == pytest.approx(0.5)
        assert found["seconds_a_subject"] == pytest.approx(100.5)
    else:
        assert found["not_measured"].startswith("6 epochs took 1.9 s and one took 2 s")
        assert not any(name.startswith("seconds") or name == "limit" for name in found)


def test_nothing_is_measured_while_another_training_is_built(monkeypatch):
    asked = []

    class Worker:
        def __init__(self, name):
            self.built = {}

        def ask(self, what, settings):
            time.sleep(settings["seconds"])
            asked.append(what)
            return {}

        def close(self):
            asked.append("close")

    monkeypatch.setattr(gpu, "Contender", Worker)
    monkeypatch.setattr(gpu, "_seconds_a_subject", lambda *_: asked.append("measure"))
    trainings = {name: {"seconds": wait} for name, wait in (("a", 0), ("b", 0.1), ("c", 0.2))}
    assert list(gpu._trained(trainings, "rnn", 3)) == ["a", "b", "c"]
    assert asked == ["build"] * 3 + ["measure"] * 3 + ["close"] * 3
    asked.clear()
    gpu._trained(trainings, "rnn", 1)
    assert asked == ["build", "measure", "close"] * 3


def test_folds_that_found_no_memory_beside_others_are_measured_alone(monkeypatch):
    tries = []

    def trained(trainings, arch, beside):
        tries.append((sorted(trainings), beside))
        full = len(trainings) > 1
        return {n: {"absent": "memory"} if full and n == "8" else {"made": n} for n in trainings}

    monkeypatch.setattr(gpu, "_trained", trained)
    monkeypatch.setattr(gpu, "_training", lambda *_: {})
    monkeypatch.setattr(gpu, "FLAGS", types.SimpleNamespace(tiny=False))
    assert gpu.folds("rnn") == {n: {"made": n} for n in ("1", "2", "4", "8")}
    assert tries == [(["1", "2", "4", "8"], 4), (["8"], 1)]


def test_made_sets_of_different_names_differ():
    with scale.made_set(2, 2, 3, 8, "made-0") as one, scale.made_set(2, 2, 3, 8, "made-1") as other:
        first, second = (np.load(next(folder.glob("*.npy"))) for folder in (one, other))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


@pytest.mark.slow
def test_a_process_s_result_its_error_and_its_end_when_the_time_is_up(tmp_path):
    script = tmp_path / "part.py"
    script.write_text(
        "import pathlib, subprocess, sys\n"
        "name, out = (word.partition('=')[2] for word in sys.argv[1:])\n"
        "if name == 'slow':\n"
        f"    subprocess.Popen(['sleep', '60'], stdout=open({str(tmp_path / 'held')!r}, 'w')).wait()\n"
        "if name == 'bad':\n"
        "    sys.exit('first line\\nthe last line')\n"
        "pathlib.Path(out).write_text('[1, 2]')\n"
    )
    make = parts.in_a_process([str(script)])
    assert make("good", 60.0) == [1, 2]
    with pytest.raises(RuntimeError, match=r"^the last line$"):
        make("bad", 60.0)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"^ended after 1 s: the time was up$"):
        make("slow", 1.0)
    assert time.monotonic() - began < 30


def test_the_table_shows_milliseconds_shares_seconds_and_what_is_lacking():
    table = speed.table(figures())
    assert "a card" in table.title
    first, second, third = table.cells
    assert first == [
        *("RNN", "float32", "10.00", "20.00", "-", "4.00", "5.00", "-", "0.500", "3.00", "4.00"),
        *("-", "-", "1.50", "2,088.28"),
    ]
    assert (second[1], third[1]) == ("tensorfloat32", "bfloat16")
    assert second[2:-1] == ["-"] * 12
    assert len(set(table.headers)) == len(table.headers)
    text = tables.to_text(table)
    for part in (
        "Tests on the device: 30 passed, 1 failed: FAILED one.",
        "Not measured: accuracy: no set",
        "Absent: torch_compiled: no compiler (networks:rnn float32)",
        "Absent: no memory (subject:rnn bfloat16)",
        "Not measured: too short (folds:rnn 4)",
    ):
        assert part in text


def test_a_file_that_is_no_measurement_is_refused(tmp_path):
    assert speed.find(tmp_path) is None
    (tmp_path / "gpu.json").write_text("[]")
    with pytest.raises(ValueError, match=r"gpu\.json is no result of experiments\.benchmark"):
        speed.find(tmp_path)
    for text in ('{"parts": {}}', '{"settings": {"scale": true, "tiny": true}, "parts": {}}'):
        (tmp_path / "scale.json").write_text(text)
        with pytest.raises(
            ValueError, match=r"its settings lack batch_size, size, epochs(, tiny)?$"
        ):
            speed.read(tmp_path / "scale.json")


def measure(out, part):
    words = ["--what=scale", "--tiny", f"--out={out}", *([f"--part={part}"] if part else [])]
    command = [sys.executable, "-m", "experiments.benchmark", *words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_one_part_does_not_replace_a_file_of_parts_nor_a_file_that_another_run_writes(tmp_path):
    out = tmp_path / "scale.json"
    run(out, Clock(), Clock().make())
    before = out.read_text()
    done = measure(out, "stream")
    assert done.returncode
    assert (
        f"--part=stream would replace all parts in {out} by this one; give another" in done.stderr
    )
    with held(tmp_path / ".scale.json.lock", "it"):
        done = measure(out, None)
    assert done.returncode
    assert f"process {os.getpid()} on " in done.stderr
    assert "is working on scale.json" in done.stderr
    assert out.read_text() == before


@pytest.mark.slow
def test_every_part_with_tiny_networks_and_a_second_run_that_makes_nothing(tmp_path):
    data = tiny.write_set(tmp_path / "set", subjects=2, size=128)
    out = tmp_path / "gpu.json"
    words = [
        *(sys.executable, "-m", "experiments.benchmark", "--what=gpu", "--tiny", f"--out={out}"),
        *("--archs=single_frame", "--batch_size=2", "--size=128", "--repeats=1", "--loop_steps=1"),
        *(
            "--epochs=1",
            f"--accuracy_data={data}",
            "--torch_python=/nowhere/python",
            "--minutes=60",
        ),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = json.loads(out.read_text())["parts"]
    assert {name: part.get("error") for name, part in made.items()} == dict.fromkeys(made)
    kinds = ("subject", "folds", "networks")
    assert set(made) == {"device", "tests", "accuracy", *(f"{k}:single_frame" for k in kinds)}
    assert made["tests"]["result"]["counts"]["passed"] > 3
    for precision, measured in made["networks:single_frame"]["result"]["precisions"].items():
        assert measured["contenders"]["ours"]["step"]["median_seconds"] > 0, precision
        assert "No such file" in measured["absent"]["torch_eager"]
    assert made["networks:single_frame"]["result"]["torch"] is False
    assert {(part["device"], part["code"]) for part in made.values()} == {
        (hardware()["device"], origin.code())
    }
    beside = made["folds:single_frame"]["result"]
    assert {name: "absent" in one for name, one in beside.items()} == dict.fromkeys("12", False)
    assert all("not_measured" in one or one["seconds_an_epoch"] > 0 for one in beside.values())
    assert all(one["memory"]["resident"] > 0 for one in beside.values())
    assert 0 <= made["accuracy"]["result"]["same_class"] <= 1
    assert "tries the measurement" in done.stdout
    again = subprocess.run(words, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert json.loads(out.read_text())["parts"] == made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_few_folds_on_a_cluster_that_loses_a_node_and_a_small_streamed_set(tmp_path):
    pytest.importorskip("ray", reason="the extra 'ray' is not installed", exc_type=ImportError)
    found = {}
    for part in ("ray", "stream", "devices:2"):
        out = tmp_path / "part.json"
        done = measure(out, part)
        assert done.returncode == 0, done.stderr
        found[part] = json.loads(out.read_text())["result"]
    ray = found["ray"]
    assert ray["finished"] == ray["folds"] == 2 * 6 * 3
    assert ray["logged_once"]
    assert ray["failures"] == 0
    assert ray["killed_after"] is not None
    assert ray["killed_after"] >= 18
    streamed = found["stream"]
    assert (streamed["clips"], streamed["tested"]) == (1000, 100)
    assert 0 <= streamed["waiting_share"] < 1
    assert (found["devices:2"]["devices"], found["devices:2"]["folds"]) == (2, 8)
