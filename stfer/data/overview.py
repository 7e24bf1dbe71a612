"""Looking at a data set: counts beside the complete set's, the class distribution, sheets of crops."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Items
from io import BytesIO

import numpy as np

from stfer.data.lettering import legible, plain
from stfer.data.readers import ck_plus, oulu_casia
from stfer.data.sequence import Dropped, Sequence

TILE = 85
_PAGE_ROWS, _PAGE_COLUMNS = 24, 3
_TILES = 4
_CAPTION = 16


def complete_counts(
    dataset: str,
    sequences: Items[Sequence],
    dropped: Items[Dropped],
    kept: Items[Sequence],
    lights: int = 1,
) -> list[tuple[str, int, int | None]]:
    """Counts of a set at hand, each beside the complete set's (None where there is no such number).

    Args:
        dataset: `ck_plus`, `oulu_casia` or another.
        sequences, dropped: what the reader returned.
        kept: what `sequence.select` left of it.
        lights: how many of Oulu-CASIA's lights were read.
    """
    subjects = {item.subject for item in (*sequences, *dropped)}
    everything = len(sequences) + len(dropped)
    labels = Counter(sequence.label for sequence in sequences)
    if dataset == "ck_plus":
        known = ck_plus.COMPLETE
        six = sum(count for label, count in labels.items() if label != "contempt")
        rows = [
            ("subjects", len(subjects), known["subjects"]),
            ("sequences", everything, known["sequences"]),
            ("labelled", len(sequences), known["labelled"]),
            ("labelled subjects", len({s.subject for s in sequences}), known["labelled subjects"]),
            ("without contempt", six, known["six classes"]),
        ]
        classes: Mapping[str, int | None] = ck_plus.COMPLETE_CLASSES
    elif dataset == "oulu_casia":
        known = oulu_casia.COMPLETE
        rows = [
            ("subjects", len(subjects), known["subjects"]),
            ("sequences", everything, lights * known["sequences"]),
        ]
        classes = dict.fromkeys(sorted(labels), lights * oulu_casia.COMPLETE_CLASS)
    else:
        rows = [("subjects", len(subjects), None), ("sequences", everything, None)]
        classes = dict.fromkeys(sorted(labels))
    rows += [(label, labels[label], count) for label, count in classes.items()]
    rows.append(("left before face detection", len(kept), None))
    return rows


def papers_count(dataset: str, lights: Items[str], modality: str) -> int | None:
    """The number of sequences that the paper was left with after face detection, where it says so."""
    if dataset == "ck_plus":
        return ck_plus.COMPLETE["the paper's"]
    if dataset == "oulu_casia" and tuple(lights) == ("strong",) and modality == "vl":
        return oulu_casia.PAPERS_STRONG
    return None


def kinds_of_dropped(dropped: Iterable[Dropped]) -> list[tuple[str, int, Dropped]]:
    """Reasons without particulars, most frequent first: (kind, count, an example)."""
    examples: dict[str, Dropped] = {}
    count: Counter[str] = Counter()
    for item in dropped:
        count[item.kind] += 1
        examples.setdefault(item.kind, item)
    return [(kind, number, examples[kind]) for kind, number in count.most_common()]


def kinds_of_notes(notes: Iterable[tuple[str, str]]) -> list[tuple[str, int, str]]:
    """Notes on sequences, those that differ in numbers alone as one: (text, count, a sequence), most frequent first."""
    first: dict[str, tuple[str, str]] = {}
    count: Counter[str] = Counter()
    for sequence, text in notes:
        kind = re.sub(r"[0-9.]+", "0", text)
        count[kind] += 1
        first.setdefault(kind, (text, sequence))
    return [(first[kind][0], number, first[kind][1]) for kind, number in count.most_common()]


def common_rate(sequences: Iterable[Sequence]) -> float | None:
    """The frame rate of most sequences, as a whole number where it is within 2 % of one; None where unknown.

    A set has one rate only if nine of ten sequences agree with it within a tenth.
    """
    rates = np.array([s.rate for s in sequences if s.rate], float)
    if not len(rates):
        return None
    rate = float(np.median(rates))
    if np.mean(np.abs(rates - rate) <= 0.1 * rate) < 0.9:
        return None
    return float(round(rate)) if abs(rate - round(rate)) <= 0.02 * rate else rate


def draw_class_distribution(labels: Iterable[str], classes: Items[str], title: str) -> bytes:
    """A bar chart of the number of sequences a class (the paper's Fig. 12), as a PNG file's bytes."""
    from matplotlib.figure import Figure

    count = Counter(labels)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.bar(list(classes), [count[name] for name in classes], color="#4477aa")
    axes.bar_label(bars)
    axes.set_ylabel("sequences")
    axes.yaxis.get_major_locator().set_params(integer=True)
    # A dollar sign in a set's name is no formula.
    axes.set_title(f"{title}: {sum(count.values())} sequences".replace("$", r"\$"))
    axes.spines[["top", "right"]].set_visible(False)
    data = BytesIO()
    legible(figure).savefig(data, format="png", dpi=150, metadata={"Software": None})
    return data.getvalue()


def largest_jump(faces: np.ndarray) -> tuple[int, float]:
    """Where a track jumps most.

    Args:
        faces: float [frames, 4], boxes as left, top, width, height.

    Returns:
        The frame after the jump, and its size: the farther of centre shift and change of side, as a
        fraction of the last box's side.
    """
    if len(faces) < 2:
        return 0, 0.0
    centres = faces[:, :2] + faces[:, 2:4] / 2
    sides = faces[:, 2:4].max(1)
    shift = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    jumps = np.maximum(shift, np.abs(np.diff(sides))) / np.maximum(sides[:-1], 1)
    worst = int(np.argmax(jumps))
    return worst + 1, float(jumps[worst])


def contact_sheets(tracks: Items[tuple[str, np.ndarray, list[list]]]) -> dict[str, bytes]:
    """Sheets of crops, worst sequence first, as `preview-001.jpg`, ... and their bytes.

    Every sequence shows its first frame, the frames before and after its largest jump (framed in red
    where the jump exceeds a quarter of the face, or the face was found only by a fine search or not at
    all), and its apex.

    Args:
        tracks: for each sequence its id, crops uint8 [frames, size, size, 3], and a list a frame of
            left, top, width, height, roll, how it was found.
    """
    import cv2

    ranked = []
    for name, crops, faces in tracks:
        boxes = np.array([face[:4] for face in faces], float)
        frame, jump = largest_jump(boxes)
        doubtful = sum(face[5] not in ("near", "whole") for face in faces)
        ranked.append((-jump, -doubtful, name, frame, crops))
    ranked.sort(key=lambda item: item[:3])
    per_page = _PAGE_ROWS * _PAGE_COLUMNS
    pages = {}
    for start in range(0, len(ranked), per_page):
        page = _page(ranked[start : start + per_page])
        name = f"preview-{start // per_page + 1:03d}.jpg"
        encoded = cv2.imencode(".jpg", page[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
        pages[name] = encoded.tobytes()
    return pages


def _page(ranked: list[tuple]) -> np.ndarray:
    rows = -(-len(ranked) // _PAGE_COLUMNS)
    width, height = _TILES * TILE + 8, TILE + _CAPTION + 4
    page = np.full((rows * height, _PAGE_COLUMNS * width, 3), 255, np.uint8)
    for place, item in enumerate(ranked):
        top, left = place // _PAGE_COLUMNS * height, place % _PAGE_COLUMNS * width
        strip = _strip(*item)
        page[top : top + strip.shape[0], left : left + strip.shape[1]] = strip
    return page


def _strip(jump: float, doubtful: int, name: str, frame: int, crops: np.ndarray) -> np.ndarray:
    import cv2

    strip = np.full((TILE + _CAPTION, _TILES * TILE, 3), 255, np.uint8)
    for place, index in enumerate((0, max(frame - 1, 0), frame, len(crops) - 1)):
        tile = cv2.resize(np.asarray(crops[index]), (TILE, TILE), interpolation=cv2.INTER_AREA)
        strip[_CAPTION:, place * TILE : (place + 1) * TILE] = tile
    if -jump > 0.25 or doubtful:
        corners = (2 * TILE, _CAPTION), (3 * TILE - 1, _CAPTION + TILE - 1)
        cv2.rectangle(strip, *corners, (220, 0, 0), 2)
    # OpenCV's fonts know ASCII alone.
    text = plain(name)[-34:]
    text += f"  {-jump:.2f} at {frame + 1}" + (f", {-doubtful} doubtful" if doubtful else "")
    cv2.putText(strip, text, (1, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return strip
