"""From a data set's name and folder to what is usable of it, and on to shards."""

import functools
import os
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from stfer.data import overview
from stfer.data.cropping import MISSING_SHARE
from stfer.data.detector_comparison import DetectorComparison, compare_detectors
from stfer.data.faces import CropSettings
from stfer.data.landmark_track import Landmarks
from stfer.data.preprocess import DROPPED_TABLE, MIN_FRAMES, Result, preprocess
from stfer.data.readers import READERS, Reader, ck_plus, ck_plus_landmarks
from stfer.data.sequence import EMOTIONS_6, Dropped, Sequence, alike_warning, select


@dataclass(frozen=True)
class Listing:
    """A data set's sequences, before any pixel is read.

    Attributes:
        reader: who listed them.
        options: what it was told beside the root.
        root: where they lie.
        classes: class names in label order.
        min_frames: sequences have at least as many frames.
        sequences: all that the reader found labelled.
        kept: those of them to use.
        dropped: all others, each with its reason.
        unread: those of `dropped` that the reader could not use itself.
        population: whose subjects these are; None for the name that the shards get.
    """

    reader: Reader
    options: Mapping[str, Any]
    root: str | Path
    classes: tuple[str, ...]
    min_frames: int
    sequences: list[Sequence]
    kept: list[Sequence]
    dropped: list[Dropped]
    unread: list[Dropped]
    population: str | None = None

    @property
    def warning(self) -> str:
        """What is to be looked at before the set is used: people under two names; empty where nothing is."""
        return alike_warning(sequence.subject for sequence in self.sequences)

    @property
    def note(self) -> str:
        """What the reader says of this copy of the set; often nothing."""
        return self.reader.note(self.root, **self.options)

    def counts_text(self) -> str:
        """Counts beside the complete set's."""
        complete = self.reader.complete_counts(**self.options)
        return overview.counts_text(complete, self.sequences, self.unread, self.kept)

    def check_text(self) -> str:
        """What would be left and what dropped."""
        labels = [sequence.label for sequence in self.kept]
        left = overview.classes_text("Would be left before face detection", labels, self.classes)
        return f"{left}\n{overview.dropped_text(self.dropped, 'would be dropped')}"

    def compare_detectors(self, detectors: Items[str], workers: int = 1) -> DetectorComparison:
        """Detectors side by side on what is kept, with a progress bar; see `stfer.data.detector_comparison`."""
        total = sum(map(len, self.kept))
        with tqdm(total=total, unit=" frames", smoothing=0.05, disable=None) as bar:
            return compare_detectors(self.kept, detectors, workers, bar.update)

    def result_text(self, result: Result) -> str:
        """What was left and what dropped."""
        labels = [entry["label"] for entry in result.kept]
        where = f"dropped (all in {result.folder / DROPPED_TABLE})"
        left = overview.classes_text("Left", labels, self.classes)
        notes = overview.notes_text(result.notes)
        return f"{left}\n{notes}{overview.dropped_text(result.dropped, where)}"


def list_set(
    dataset: str,
    root: str | Path,
    *,
    known: Mapping[str, Any] | None = None,
    options: Iterable[str] = (),
    classes: tuple[str, ...] = EMOTIONS_6,
    min_frames: int = MIN_FRAMES,
    keep_gaps: bool = False,
    population: str | None = None,
) -> Listing:
    """List a data set.

    Args:
        dataset: a name in `stfer.data.readers.READERS`.
        root: its folder, or the manifest.
        known: options of readers; each takes those that it knows.
        options: further ones as texts, NAME=VALUE.
        classes: as `stfer.data.sequence.select` takes them.
        min_frames: shorter sequences are left out.
        keep_gaps: keep sequences whose frame numbers have gaps.
        population: whose subjects these are, for sets that do not say it.

    Raises:
        ValueError: the set or an option is unknown, or the set has a population already.
        OSError, ValueError: as the reader raises.
    """
    reader = READERS.find(dataset)
    selected = reader.select_options(known or {}, options)
    if population and reader.population:
        raise ValueError(
            f"the subjects of {dataset} are one population already; --population is for sets that do not say it, "
            "such as those of a manifest"
        )
    sequences, unread = reader.read(root, **selected)
    kept, unfit = select(sequences, classes, min_frames, keep_gaps)
    return Listing(
        reader, selected, root, classes, min_frames, sequences, kept, [*unread, *unfit], unread,
        population or reader.population,
    )  # fmt: skip


def make_shards(
    listing: Listing,
    out: str | Path,
    settings: CropSettings,
    name: str | None = None,
    workers: int = 1,
    preview: bool = False,
    progress: bool = True,
    missing_share: float = MISSING_SHARE,
    rotate: int = 0,
    landmarks: str | None = None,
) -> Result:
    """Find the faces of a listed set and write its shard folder.

    Args:
        listing: as `list_set` returns it.
        out: the folder to make.
        settings: how faces are found and cut.
        name: the set's name; by default that of the folder.
        workers: processes.
        preview: also draw sheets of crops.
        progress: show a progress bar.
        missing_share: as `stfer.data.preprocess.preprocess` takes it.
        rotate: degrees clockwise to turn the frames by.
        landmarks: "mediapipe" keeps 49 points a frame as the stream `landmarks`, "ck_plus" those that CK+ brings.

    Raises:
        As `stfer.data.preprocess.preprocess`; FileNotFoundError where CK+'s own points are not beside its images.
        ValueError: "ck_plus" for another set.
    """
    points = _landmarks(listing, landmarks)
    name = name or Path(os.path.abspath(out)).name
    total = sum(map(len, listing.kept))
    with tqdm(
        total=total, unit=" frames", smoothing=0.05, disable=None if progress else True
    ) as bar:
        return preprocess(
            listing.kept,
            out,
            settings,
            name=name,
            population=listing.population or name,
            classes=listing.classes,
            dropped=listing.dropped,
            min_frames=listing.min_frames,
            missing_share=missing_share,
            rotate=rotate,
            landmarks=points,
            workers=workers,
            progress=bar.update,
            extra_files=overview.figures(name, listing.classes, preview),
        )


def _landmarks(listing: Listing, landmarks: str | None) -> Landmarks:
    """Where the landmarks of a set come from, as `preprocess` takes it."""
    if landmarks != ck_plus.POPULATION:
        return landmarks
    if listing.reader.name != ck_plus.POPULATION:
        raise ValueError(
            f"landmarks ck_plus come with CK+ alone, not with {listing.reader.name}; mediapipe finds points in any set"
        )
    folder = ck_plus_landmarks.find_landmark_folder(listing.root)
    return functools.partial(ck_plus_landmarks.read_landmarks, folder)
