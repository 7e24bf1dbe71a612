"""A benchmark in parts: what is kept, what is made again, what the time leaves; and all parts with tiny networks."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tiny
from experiments.benchmark import parts
from experiments.benchmark.parts import Part
from speed_figures import figures
from stfer.reporting import speed, tables

PLAN = [Part("a", 1.0), Part("b", 5.0), Part("c", 1.0)]


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
            return {"of": name}

        return make


def run(path, clock, make, budget=100.0, settings=None):
    said = []
    found = parts.run(path, settings or {"size": 1}, PLAN, make, budget, said.append, clock)
    assert json.loads(path.read_text()) == found
    return found["parts"], said


def test_a_failed_part_is_noted_the_rest_goes_on_and_the_next_run_makes_what_is_missing(tmp_path):
    path, clock = tmp_path / "gpu.json", Clock()
    found, _ = run(path, clock, clock.make(failing="b"))
    assert clock.made == ["a", "b", "c"]
    assert found["a"] == {"result": {"of": "a"}, "seconds": 2.0}
    assert found["b"] == {"error": "b broke in two lines", "seconds": 2.0}
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
    text = tables.to_text(table)
    for part in (
        "Tests on the device: 30 passed, 1 failed: FAILED one.",
        "Not measured: accuracy: no set",
        "Absent: torch_compiled: no compiler (networks:rnn float32)",
        "Absent: no memory (subject:rnn bfloat16)",
    ):
        assert part in text


def test_a_file_that_is_no_measurement_is_refused(tmp_path):
    assert speed.find(tmp_path) is None
    (tmp_path / "gpu.json").write_text("[]")
    with pytest.raises(ValueError, match=r"gpu\.json is no result of experiments\.benchmark"):
        speed.find(tmp_path)


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
    beside = made["folds:single_frame"]["result"]
    assert {name: "absent" in one for name, one in beside.items()} == dict.fromkeys("1248", False)
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
        words = ["--what=scale", "--tiny", f"--part={part}", f"--out={out}"]
        command = [sys.executable, "-m", "experiments.benchmark", *words]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        found[part] = json.loads(out.read_text())
    ray = found["ray"]
    assert ray["finished"] == ray["folds"] == 2 * 6 * 3
    assert ray["logged_once"]
    assert ray["failures"] == 0
    assert ray["killed_after"] is None or ray["killed_after"] >= 18
    streamed = found["stream"]
    assert (streamed["clips"], streamed["tested"]) == (1000, 100)
    assert 0 <= streamed["waiting_share"] < 1
    assert (found["devices:2"]["devices"], found["devices:2"]["folds"]) == (2, 8)
