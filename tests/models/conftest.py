"""Tiny models built once a session, and one run of a test for each architecture."""

import pytest
from small_work import lift_limits
from tiny_models import Tiny

from stfer.models import ARCHITECTURES
from stfer.models.blocks import Architecture


@pytest.fixture(scope="session")
def tiny():
    """Build a tiny model once a session: `tiny("rnn")`."""
    made = {}

    def build(name):
        if name not in made:
            made[name] = Tiny(name)
        return made[name]

    return build


@pytest.fixture
def small_work_too(monkeypatch):
    """Let the fast forms take convolutions that are too small to be worth it, a few images at a time."""
    lift_limits(monkeypatch)


def pytest_generate_tests(metafunc):
    """A test with the argument `architecture` runs once for each of the paper's six.

    Where it compiles (`tiny`), all but the smallest are slow. Other tests' modules register architectures of their own
    in the same process; other networks of the package are no variants of the six and have tests of their own.
    """
    if "architecture" in metafunc.fixturenames:
        ours = [
            name
            for name, module in ARCHITECTURES.items()
            if module.__module__.startswith("stfer.") and issubclass(module, Architecture)
        ]
        compiles = "tiny" in metafunc.fixturenames
        metafunc.parametrize(
            "architecture",
            [
                pytest.param(
                    name, marks=[pytest.mark.slow] if compiles and name != "single_frame" else []
                )
                for name in ours
            ],
        )
