"""The limits under which a convolution is too small for a fast form, lifted."""

from stfer.models.layers import fourier, patches, taps, winograd


def lift_limits(patch, part_bytes=100_000):
    """Let the fast forms take every convolution that they can, so many bytes at a time."""
    for operation in (winograd, patches, taps):
        patch.setattr(operation, "PART_BYTES", part_bytes)
    for name in ("LEAST_WORK", "LEAST_TILES", "LEAST_CHANNELS"):
        patch.setattr(winograd, name, 0)
    patch.setattr(fourier, "OVERHEAD", 0)
    patch.setattr(patches, "LEAST_PRODUCTS", 0)
    patch.setattr(patches, "LEAST_FEATURES", 1)
    patch.setattr(taps, "LEAST_CHANNELS", 1)
    patch.setattr(taps, "MOST_TAPS", 1000)
