"""Looking at a data set: counts beside the complete set's, the class distribution, sheets of crops."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Items
from io import BytesIO

import numpy as np

from stfer.data.faces.points import DrawnCrops
from stfer.data.lettering import legible, plain
from stfer.data.sequence import EMOTIONS_7, Dropped, Sequence
from stfer.data.shards.writer import ShardWriter

TILE = 85
_PAGE_ROWS, _PAGE_COLUMNS = 24, 3
_TILES = 4
_CAPTION = 16


def complete_counts(
    complete: Mapping[str, int],
    sequences: Items[Sequence],
    dropped: Items[Dropped],
    kept: Items[Sequence],
) -> list[tuple[str, int, int | None]]:
    """Counts of a set at hand, each beside the complete set's (None where there is no such number).

    Args:
        complete: the complete set's, as `Reader.complete_counts` names them; those of labels only where it has them.
        sequences: what the reader returned.
        dropped: what it could not use.
        kept: what `sequence.select` left of it.
    """
    labels = Counter(sequence.label for sequence in sequences)
    found = {
        "subjects": len({s.subject for s in sequences} | {d.subject for d in dropped}),
        "sequences": len(sequences) + len(dropped),
        "labelled": len(sequences),
        "labelled subjects": len({s.subject for s in sequences}),
        "without contempt": len(sequences) - labels["contempt"],
    }
    names = [name for name in found if name in complete or name in ("subjects", "sequences")]
    known = [name for name in complete if name in EMOTIONS_7]
    classes = known or sorted(labels)
    found |= {name: labels[name] for name in classes}
    rows = [(name, found[name], complete.get(name)) for name in (*names, *classes)]
    return [*rows, ("left before face detection", len(kept), None)]


def counts_text(
    complete: Mapping[str, int],
    sequences: Items[Sequence],
    dropped: Items[Dropped],
    kept: Items[Sequence],
) -> str:
    """`complete_counts` as a table, and the kept sequences' lengths; a warning where counts differ."""
    rows = complete_counts(complete, sequences, dropped, kept)
    lines = ["", f"{'':<28}{'found':>8}{'complete set':>14}"]
    for what, found, whole in rows:
        mark = "" if whole in (None, found) else "  differs"
        lines.append(f"{what:<28}{found:>8}{'' if whole is None else whole:>14}{mark}")
    if "the paper's" in complete:
        lines.append(f"{'(the paper, after detection)':<28}{complete["the paper's"]:>8}")
    if kept:
        lengths = np.array([len(sequence) for sequence in kept])
        lines.append(
            f"lengths: {lengths.min()} to {lengths.max()} frames, median {np.median(lengths):g}, "
            f"{lengths.sum()} frames in all"
        )
    if any(whole not in (None, found) for _, found, whole in rows):
        lines.append("warning: counts differ from the complete set's; is the download whole?")
    return "\n".join(lines)


def classes_text(title: str, labels: Items[str], classes: Items[str]) -> str:
    """The number of sequences a class as a table with bars."""
    count = Counter(labels)
    lines = ["", f"{title}: {len(labels)} sequences"]
    for name in classes:
        bar = "#" * round(40 * count[name] / max(len(labels), 1))
        lines.append(f"  {name:<12}{count[name]:>6}  {bar}")
    return "\n".join(lines)


def dropped_text(dropped: Items[Dropped], what: str) -> str:
    """How many sequences were dropped for each kind of reason, with an example."""
    lines = ["", f"{len(dropped)} {what}"]
    for kind, count, example in kinds_of_dropped(dropped):
        lines.append(f"  {count:>5}  {kind:<20}  e.g. {example.sequence}: {example.reason}")
    return "\n".join(lines)


def kinds_of_dropped(dropped: Iterable[Dropped]) -> list[tuple[str, int, Dropped]]:
    """Reasons without particulars, most frequent first: (kind, count, an example)."""
    examples: dict[str, Dropped] = {}
    count: Counter[str] = Counter()
    for item in dropped:
        count[item.kind] += 1
        examples.setdefault(item.kind, item)
    return [(kind, number, examples[kind]) for kind, number in count.most_common()]


def notes_text(notes: Iterable[tuple[str, str]]) -> str:
    """Notes on kept sequences, a line a kind, each with an example; empty without any."""
    lines = []
    for text, count, example in kinds_of_notes(notes):
        of = f"{example} and {count - 1} more" if count > 1 else example
        lines.append(f"note: {of}: {text}\n")
    return "".join(lines)


def kinds_of_notes(notes: Iterable[tuple[str, str]]) -> list[tuple[str, int, str]]:
    """Notes on sequences, those that differ in numbers alone as one: (text, count, a sequence), most frequent first."""
    first: dict[str, tuple[str, str]] = {}
    count: Counter[str] = Counter()
    for sequence, text in notes:
        kind = re.sub(r"[0-9.]+", "0", text)
        count[kind] += 1
        first.setdefault(kind, (text, sequence))
    return [(first[kind][0], number, first[kind][1]) for kind, number in count.most_common()]


def draw_class_distribution(labels: Iterable[str], classes: Items[str], title: str) -> bytes:
    """A bar chart of the number of sequences a class (the paper's Fig. 12), as a PNG file's bytes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    count = Counter(labels)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.bar(list(classes), [count[name] for name in classes], color="#4477aa")
    axes.bar_label(bars)
    axes.set_ylabel("sequences")
    axes.yaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
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


def contact_sheets(
    tracks: Items[tuple[str, np.ndarray | DrawnCrops, list[list]]],
) -> dict[str, bytes]:
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


def figures(
    name: str, classes: Items[str], preview: bool
) -> Callable[[ShardWriter, list[dict], list[Dropped]], dict[str, bytes]]:
    """What `preprocess` takes as `extra_files`: the class distribution and, on request, sheets of crops."""

    def draw(writer: ShardWriter, entries: list[dict], dropped: list[Dropped]) -> dict[str, bytes]:
        del dropped
        labels = [entry["label"] for entry in entries]
        files = {"class_distribution.png": draw_class_distribution(labels, classes, name)}
        if preview:
            tracks = [(e["sequence"], _pictures(writer, e), e["note"]["faces"]) for e in entries]
            files |= contact_sheets(tracks)
        return files

    return draw


def _pictures(writer: ShardWriter, entry: dict) -> np.ndarray | DrawnCrops:
    """A kept sequence's crops, drawn with their landmarks where there are any."""
    crops = writer.frames(entry)
    if "landmarks" not in writer.streams:
        return crops
    return DrawnCrops(crops, writer.stream("landmarks", entry))


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
