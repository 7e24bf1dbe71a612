"""Where a set comes from, as a command names it: the embedded synthetic one, made on first use, or shard folders.

Light to import: what makes and reads sets is imported when it is needed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stfer.data.faces import CropSettings
    from stfer.data.shards import SetsDifferError, Shards

SYNTHETIC = "synthetic"
# From the brows to the chin, in which a face is as large as in the usual crops of 170 pixels: half the work.
SYNTHETIC_SIZE, SYNTHETIC_MARGIN = 128, 0.15


def default_cache_dir() -> str:
    """The folder for generated sets and compiled programs: $STFER_CACHE_DIR or the user's cache folder.

    Without a home folder it is one that goes with this process, and one line says so.
    """
    return os.environ.get("STFER_CACHE_DIR") or _users_cache_dir()


@functools.cache
def _users_cache_dir() -> str:
    import platformdirs

    # Without a home, platformdirs raises, or leaves `~` as it is, which would become a folder of that name.
    with contextlib.suppress(OSError, RuntimeError):
        folder = platformdirs.user_cache_dir("stfer")
        if os.path.isabs(folder):
            os.makedirs(folder, exist_ok=True)
        if os.path.isabs(folder) and os.access(folder, os.W_OK):
            return folder
    made = tempfile.mkdtemp(prefix="stfer-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    sys.stderr.write(
        "note: there is no home folder to write to, so generated sets and compiled programs are not kept; "
        "--cache_dir or $STFER_CACHE_DIR names a folder for them\n"
    )
    return made


@dataclass(frozen=True)
class Source:
    """A set by name.

    Attributes:
        data: "synthetic", a shard folder, or several separated by commas.
        synthetic_subjects: People of the synthetic set.
        synthetic_seed: Its seed.
        synthetic_size: Height and width of its face crops in pixels.
        synthetic_margin: What they show around the detector's box, see `stfer.data.faces.CropSettings`.
        workers: Processes that make it; None for one a core.
        cache_dir: Where it is kept; None for the user's cache folder.
        neutral: Add the class `neutral`, see `stfer.data.neutral`.
        landmarks: Whether the synthetic set is made with landmarks, which some models ask for.
        crop: How the synthetic set's faces are found and cut, where a model asks for it; else as above.
    """

    data: str = SYNTHETIC
    synthetic_subjects: int = 24
    synthetic_seed: int = 0
    synthetic_size: int = SYNTHETIC_SIZE
    synthetic_margin: float = SYNTHETIC_MARGIN
    workers: int | None = None
    cache_dir: str | None = None
    neutral: bool = False
    landmarks: bool = False
    crop: CropSettings | None = None

    @property
    def is_synthetic(self) -> bool:
        """Whether it is the synthetic set, alone or with others."""
        return SYNTHETIC in self._names()

    def _names(self) -> list[str]:
        return [part.strip() for part in self.data.split(",")]

    @property
    def cache(self) -> str:
        """The folder for generated sets and compiled programs: its own, $STFER_CACHE_DIR or the user's."""
        return self.cache_dir or default_cache_dir()

    def arguments(self) -> dict[str, Any]:
        """The flags that name this set, for the record: shard folders as absolute paths."""
        names = [n if n == SYNTHETIC else os.path.abspath(n) for n in self._names()]
        found: dict[str, Any] = {"data": ",".join(names)}
        if self.is_synthetic:
            flags = ("subjects", "seed", "size", "margin")
            found |= {f"synthetic_{name}": getattr(self, f"synthetic_{name}") for name in flags}
        if self.neutral:
            found["neutral"] = True
        return found

    def folders(self) -> str:
        """The shard folders, separated by commas; the synthetic set is made if it is not there."""
        return ",".join(self._synthetic() if n == SYNTHETIC else n for n in self._names())

    def _synthetic(self) -> str:
        from stfer.data.faces import CropSettings
        from stfer.data.synthetic import default

        crop = CropSettings(size=self.synthetic_size, margin=self.synthetic_margin)
        return str(
            default.ensure(
                self.cache,
                self.synthetic_subjects,
                self.synthetic_seed,
                self.workers,
                crop=self.crop or crop,
                landmarks=self.landmarks,
            )
        )

    def with_streams(self, names: Iterable[str]) -> Source:
        """This source, the synthetic set with the named streams of those that it can be made with."""
        return replace(self, landmarks=self.landmarks or "landmarks" in set(names))

    def cut_for(self, crop: CropSettings) -> Source:
        """This source, the synthetic set with its faces cut as a model's were; shard folders stay as they are."""
        return replace(self, crop=crop)

    def load(self) -> Shards:
        """Open the set.

        Raises:
            FileNotFoundError: A folder is not there or holds no shards.
            ValueError: A shard is damaged, or sets do not fit together.
        """
        from stfer.data.shards import SetsDifferError, load_data

        folders = self.folders()
        try:
            shards = load_data(folders)
        except SetsDifferError as error:
            raise ValueError(f"{error}{self._what_would_fit(folders, error)}") from None
        if not self.neutral:
            return shards
        from stfer.data.neutral import with_neutral

        return with_neutral(shards)

    def _what_would_fit(self, folders: str, error: SetsDifferError) -> str:
        """The end of a sentence: flags with which the synthetic set fits to the other, where there are any."""
        ours = {
            f
            for f, name in zip(folders.split(","), self._names(), strict=True)
            if name == SYNTHETIC
        }
        others = [shards for folder, shards in error.sets.items() if folder not in ours]
        # A model's own crop is no flag's to change.
        if self.crop or len(others) != 1 or not {"size", "margin"}.issuperset(error.fields):
            return ""
        margin = others[0].crop.get("margin")
        if margin is None:  # It was not cut by this program.
            return ""
        return f"; give --synthetic_size={others[0].size} --synthetic_margin={margin} for a synthetic set that fits"
