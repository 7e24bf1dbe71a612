"""What the scripts that rebuild the set's `.npz` files from published packages do alike."""

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


def check_source(file: Path, sha256: str, name: str) -> None:
    """Raise ValueError where a file is not the package that a script was written for."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != sha256:
        raise ValueError(f"{file}: sha256 is {digest}, expected {sha256} ({name})")


def save(path: Path, arrays: Arrays) -> None:
    """Write a compressed .npz whose bytes depend on the arrays alone (a zip would keep the time of day)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def run(
    about: str | None,
    source: tuple[str, str],
    out: Path,
    build: Callable[[Path], Arrays],
    says: Callable[[Arrays], str],
) -> int:
    """Run a script: read the package, build, save, say what was written.

    Args:
        about: The script's own docstring.
        source: The flag that names the package, and the package's file name.
        out: Where the arrays go, unless `--out` says otherwise.
        build: From the package to the arrays.
        says: The arrays in words.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flag, file = source
    parser.add_argument(f"--{flag}", dest="source", type=Path, required=True, help=file)
    parser.add_argument("--out", type=Path, default=out)
    arguments = parser.parse_args()
    try:
        arrays = build(arguments.source)
        save(arguments.out, arrays)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    size = arguments.out.stat().st_size
    sys.stdout.write(f"{arguments.out}: {says(arrays)}, {size} bytes\n")
    return 0
