"""Detectors side by side on the same frames: where they differ, what each drops, and the worst frames drawn."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterator
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from stfer.data.cropping import find_boxes, start_worker
from stfer.data.faces import DETECTORS, CropSettings, Face, overlap
from stfer.data.faces.crop import crop_square
from stfer.data.frames import FrameReader
from stfer.data.lettering import plain
from stfer.data.sequence import Sequence
from stfer.data.workers import Died, run
from stfer.storage.files import write_bytes_atomically
from stfer.storage.tables import csv_bytes

SAME = 0.5  # overlap of two crops of one face
_WORST, _OF_ONE_SEQUENCE, _TILE, _COLUMNS, _CAPTION = 24, 2, 220, 4, 16
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167))  # Okabe & Ito 2008


@dataclass(frozen=True)
class Boxes:
    """What detectors make of one sequence.

    Attributes:
        sequence: the sequence.
        squares: from detector to the square that is cut of each frame, or None where it has no face.
        dropped: from detector to the reason that preprocessing drops the sequence for, or nothing.
    """

    sequence: Sequence
    squares: dict[str, list[Face | None]]
    dropped: dict[str, str]

    def apart(self, first: str, second: str) -> np.ndarray:
        """How far two detectors' crops are apart on each frame: 1 less their overlap, 1 where one has none.

        Frames that a detector did not come to, after an unreadable one, are left out.
        """
        pairs = zip(self.squares[first], self.squares[second], strict=False)
        return np.array([_apart(a, b) for a, b in pairs], float)


@dataclass(frozen=True)
class DetectorComparison:
    """Detectors on a set.

    Attributes:
        detectors: their names, in the order given.
        boxes: of each sequence.
    """

    detectors: tuple[str, ...]
    boxes: list[Boxes]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two of them."""
        return list(itertools.combinations(self.detectors, 2))

    def text(self) -> str:
        """How many frames lack a face, how many sequences each drops, and on how many frames two differ."""
        frames = sum(len(b.squares[self.detectors[0]]) for b in self.boxes)
        lines = [f"\n{len(self.boxes)} sequences, {frames} frames"]
        for name in self.detectors:
            missing = sum(square is None for b in self.boxes for square in b.squares[name])
            dropped = [b.sequence.id for b in self.boxes if b.dropped[name]]
            some = ", ".join(dropped[:5]) + (" ..." if len(dropped) > 5 else "")
            lines.append(
                f"  {name}: no face in {missing} frames; drops {len(dropped)} sequences"
                + (f": {some}" if dropped else "")
            )
        for first, second in self.pairs:
            lines.append(f"  {first} and {second}: {self._pair_text(first, second)}")
        return "\n".join(lines)

    def _pair_text(self, first: str, second: str) -> str:
        apart = np.concatenate([b.apart(first, second) for b in self.boxes] or [np.zeros(0)])
        differ = int((apart > 1 - SAME).sum())
        only = [
            sum(
                a is not None and b is None
                for boxes in self.boxes
                for a, b in zip(boxes.squares[one], boxes.squares[other], strict=False)
            )
            for one, other in ((first, second), (second, first))
        ]
        share = differ / max(1, len(apart))
        return (
            f"differ on {differ} of {len(apart)} frames ({share:.1%}: crops overlap by less than {SAME:.0%}, or one "
            f"has none); a face for {first} alone in {only[0]}, for {second} alone in {only[1]}"
        )

    def table(self) -> bytes:
        """A row for each sequence: frames, those that lack a face, those on which two differ, and why it is dropped."""
        columns = ["sequence", "subject", "label", "frames"]
        columns += [f"{name} without face" for name in self.detectors]
        columns += [f"{a} and {b} differ" for a, b in self.pairs]
        columns += [f"{name} drops for" for name in self.detectors]
        rows = []
        for b in self.boxes:
            row: list[object] = [b.sequence.id, b.sequence.subject, b.sequence.label]
            row.append(len(b.sequence))
            row += [sum(square is None for square in b.squares[name]) for name in self.detectors]
            row += [int((b.apart(*pair) > 1 - SAME).sum()) for pair in self.pairs]
            rows.append(row + [b.dropped[name] for name in self.detectors])
        return csv_bytes(columns, rows)

    def worst(self) -> list[tuple[float, Boxes, int]]:
        """The frames on which two detectors are farthest apart: how far, whose and which, a few of each sequence."""
        found = []
        for b in self.boxes:
            apart = [b.apart(*pair) for pair in self.pairs]
            length = min(map(len, apart), default=0)
            if length:
                most = np.max([part[:length] for part in apart], axis=0)
                places = np.argsort(-most, kind="stable")[:_OF_ONE_SEQUENCE]
                found += [(float(most[place]), b, int(place)) for place in places]
        return sorted(found, key=lambda item: (-item[0], item[1].sequence.id, item[2]))[:_WORST]

    def sheet(self) -> np.ndarray:
        """The worst frames with every detector's square in its own colour: uint8 [height, width, 3], RGB."""
        worst = self.worst()
        rows = -(-len(worst) // _COLUMNS)
        page = np.full(((_TILE + _CAPTION) * rows + _CAPTION, _TILE * _COLUMNS, 3), 255, np.uint8)
        for place, (name, colour) in enumerate(zip(self.detectors, _colours(), strict=False)):
            _write(page, plain(name), (4 + 120 * place, 12), colour)
        for number, (apart, boxes, frame) in enumerate(worst):
            left = number % _COLUMNS * _TILE
            top = number // _COLUMNS * (_TILE + _CAPTION) + _CAPTION
            text = f"{plain(boxes.sequence.id)[-24:]} frame {frame + 1}: {apart:.2f}"
            _write(page, text, (left + 1, top + 11), (0, 0, 0))
            tile = self._tile(boxes, frame)
            height, width = tile.shape[:2]
            page[top + _CAPTION : top + _CAPTION + height, left : left + width] = tile
        return page

    def _tile(self, boxes: Boxes, frame: int) -> np.ndarray:
        with FrameReader(boxes.sequence) as reader:
            picture = reader.read(frame)
        scale = _TILE / max(picture.shape[:2])
        size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        small = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB) if small.ndim == 2 else small.copy()
        for name, colour in zip(self.detectors, _colours(), strict=False):
            if square := boxes.squares[name][frame]:
                corners = [round(v * scale) for v in (square.x, square.y, square.width)]
                first, last = corners[:2], [c + corners[2] for c in corners[:2]]
                cv2.rectangle(small, first, last, colour, 2)
        return small

    def write(self, folder: str | Path) -> list[Path]:
        """Write `detectors.csv` and `worst.png` into a folder; returns them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(folder / "detectors.csv", self.table())
        encoded = cv2.imencode(".png", self.sheet()[..., ::-1])[1]
        write_bytes_atomically(folder / "worst.png", encoded.tobytes())
        return [folder / "detectors.csv", folder / "worst.png"]


def compare_detectors(
    sequences: Items[Sequence],
    detectors: Items[str],
    workers: int = 1,
    progress: Callable[[int], object] = lambda frames: None,
) -> DetectorComparison:
    """Follow every sequence's face with each detector, as preprocessing does, with its own margin.

    Args:
        sequences: those to look at.
        detectors: two registered names or more.
        workers: processes.
        progress: called with the number of frames just finished.

    Raises:
        ValueError: there are not two detectors, one is unknown, or there is no sequence.
        ImportError: one cannot work on this machine; says what to install.
    """
    if len(set(detectors)) < 2:
        raise ValueError(
            f"--compare_detectors={','.join(detectors)} must name at least two of {', '.join(DETECTORS)}"
        )
    for name in detectors:
        DETECTORS.find(name).check()
    if not sequences:
        raise ValueError("there is no sequence to compare detectors on")
    found = []
    with contextlib.closing(_all(list(sequences), tuple(detectors), workers)) as results:
        for sequence, boxes in zip(sequences, results, strict=True):
            found.append(boxes)
            progress(len(sequence))
    return DetectorComparison(tuple(detectors), found)


def _all(
    sequences: list[Sequence], detectors: tuple[str, ...], workers: int
) -> Generator[Boxes, None, None]:
    if workers <= 1:
        yield from (_of(sequence, detectors) for sequence in sequences)
        return
    searches = {name: DETECTORS[name].search for name in detectors}
    set_up = functools.partial(_start, searches)
    function = functools.partial(_of_group, detectors=detectors)
    groups = [[sequence] for sequence in sequences]
    with contextlib.closing(run(function, groups, workers, set_up)) as results:
        for sequence, result in zip(sequences, results, strict=True):
            if isinstance(result, Died):
                result = Boxes(
                    sequence,
                    {name: [] for name in detectors},
                    dict.fromkeys(detectors, f"crashed: {result}"),
                )
            yield result


def _start(searches) -> None:
    for name, search in searches.items():
        start_worker(name, search)


def _of_group(sequences: Items[Sequence], detectors: tuple[str, ...]) -> list[Boxes]:
    return [_of(sequence, detectors) for sequence in sequences]


def _of(sequence: Sequence, detectors: tuple[str, ...]) -> Boxes:
    squares: dict[str, list[Face | None]] = {}
    dropped = {}
    for name in detectors:
        settings = CropSettings(name)
        faces, dropped[name] = find_boxes(sequence, settings)
        squares[name] = [
            None if found is None else _square(found.face, settings) for found in faces
        ]
    return Boxes(sequence, squares, dropped)


def _square(face: Face, settings: CropSettings) -> Face:
    left, top, side = crop_square(face, settings)
    return Face(left, top, side, side)


def _apart(a: Face | None, b: Face | None) -> float:
    if a is None or b is None:
        return float(a is not b)
    return 1 - overlap(a, b)


def _colours() -> Iterator[tuple[int, int, int]]:
    return itertools.cycle(_COLOURS)


def _write(page: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, ...]) -> None:
    cv2.putText(page, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, colour, 1, cv2.LINE_AA)
