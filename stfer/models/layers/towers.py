"""The mapped axis of towers that share their weights and batch statistics (`stfer.models.blocks.shared_towers`)."""

from jax import lax

TOWER_AXIS = "tower"


def over_towers() -> bool:
    """Whether this is traced inside a map over towers."""
    try:
        lax.axis_size(TOWER_AXIS)
    except NameError:
        return False
    return True
