"""How many examples a property is tried on: all of them in a whole run, a fifth where slow tests are left out."""

from hypothesis import HealthCheck, settings

FULL = 100


def set_up(quick: bool) -> None:
    """Set what all properties have in common; a machine may be slow."""
    settings.register_profile(
        "stfer",
        max_examples=FULL // 5 if quick else FULL,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("stfer")


def examples(count: int) -> settings:
    """Settings of a property that is tried on `count` examples in a whole run."""
    return settings(max_examples=max(1, count * settings().max_examples // FULL))
