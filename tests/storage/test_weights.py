"""Weights with checksums: what comes back, what is told from good ones, and what a failure leaves behind."""

import logging
import os
import resource
import shutil
import sys

import numpy as np
import pytest

from damage import damage_arrays, flip
from stfer.storage.weights import CheckpointError, load_weights, save_weights

IDENTITY = {"settings": {"architecture": "tiny", "learning_rate": 1e-5}, "held_out": "S1"}
# TensorStore's reads that fail together report to Orbax's event loop after the first has closed it.
late_reports = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def variables(seed, arrays=1):
    random = np.random.default_rng(seed)
    params = {f"w{i}": random.random(30_000, np.float32) for i in range(arrays)}
    return {"params": params, "batch_stats": {}}


def test_weights_come_back_with_their_identity_and_replace_earlier_ones(tmp_path):
    for seed in (1, 2):
        save_weights(tmp_path / "w", variables(seed), IDENTITY)
        found, identity = load_weights(tmp_path / "w")
        np.testing.assert_array_equal(found["params"]["w0"], variables(seed)["params"]["w0"])
        assert found["batch_stats"] == {}
        assert identity == IDENTITY
    assert os.listdir(tmp_path) == ["w"]


@late_reports
def test_altered_weights_are_refused(tmp_path):
    save_weights(tmp_path / "good", variables(0), IDENTITY)
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    damage_arrays(tmp_path / "bad", flip)
    load_weights(tmp_path / "good")
    with pytest.raises(CheckpointError, match="bad"):
        load_weights(tmp_path / "bad")


def test_no_checkpoint_is_said_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        load_weights(tmp_path / "nothing")


@pytest.mark.slow
def test_a_failed_save_is_one_error_and_leaves_the_process_and_the_folder_as_they_were(
    tmp_path, monkeypatch, caplog
):
    save_weights(tmp_path / "w", variables(1, arrays=20), IDENTITY)
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)
    hook, logger = sys.unraisablehook, logging.getLogger("absl")
    monkeypatch.setattr(logger, "level", logging.INFO)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"w could not be written: File too large; the one bef"):
            save_weights(tmp_path / "w", variables(2, arrays=20), IDENTITY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sys.unraisablehook is hook
    assert logger.level == logging.INFO
    assert not logger.filters
    assert reports == []
    assert "Traceback" not in caplog.text
    found, _ = load_weights(tmp_path / "w")
    np.testing.assert_array_equal(found["params"]["w3"], variables(1, 20)["params"]["w3"])
    assert os.listdir(tmp_path) == ["w"]


def test_a_good_save_leaves_the_process_as_it_was(tmp_path):
    hook, logger = sys.unraisablehook, logging.getLogger("absl")
    level, filters = logger.level, list(logger.filters)
    save_weights(tmp_path / "w", variables(1), IDENTITY)
    assert sys.unraisablehook is hook
    assert (logger.level, logger.filters) == (level, filters)


def test_what_a_killed_save_left_goes_with_the_next(tmp_path):
    (tmp_path / ".w.partial-0123").mkdir()
    (tmp_path / ".w.partial-0123.orbax-checkpoint-tmp").mkdir()
    save_weights(tmp_path / "w", variables(1), IDENTITY)
    assert os.listdir(tmp_path) == ["w"]
