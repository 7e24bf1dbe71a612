"""The machine and the software that compute a result, and JAX's set-up for a command."""

import contextlib
import os
import platform
from pathlib import Path
from typing import Any

import jax

COMPILED = "xla"


def hardware() -> dict[str, Any]:
    """What computed a result."""
    devices = jax.local_devices()
    kind = devices[0].device_kind
    if devices[0].platform == "cpu":
        kind = _processor()
    return {
        "backend": devices[0].platform,
        "device": kind,
        "devices": len(devices),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def check_platform() -> None:
    """Raise where JAX finds no device, before a checkpoint or a file is blamed for it.

    Raises:
        ValueError: With what to install or unset.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # JAX asserts where no plug-in answered at all.
        asked = (
            os.environ.get("JAX_PLATFORMS") or jax.config.jax_platforms or "the default platform"
        )
        reason = " ".join(str(error).split())[:200]
        reason = f" ({reason})" if reason else ""
        raise ValueError(
            f"JAX finds no device of JAX_PLATFORMS={asked}{reason}: unset JAX_PLATFORMS or set it "
            'to cpu, or for an NVIDIA GPU install the driver and pip install "stfer[cuda]"'
        ) from None


def set_up_jax(cache_dir: str | Path) -> None:
    """Keep compiled programs in `cache_dir/xla`, unless $JAX_COMPILATION_CACHE_DIR names another folder.

    Call before the first computation. Compiled programs are keyed by JAX version, backend and program.

    Raises:
        ValueError: $JAX_PLATFORMS names a platform that is not here.
    """
    check_platform()
    if jax.config.jax_compilation_cache_dir:
        return
    folder = Path(cache_dir) / COMPILED
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # A read-only home costs compile time, nothing else.
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
