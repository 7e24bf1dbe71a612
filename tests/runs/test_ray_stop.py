"""A run on Ray that is asked to stop says what is there to go on from; no cluster is needed for that."""

import pytest

from stfer.runs import Launch, ray
from stfer.training.fit import Stopped


class Cluster:
    """As much of Ray as a driver needs that stops at once."""

    is_up = True

    def remote(self, *arguments):
        del arguments
        return self

    def options(self, **options):
        del options
        return self

    def shutdown(self):
        self.is_up = False


@pytest.mark.parametrize(
    ("shared", "kept"),
    [
        (False, "and those under way begin anew"),
        (True, "and of those under way the states that were saved last"),
    ],
)
def test_it_does_not_say_that_it_saved(monkeypatch, shared, kept):
    cluster = Cluster()
    monkeypatch.setattr(ray, "connect", lambda options: cluster)
    monkeypatch.setattr(ray, "resources", lambda cluster, options: {})
    monkeypatch.setattr(ray, "describe", lambda run, options, launch: "a job")
    options = ray.RayOptions("auto", None, None, 0, shared, (), "cache")
    with pytest.raises(Stopped, match=f"^stopped: finished folds are kept, {kept}$"):
        ray.train_runs([ray.Run(None, ["S1", "S2"], "set")], options, Launch(), lambda: True)
    assert not cluster.is_up
