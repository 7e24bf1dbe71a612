"""A run folder for the tests of this room."""

import pytest

from run_folders import answers, write_run


@pytest.fixture
def run_folder(tmp_path):
    """One complete run of four subjects, 18 of 24 right by summed, 12 by maximum probability."""
    return write_run(tmp_path / "run", answers(4, 6), maximum=answers(4, 12, seed=1))
