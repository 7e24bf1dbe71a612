"""Killed at any moment, stopped, started twice: finished folds stay, and the end is the same to the bit."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

import tiny
from fork_server import ROOT, Forks
from patience import PATIENCE

pytestmark = pytest.mark.slow

KILLS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    return Forks(tmp_path_factory.mktemp("output"))


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    data = tiny.write_set(tmp_path_factory.mktemp("data") / "tiny", subjects=3)
    return (
        "--modules=tiny",
        "--arch=tiny",
        f"--data={data}",
        "--epochs=2",
        "--batch_size=4",
        "--learning_rate=0.01",
    )


@pytest.fixture(scope="module")
def whole(server, flags, tmp_path_factory):
    """An uninterrupted run: its folder and how long it took."""
    workdir = tmp_path_factory.mktemp("whole")
    began = time.monotonic()
    code, printed = server.run(*flags, "--checkpoint_seconds=0", f"--workdir={workdir}")
    assert code == 0, printed
    return run_folder(workdir), time.monotonic() - began


def run_folder(workdir):
    return workdir / "tiny-set" / "loso" / "tiny" / "seed=0"


def saving(folder):
    """Whether Orbax is writing a training state."""
    return [*folder.glob("folds/*/training/*tmp*"), *folder.glob("folds/*/training/*/*tmp*")]


def writing_result(folder):
    """Whether a finished fold's weights, its record or the tables are being written."""
    return [
        *folder.glob("folds/*/.checkpoint.new*"),
        *folder.glob("folds/*/.fold.json*"),
        *folder.glob(".*.csv.*"),
        *folder.glob(".result.json*"),
    ]


def test_twenty_kills_at_random_moments_change_no_bit(server, flags, whole, tmp_path):
    """During start and compilation, training, the writing of a checkpoint and of a result."""
    reference, seconds = whole
    moments = random.Random(20)
    killed = {"any": 0, "compiling": 0, "saving": 0, "result": 0}
    finished = 0
    while sum(killed.values()) < KILLS or not finished:
        folder = run_folder(tmp_path / f"run-{finished}")
        kind = min(killed, key=killed.get) if sum(killed.values()) < KILLS else "none"
        command = server.start(
            *flags,
            "--checkpoint_seconds=0",
            f"--workdir={tmp_path / f'run-{finished}'}",
            JAX_ENABLE_COMPILATION_CACHE=str(kind != "compiling").lower(),
        )
        alive = kind != "none"
        if kind == "any":
            time.sleep(moments.uniform(0, seconds / 2))
        elif kind == "compiling":
            alive = command.wait_until(lambda c=command: "run folder" in c.printed)
            time.sleep(moments.uniform(0, seconds / 6))
        elif kind == "saving":
            # Not always the first one.
            for _ in range(moments.randrange(1, 4)):
                alive = alive and command.wait_until(lambda f=folder: saving(f))
            time.sleep(moments.uniform(0, 0.02))
        elif kind == "result":
            alive = command.wait_until(lambda f=folder: writing_result(f))
            time.sleep(moments.uniform(0, 0.02))
        if alive:
            command.kill()
        code = command.wait()
        if code == -signal.SIGKILL:
            killed[kind] += 1
            continue
        assert code == 0, command.printed
        finished += 1
        assert (folder / "predictions.csv").read_bytes() == (
            reference / "predictions.csv"
        ).read_bytes()
        assert (folder / "history.csv").read_bytes() == (reference / "history.csv").read_bytes()
        assert not saving(folder)
    assert all(count >= 3 for count in killed.values()), killed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_a_signal_saves_and_says_how_to_go_on(server, flags, whole, tmp_path, number):
    flags = (*flags, f"--workdir={tmp_path}", "--checkpoint_seconds=3600")
    folder = run_folder(tmp_path)
    command = server.start(*flags)
    command.wait_until(lambda: list(folder.glob("folds/*/fold.json")))
    before = command.processor_seconds()
    command.kill(number)
    assert command.wait() == 128 + number, command.printed
    assert command.processor_seconds() - before < 60  # Of its own: the machine may be under load.
    assert "the same command goes on" in command.printed
    assert "Traceback" not in command.printed
    done = {path: path.stat().st_ino for path in folder.glob("folds/*/fold.json")}
    code, printed = server.run(*flags)
    assert code == 0, printed
    assert {path: path.stat().st_ino for path in done} == done
    assert (folder / "predictions.csv").read_bytes() == (whole[0] / "predictions.csv").read_bytes()


def in_a_long_call(grace_seconds: float, rounds: int) -> subprocess.Popen:
    """A process that listens for signals while one call, of so many rounds, holds its main thread.

    It prints `working` and, as soon as it has heard of a signal, `heard`.
    """
    script = (
        "import hashlib, threading, time\n"
        "from stfer.runs.stop import stop_requests\n"
        "def report():\n"
        "    while not should_stop():\n"
        "        time.sleep(0.01)\n"
        "    print('heard', flush=True)\n"
        f"with stop_requests(grace_seconds={grace_seconds}) as should_stop:\n"
        "    threading.Thread(target=report, daemon=True).start()\n"
        "    print('working', flush=True)\n"
        f"    hashlib.pbkdf2_hmac('sha256', b'', b'', {rounds})\n"
        "    print('left by itself', should_stop())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "working\n"
    return process


def test_a_signal_during_a_long_call_leaves_after_the_grace_period():
    process = in_a_long_call(grace_seconds=0.5, rounds=500_000_000)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert "goes on from the last checkpoint" in printed


@pytest.mark.parametrize(("pause", "left_at_once"), [(0.0, False), (1.2, True)])
def test_the_same_signal_twice_is_one_request_unless_it_comes_later(pause, left_at_once):
    """A terminal's Ctrl-C reaches a run directly and through its parent."""
    process = in_a_long_call(grace_seconds=PATIENCE, rounds=10**9 if left_at_once else 10**7)
    if pause:
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "heard\n"
        time.sleep(pause)
        process.send_signal(signal.SIGTERM)
    else:
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            process.send_signal(number)  # Both wait for it when it goes on.
    printed, _ = process.communicate(timeout=PATIENCE)
    assert ("left by itself True" in printed) == (not left_at_once)
    assert process.returncode == (130 if left_at_once else 0)


def test_a_second_process_is_refused_with_the_name_of_the_first(server, flags, tmp_path):
    flags = (*flags, f"--workdir={tmp_path}", "--epochs=200")
    first = server.start(*flags)
    assert first.wait_until(lambda: "run folder" in first.printed)
    code, printed = server.run(*flags)
    assert code == 2
    assert f"process {first.process} on " in printed
    first.kill()
    first.wait()
    # Its name is still in the file, its lock is not: a new one gets on.
    assert f"process {first.process} " in (run_folder(tmp_path) / ".lock").read_text()
    third = server.start(*flags)
    assert third.wait_until(lambda: "run folder" in third.printed)
    third.kill()
    third.wait()


def test_shares_of_an_array_job_merge_to_the_whole_run(server, flags, whole, tmp_path):
    flags = (*flags, f"--workdir={tmp_path}")
    jobs = [server.start(*flags, "--shares=2", f"--share={index}") for index in (0, 1)]
    assert [job.wait() for job in jobs] == [0, 0], [job.printed for job in jobs]
    folder = run_folder(tmp_path)
    assert not (folder / "result.json").exists()
    code, printed = server.run(*flags, "--merge")
    assert code == 0, printed
    assert (folder / "predictions.csv").read_bytes() == (whole[0] / "predictions.csv").read_bytes()


def test_a_merge_says_what_is_missing(server, flags, tmp_path):
    flags = (*flags, f"--workdir={tmp_path}")
    code, printed = server.run(*flags, "--merge")
    assert (code, "--merge found no run in" in printed) == (2, True)
    code, printed = server.run(*flags, "--shares=3", "--share=1")
    assert code == 0, printed
    code, printed = server.run(*flags, "--merge")
    assert code == 1
    assert "1 of 3 folds" in printed
    assert re.search(r"^not finished: S000, S002$", printed, re.M)
    assert json.loads((run_folder(tmp_path) / "result.json").read_text())["folds_done"] == 1


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--shares=2"], "--shares needs --share"),
        (["--shares=2", "--share=2"], "--share=2"),
        (["--share=0", "--merge"], "--merge"),
    ],
)
def test_flags_that_do_not_fit_are_refused(server, flags, tmp_path, given, named):
    code, printed = server.run(*flags, f"--workdir={tmp_path}", *given)
    assert code == 2
    assert f"error: {named}" in printed
