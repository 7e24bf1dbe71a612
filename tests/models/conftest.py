"""Tiny models built once a session, and one run of a test for each architecture."""

import pytest
from tiny_models import Tiny

from stfer.models import ARCHITECTURES


@pytest.fixture(scope="session")
def tiny():
    """Build a tiny model once a session: `tiny("rnn")`."""
    made = {}

    def build(name):
        if name not in made:
            made[name] = Tiny(name)
        return made[name]

    return build


def pytest_generate_tests(metafunc):
    """A test with the argument `architecture` runs once for each one that the package registers.

    Other tests' modules register architectures of their own in the same process.
    """
    if "architecture" in metafunc.fixturenames:
        ours = [n for n, module in ARCHITECTURES.items() if module.__module__.startswith("stfer.")]
        metafunc.parametrize("architecture", ours)
