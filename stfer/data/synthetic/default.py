"""The embedded default set: generated, read as CK+, its faces found and cut, cached as shards.

The cache is keyed by everything that decides the pixels. A set is drawn into one folder and preprocessed into
another; each gets its name only when it is whole, and the raw frames are removed at the end. So a killed run
is never mistaken for a finished one, and the next call goes on where it can.
"""

import hashlib
import json
import shutil
from pathlib import Path

from tqdm import tqdm

from stfer.data.faces import CropSettings
from stfer.data.landmark_track import DETECTED
from stfer.data.preprocess import MIN_FRAMES, preprocess
from stfer.data.readers import ck_plus
from stfer.data.sequence import EMOTIONS_6, select
from stfer.data.shards import load_shards
from stfer.data.synthetic.dataset import VERSION, generate
from stfer.data.workers import usable_cores
from stfer.storage.files import remove_leftovers
from stfer.storage.locks import held

NAME = "synthetic"


def shard_folder(
    cache_dir: str | Path,
    subjects: int,
    seed: int,
    crop: CropSettings | None = None,
    landmarks: bool = False,
) -> Path:
    """Where `ensure` keeps the set of these settings."""
    settings = (crop or CropSettings()).to_dict() | {"min_frames": MIN_FRAMES}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    name = f"subjects={subjects}-seed={seed}-version={VERSION}-crop={digest}"
    name += "-landmarks" if landmarks else ""
    return Path(cache_dir).expanduser().absolute() / NAME / name


def ensure(
    cache_dir: str | Path,
    subjects: int,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
    crop: CropSettings | None = None,
    landmarks: bool = False,
) -> Path:
    """Return the shard folder of the synthetic set, making it if it is not there or is damaged.

    Two processes may call this at once: one makes the set, the other waits for it.

    Args:
        cache_dir: the cache; the set goes into its folder `synthetic`.
        subjects: number of people, each with six sequences.
        seed: of the set.
        workers: processes; by default one a core.
        progress: whether to show progress bars.
        crop: how faces are found and cut; the preprocessing default if None.
        landmarks: whether it has the stream `landmarks`, as the detector finds them; such a set is kept beside
            the other.

    Raises:
        ValueError: a number out of range.
        OSError: the cache cannot be written.
    """
    crop = crop or CropSettings()
    folder = shard_folder(cache_dir, subjects, seed, crop, landmarks)
    if _is_whole(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    workers = usable_cores() if workers is None else workers
    with held(folder.parent / f".{folder.name}.lock", "the synthetic set", wait=True):
        if _is_whole(folder):  # Another process made it while this one waited.
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        frames = folder.parent / f".{folder.name}.frames"
        if not frames.is_dir():
            remove_leftovers(frames)  # Nobody else draws this set while we hold the lock.
            generate(frames, subjects, seed, workers, progress)
        _preprocess(frames, folder, crop, workers, progress, landmarks)
        shutil.rmtree(frames)
    return folder


def _preprocess(
    frames: Path,
    folder: Path,
    crop: CropSettings,
    workers: int,
    progress: bool,
    landmarks: bool,
) -> None:
    """Raw frames in CK+'s layout to shards, through the reader and the face search of the real set."""
    sequences, unusable = ck_plus.read(frames)
    sequences, unselected = select(sequences, EMOTIONS_6, MIN_FRAMES)
    total = sum(len(sequence) for sequence in sequences)
    with tqdm(total=total, desc="Finding faces", unit="frame", disable=not progress) as bar:
        preprocess(
            sequences,
            folder,
            crop,
            name=NAME,
            population=NAME,
            dropped=[*unusable, *unselected],
            workers=workers,
            landmarks=DETECTED if landmarks else None,
            progress=bar.update,
        )


def _is_whole(folder: Path) -> bool:
    """Whether the folder holds shards whose bytes are what was written."""
    try:
        load_shards(folder)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return True
