"""What software made a file."""

import contextlib
import platform
from importlib import metadata

PACKAGES = (
    "stfer", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "opencv-python",
    "opencv-python-headless",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that pixels, weights or results may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
