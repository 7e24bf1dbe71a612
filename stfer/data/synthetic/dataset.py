"""Writes the synthetic set as raw frames and labels in the folder layout of CK+ (Lucey et al. 2010).

    cohn-kanade-images/S001/001/S001_001_00000001.png ... (neutral to apex)
    Emotion/S001/001/S001_001_00000022_emotion.txt        (named after the last frame; one number)
    synthetic.json                                        (how it was made; people and sequences)

The take's folder numbers the emotion and the take: 001 to 006 are a person's first six sequences, 007 to 012 the
second takes, and so on. Chosen moments are numbered from 1 on too; synthetic.json tells which frames they are.
"""

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
from tqdm import tqdm

from stfer.data.sequence import EMOTIONS_6
from stfer.data.synthetic.camera import HEIGHT, WIDTH
from stfer.data.synthetic.conditions import Conditions
from stfer.data.synthetic.expressions import FRAME_RATE
from stfer.data.synthetic.moments import Moment, check_moments, frames_at
from stfer.data.synthetic.takes import (
    DRAWN,
    identity_of,
    performance_of,
    render_sequence,
    stage,
)
from stfer.data.workers import usable_cores
from stfer.storage.files import staged_folder, write_json

__all__ = ["VERSION", "Task", "frame_count", "generate", "identity_of", "render_sequence", "stage"]

VERSION = 5  # Raise whenever the same seed gives other pixels.
CK_PLUS_CODES = {"anger": 1, "disgust": 3, "fear": 4, "happiness": 5, "sadness": 6, "surprise": 7}
IMAGES, LABELS, RECORD = "cohn-kanade-images", "Emotion", "synthetic.json"
MAX_SUBJECTS = 999
MAX_TAKES = 166  # Folders have three digits.
# Sensor noise hardly compresses: run lengths are both smaller and faster here than zlib's matches.
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


@dataclasses.dataclass(frozen=True)
class Task:
    """One sequence to write.

    Attributes:
        seed, subject, emotion, take, conditions: as in `stage`.
        moments: as in `frames_at`; the whole sequence if None.
    """

    seed: int
    subject: int
    emotion: str
    take: int = 1
    moments: tuple[Moment, ...] | None = None
    conditions: Conditions = DRAWN

    @property
    def folders(self) -> tuple[str, str]:
        """Names of the subject's and the take's folders."""
        number = (self.take - 1) * len(EMOTIONS_6) + EMOTIONS_6.index(self.emotion) + 1
        return f"S{self.subject:03d}", f"{number:03d}"

    def record(self) -> dict:
        """What synthetic.json says of the sequence: how it is played, and which frames are written."""
        performance = performance_of(
            self.seed, self.subject, self.emotion, self.take, self.conditions
        )
        frames = frames_at(self.moments, performance.progress)
        ((_, variant, intensity, _),) = performance.apexes
        return {
            "emotion": self.emotion,
            "variant": variant,
            "intensity": round(intensity, 3),
            "frames": len(performance),
            "moments": frames,
            "progress": [round(float(performance.progress[frame]), 3) for frame in frames],
        }


def _write_sequence(out: Path, task: Task) -> int:
    """Write one sequence's frames and label; return the number of frames."""
    name, folder = task.folders
    images, labels = out / IMAGES / name / folder, out / LABELS / name / folder
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    take = stage(task.seed, task.subject, task.emotion, task.take, task.conditions)
    moments = frames_at(task.moments, take.performance.progress)
    for number, frame in enumerate(take.frames(moments), start=1):
        path = images / f"{name}_{folder}_{number:08d}.png"
        grey = take.portrait.session.grey
        encoded, data = cv2.imencode(".png", frame[..., 0] if grey else frame[..., ::-1], PNG)
        if not encoded:
            raise OSError(f"{path}: OpenCV could not encode this frame")
        path.write_bytes(data.tobytes())
    label = labels / f"{name}_{folder}_{len(moments):08d}_emotion.txt"
    label.write_text(f"   {CK_PLUS_CODES[task.emotion]:.7e}\n")
    return len(moments)


def _write_person(out: Path, tasks: Sequence[Task]) -> int:
    """Write some sequences of one person, who is painted once; return the number of frames."""
    return sum(_write_sequence(out, task) for task in tasks)


def start_worker() -> None:
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


def _record(subjects: int, seed: int, tasks: Sequence[Task], conditions: Conditions) -> dict:
    """What is written to synthetic.json."""
    people = {}
    for subject in range(1, subjects + 1):
        identity = conditions.dress(identity_of(seed, subject))
        people[f"S{subject:03d}"] = {
            "resembles": list(identity.resting_names),
            "male": round(identity.male, 3),
            "age": round(identity.age, 3),
            "melanin": round(identity.melanin, 3),
            "wears": [w for w in ("glasses", "beard", "makeup") if identity.look[w]],
        }
    return {
        "generator_version": VERSION,
        "seed": seed,
        "subjects": subjects,
        "size": [HEIGHT, WIDTH],
        "frames_per_second": FRAME_RATE,
        "conditions": conditions.asked(),
        "people": people,
        "sequences": {"/".join(task.folders): task.record() for task in tasks},
    }


def _run(out: Path, tasks: Sequence[Task], workers: int, bar: tqdm) -> None:
    """Write all sequences, in this process or in `workers` spawned ones."""
    if workers == 1:
        for task in tasks:
            bar.update(_write_sequence(out, task))
            bar.set_postfix_str(f"{bar.n / max(bar.format_dict['elapsed'], 1e-6):.1f} frames/s")
        return
    # A person a job, so that each is painted once; sequence by sequence when there are few.
    per_job = len(tasks) // len({t.subject for t in tasks}) if len(tasks) > 24 * workers else 1
    jobs = [tasks[first : first + per_job] for first in range(0, len(tasks), per_job)]
    # Spawned, because the parent may hold JAX's threads, which a fork would break.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker) as pool:
        futures: list[Future[int]] = [pool.submit(_write_person, out, job) for job in jobs]
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
    moments: Sequence[Moment] | None = None,
    takes: int = 1,
    conditions: Conditions = DRAWN,
) -> Path:
    """Write `subjects` people times six expressions times `takes` as image sequences in CK+'s layout.

    The set is written beside `out` and renamed at the end, so `out` exists only when it is complete.

    Args:
        out: the folder to make; it must not exist, or be empty.
        subjects: number of people, 1 to 999.
        seed: of the set; the same seed gives the same bytes.
        workers: processes; by default one a core.
        progress: whether to show a progress bar with frames a second and the time left.
        moments: which frames of each sequence to write, see `moments.frames_at`; whole sequences if None.
        takes: sequences a person and emotion, 1 to 166.
        conditions: what is asked of every sequence instead of being drawn.

    Returns:
        `out` as a path.

    Raises:
        ValueError: a number out of range.
        FileExistsError: `out` is not empty.
    """
    out = Path(out)
    for name, value, most in (("subjects", subjects, MAX_SUBJECTS), ("takes", takes, MAX_TAKES)):
        if not 1 <= value <= most:
            raise ValueError(f"{name}={value}: must be 1 to {most}")
    if seed < 0:
        raise ValueError(f"seed={seed}: must be 0 or more")
    workers = usable_cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers={workers}: must be at least 1")
    if moments is not None:
        check_moments(moments)
        moments = tuple(moments)
    if conditions.variant is not None:
        raise ValueError(f"variant={conditions.variant}: a set plays all six emotions")
    tasks = [
        Task(seed, subject, emotion, take, moments, conditions)
        for subject in range(1, subjects + 1)
        for take in range(1, takes + 1)
        for emotion in EMOTIONS_6
    ]
    record = _record(subjects, seed, tasks, conditions)
    total = sum(len(sequence["moments"]) for sequence in record["sequences"].values())
    with staged_folder(out) as partial:
        with tqdm(total=total, desc="Rendering", unit="frame", disable=not progress) as bar:
            _run(partial, tasks, min(workers, len(tasks)), bar)
        write_json(partial / RECORD, record, indent=1)
    return out


def frame_count(seed: int, subject: int, emotion: str) -> int:
    """Number of frames of a sequence, without drawing it."""
    return len(performance_of(seed, subject, emotion))
