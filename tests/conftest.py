"""Shared test set-up: four forced CPU devices, strict shapes, no accidental use of the user's cache folder."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
if os.environ["JAX_PLATFORMS"] == "cpu":
    jax.config.update("jax_num_cpu_devices", 4)


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory, monkeypatch):
    """Point the cache folder into pytest's temporary folder, so that no test reads a user's files."""
    monkeypatch.setenv("STFER_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
