"""Where two settings differ, and the versions that are written down."""

import platform

import numpy as np

from stfer.storage.environment import versions
from stfer.storage.identity import differences


def test_each_field_that_differs_is_named():
    found = {"a": 1, "crop": {"margin": 0.3, "size": [1, 2]}, "old": True}
    wanted = {"a": 1, "crop": {"margin": 0.2, "size": (1, 2)}, "new": "x"}
    assert differences(found, wanted) == [
        "crop.margin is 0.3 there and 0.2 here",
        "new is None there and 'x' here",
        "old is True there and None here",
    ]
    assert differences(found, found) == []


def test_versions_are_those_installed():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert {"jax", "flax", "optax"} <= found.keys()
