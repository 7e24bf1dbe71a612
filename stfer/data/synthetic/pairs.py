"""Pairs of frames of synthetic people, a reference and a later frame, labelled by what the later one shows.

For networks that compare two frames and know the class `neutral`. Only the moments that are needed are rendered, so
that some hundred people cost minutes. References are calm, but for the pairs `back`, from an apex to a calm frame,
which are neutral: seen from anywhere a calm face is calm. `stfer.inference.reference` tells a calm reference by that.
"""

import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stfer.data.faces import CropSettings, FaceFollower, crop_face
from stfer.data.labels import NEUTRAL
from stfer.data.sequence import EMOTIONS_6
from stfer.data.shards import load_shards, write_shards
from stfer.data.synthetic.conditions import Conditions
from stfer.data.synthetic.dataset import VERSION, start_worker
from stfer.data.synthetic.moments import frames_at
from stfer.data.synthetic.takes import stage
from stfer.data.workers import usable_cores
from stfer.storage.files import staged_folder

CLASSES = (*EMOTIONS_6, NEUTRAL)
WAY = 0.65  # of the apex: a frame on the way
MOMENTS = (0, 0.05, WAY, "apex")  # of an expression: twice calm, on the way, at its end
CALM_FRAMES = 4  # of a take in which nothing is expressed: blinks, glances, speech
WEAKEST = 0.3  # of a whole expression: frames below it are not shown, as nobody could name them
REVISION = 3  # of what pairs are taken from a take; a part of the name of the cached set
ONCE: Mapping[str, int] = {}  # Each expression is played once.
# People smile in more ways, and more often, than they show fear; posed sadness is varied too.
OFTEN: Mapping[str, int] = {"happiness": 3, "sadness": 2}
Pair = tuple[str, str, str, np.ndarray]


def person_pairs(
    seed: int,
    subject: int,
    crop: CropSettings,
    conditions: Conditions | None = None,
    takes: Mapping[str, int] = ONCE,
) -> list[Pair]:
    """All pairs of one person.

    Args:
        seed: Of the set.
        subject: Number of the person, from 1.
        crop: How faces are found and cut. A frame without a face is left out.
        conditions: What is asked for; by default everything is drawn.
        takes: How often each expression is played, each time in another way and session; 1 where it is missing.

    Returns:
        `(id, subject, class, frames)` with frames uint8 [2, size, size, 3], the reference first.
    """
    name = f"S{subject:03d}"
    pairs: list[Pair] = []

    def add(what: str, label: str, reference: np.ndarray | None, face: np.ndarray | None) -> None:
        if reference is not None and face is not None:
            pairs.append((f"{name}/{what}", name, label, np.stack([reference, face])))

    played = [(e, number) for e in EMOTIONS_6 for number in range(1, takes.get(e, 1) + 1)]
    for emotion, number in played:
        take = stage(seed, subject, emotion, number, conditions or Conditions())
        faces = _faces(take, frames_at(MOMENTS, take.performance.progress), crop)
        if len(faces) < len(MOMENTS):
            continue
        first, calm, way, apex = faces
        _, _, intensity, _ = take.performance.apexes[-1]
        what = emotion if number == 1 else f"{emotion}-{number}"
        add(f"{what}/apex", emotion, first, apex)
        if WAY * intensity >= WEAKEST:
            add(f"{what}/way", emotion, first, way)
        # Each person's neutral pairs are of some takes, of others than the next person's.
        turn = (EMOTIONS_6.index(emotion) - subject) % len(EMOTIONS_6) if number == 1 else None
        if turn in (0, 3):
            add(f"{what}/back", NEUTRAL, apex, first)
        if turn == 2:
            add(f"{what}/calm", NEUTRAL, first, calm)
    take = stage(seed, subject, NEUTRAL, conditions=conditions or Conditions())
    places = np.linspace(0, len(take) - 1, CALM_FRAMES).round().astype(int)
    calm_faces = _faces(take, [int(place) for place in places], crop)
    for second in range(1, CALM_FRAMES):
        add(f"{NEUTRAL}/{second}", NEUTRAL, calm_faces[0], calm_faces[second])
    return pairs


def _faces(take, frames: list[int], crop: CropSettings) -> list[np.ndarray | None]:
    """The cut faces of some frames of a take, None where none is found."""
    follower = FaceFollower(crop, largest=1, patience=None)
    found = []
    for frame in take.frames(frames):
        tracked = follower.one(frame)
        found.append(None if tracked is None else crop_face(frame, tracked.face, crop))
    return found


def ensure_pairs(
    cache_dir: str | Path,
    subjects: int,
    seed: int,
    crop: CropSettings,
    workers: int | None = None,
    conditions: Conditions | None = None,
    takes: Mapping[str, int] = ONCE,
) -> Path:
    """The shard folder of these people's pairs, made if it is not there.

    Args:
        cache_dir: Its place is in the folder `synthetic` of it.
        subjects: How many people.
        seed: Of the set.
        crop: How faces are found and cut.
        workers: Processes; by default one a core.
        conditions: See `person_pairs`.
        takes: See `person_pairs`.
    """
    asked = {} if conditions is None else conditions.asked()
    made_by = {"crop": crop.to_dict(), "conditions": asked, "takes": dict(takes)}
    digest = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:8]
    key = f"pairs-subjects={subjects}-seed={seed}-version={VERSION}.{REVISION}-{digest}"
    folder = Path(cache_dir).expanduser().absolute() / "synthetic" / key
    if folder.is_dir():
        load_shards(folder)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with staged_folder(folder) as staging:
        staging.rmdir()
        rows = _rendered(subjects, seed, crop, workers or usable_cores(), conditions, takes)
        settings = crop.to_dict()
        write_shards(staging, rows, name=f"synthetic pairs {seed}", classes=CLASSES, crop=settings)
    return folder


def _rendered(
    subjects: int,
    seed: int,
    crop: CropSettings,
    workers: int,
    conditions: Conditions | None,
    takes: Mapping[str, int],
) -> Iterator[Pair]:
    """Every person's pairs, in order."""
    arguments = [(seed, subject, crop, conditions, takes) for subject in range(1, subjects + 1)]
    with tqdm(total=subjects, desc="Rendering pairs", unit="person") as bar:
        # Spawned, because the parent may hold JAX's threads, which a fork would break.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, start_worker) as pool:
            for pairs in pool.map(person_pairs, *zip(*arguments, strict=True)):
                bar.update()
                yield from pairs
