"""What the tests of the inference room share."""

import pytest
from trained_models import make_model


@pytest.fixture(scope="session")
def tiny():
    """Build a tiny model once a session: `tiny("rnn")`."""
    made = {}

    def build(name="late_fusion", **options):
        key = (name, tuple(sorted(options.items())))
        if key not in made:
            made[key] = make_model(name, **options)
        return made[key]

    return build
