"""Writes the synthetic set as raw frames and labels in the folder layout of CK+ (Lucey et al. 2010).

    cohn-kanade-images/S001/001/S001_001_00000001.png ... (neutral to apex)
    Emotion/S001/001/S001_001_00000022_emotion.txt        (named after the last frame; one number)
    synthetic.json                                        (how it was made, who resembles what)

Every random number comes from `numpy.random.SeedSequence([seed, subject, ...])`, so the bytes depend on seed,
subject and emotion alone: not on the number of subjects, nor on the number of processes.
"""

import functools
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.appearance import Appearance, paint
from stfer.data.synthetic.camera import HEIGHT, WIDTH, draw_session
from stfer.data.synthetic.expressions import Performance, perform
from stfer.data.synthetic.identities import Identity, draw_identity
from stfer.data.synthetic.renderer import Portrait
from stfer.storage.files import staged_folder, write_json

VERSION = 4  # Raise whenever the same seed gives other pixels.
CK_PLUS_CODES = {"anger": 1, "disgust": 3, "fear": 4, "happiness": 5, "sadness": 6, "surprise": 7}
IMAGES, LABELS, RECORD = "cohn-kanade-images", "Emotion", "synthetic.json"
MAX_SUBJECTS = 999
# Sensor noise hardly compresses: run lengths are both smaller and faster here than zlib's matches.
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
# Streams of one subject: SeedSequence([seed, subject, stream, ...]).
IDENTITY, SESSION, SEQUENCE = 0, 1, 2


def stream(*key: int) -> np.random.Generator:
    """The random stream of a key such as (seed, subject, IDENTITY)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))


def identity_of(seed: int, subject: int) -> Identity:
    """The person that subject number `subject` (from 1) of a seed is."""
    return draw_identity(stream(seed, subject, IDENTITY))


@functools.lru_cache(maxsize=1)
def _painted(seed: int, subject: int) -> tuple[Identity, Appearance]:
    identity = identity_of(seed, subject)
    return identity, paint(identity)


def stage(
    seed: int, subject: int, emotion: str
) -> tuple[Portrait, Performance, np.random.Generator]:
    """Everything that one sequence is drawn from: person and camera, performance, the camera's stream.

    Args:
      seed: of the set, at least 0.
      subject: number of the subject, from 1.
      emotion: one of EMOTIONS_6.
    """
    rng = stream(seed, subject, SEQUENCE, EMOTIONS_6.index(emotion))
    identity, appearance = _painted(seed, subject)
    session = draw_session(stream(seed, subject, SESSION), rng)
    performance = perform(rng, emotion, identity.resting)
    return Portrait(identity, appearance, session), performance, rng


def render_sequence(seed: int, subject: int, emotion: str) -> Iterator[np.ndarray]:
    """Yield one sequence, neutral to apex: uint8 [HEIGHT, WIDTH, 3], RGB; arguments as `stage`."""
    portrait, performance, rng = stage(seed, subject, emotion)
    for moment in range(len(performance.weights)):
        yield portrait.frame(performance, moment, rng)


def _write_sequence(out: Path, seed: int, subject: int, emotion: str) -> int:
    """Write one sequence's frames and label; return the number of frames."""
    name, take = f"S{subject:03d}", f"{EMOTIONS_6.index(emotion) + 1:03d}"
    images, labels = out / IMAGES / name / take, out / LABELS / name / take
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    number = 0
    for number, frame in enumerate(render_sequence(seed, subject, emotion), start=1):
        path = images / f"{name}_{take}_{number:08d}.png"
        grey = bool(
            (frame[..., 0] == frame[..., 1]).all() and (frame[..., 0] == frame[..., 2]).all()
        )
        pixels = frame[..., 0] if grey else frame[..., ::-1]
        encoded, data = cv2.imencode(".png", pixels, PNG)
        if not encoded:
            raise OSError(f"{path}: OpenCV could not encode this frame")
        path.write_bytes(data.tobytes())
    label = labels / f"{name}_{take}_{number:08d}_emotion.txt"
    label.write_text(f"   {CK_PLUS_CODES[emotion]:.7e}\n")
    return number


def _start_worker() -> None:
    """One thread a process, as the processes fill the cores; and no life beyond the parent's."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent is interrupted too, and ends us.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A killed parent cannot end its pool, whose workers would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _record(subjects: int, seed: int) -> dict:
    """What is written to synthetic.json."""
    people = {}
    for subject in range(1, subjects + 1):
        identity = identity_of(seed, subject)
        people[f"S{subject:03d}"] = {
            "resembles": list(identity.resting_names),
            "male": round(identity.male, 3),
            "age": round(identity.age, 3),
            "melanin": round(identity.melanin, 3),
        }
    return {
        "generator_version": VERSION,
        "seed": seed,
        "subjects": subjects,
        "size": [HEIGHT, WIDTH],
        "people": people,
    }


def _run(tasks: list[tuple[Path, int, int, str]], workers: int, bar: tqdm) -> None:
    """Write all sequences, in this process or in `workers` spawned ones."""
    if workers == 1:
        for task in tasks:
            bar.update(_write_sequence(*task))
            bar.set_postfix_str(f"{bar.n / max(bar.format_dict['elapsed'], 1e-6):.1f} frames/s")
        return
    # Spawned, because the parent may hold JAX's threads, which a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        futures: list[Future[int]] = [pool.submit(_write_sequence, *task) for task in tasks]
        try:
            for future in as_completed(futures):
                bar.update(future.result())
        except BrokenProcessPool:
            raise OSError("a worker process died (too little memory?): try fewer workers") from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def generate(
    out: str | Path,
    subjects: int = 10,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write `subjects` people times six expressions as image sequences in CK+'s layout.

    The set is written beside `out` and renamed at the end, so `out` exists only when it is complete.

    Args:
      out: the folder to make; it must not exist, or be empty.
      subjects: number of people, 1 to 999.
      seed: of the set; the same seed gives the same bytes.
      workers: processes; by default one a core.
      progress: whether to show a progress bar with frames a second and the time left.

    Returns:
      `out` as a path.

    Raises:
      ValueError: a number out of range.
      FileExistsError: `out` is not empty.
    """
    out = Path(out)
    if not 1 <= subjects <= MAX_SUBJECTS:
        raise ValueError(f"subjects={subjects}: must be 1 to {MAX_SUBJECTS}")
    if seed < 0:
        raise ValueError(f"seed={seed}: must be 0 or more")
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers={workers}: must be at least 1")
    with staged_folder(out) as partial:
        tasks = [
            (partial, seed, subject, emotion)
            for subject in range(1, subjects + 1)
            for emotion in EMOTIONS_6
        ]
        total = sum(frame_count(seed, subject, emotion) for _, seed, subject, emotion in tasks)
        with tqdm(total=total, desc="Rendering", unit="frame", disable=not progress) as bar:
            _run(tasks, min(workers, len(tasks)), bar)
        write_json(partial / RECORD, _record(subjects, seed), indent=1)
    return out


def frame_count(seed: int, subject: int, emotion: str) -> int:
    """Number of frames of a sequence, without drawing it."""
    rng = stream(seed, subject, SEQUENCE, EMOTIONS_6.index(emotion))
    draw_session(stream(seed, subject, SESSION), rng)
    return len(perform(rng, emotion, identity_of(seed, subject).resting).weights)
